#!/usr/bin/env -S sh -c 'python="$("$(dirname "$0")/venv.sh")" && exec "$python" "$0" "$@"'
"""Compares masked-language-model loss and gradients with transformers' BertForMaskedLM on a real model, dropout off.

Run:  tests/parity/mlm_parity.py BUILD_DIR MODEL_FOLDER PAIRS.jsonl [--texts 16]

A folder without a head gets a random one. Per tensor: ||g - g_ref|| <= tol * max(||g_ref||, 1e-4 ||whole gradient||); tol 1e-9 in f64
and 1e-4 in f32 (the gradient of key biases is zero in theory, hence the second term). In bf16 the error of the whole gradient
against f64 must be at most 1.5 times that of PyTorch's own autocast.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer, BertForMaskedLM


def torch_step(model, batch, labels, autocast=False):
    model.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        loss = model(**batch, labels=labels).loss
    loss.backward()
    grads = {n.removeprefix("bert."): p.grad.detach().clone() for n, p in model.named_parameters() if p.grad is not None}
    return loss.item(), grads


def whole(grads):
    return torch.sqrt(sum((g.double() ** 2).sum() for g in grads.values())).item()


def main():
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument("build")
    args.add_argument("model")
    args.add_argument("data")
    args.add_argument("--texts", type=int, default=16)
    a = args.parse_args()
    rows = [json.loads(line) for _, line in zip(range(a.texts), open(a.data, encoding="utf-8"))]
    texts = [r["pos"][0] if "pos" in r else r["text"] for r in rows]
    tokenizer = AutoTokenizer.from_pretrained(a.model)
    batch = dict(tokenizer(texts, padding=True, truncation=True, max_length=128, return_tensors="pt"))
    generator = torch.Generator().manual_seed(3)
    torch.manual_seed(3)
    chosen = torch.rand(batch["input_ids"].shape, generator=generator) < 0.3
    for special in (tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.pad_token_id):
        chosen &= batch["input_ids"] != special
    labels = torch.where(chosen, batch["input_ids"], -100)
    batch["input_ids"] = torch.where(chosen, tokenizer.mask_token_id, batch["input_ids"])
    real = batch["attention_mask"].bool()

    model = BertForMaskedLM.from_pretrained(a.model, attn_implementation="eager").eval()
    failures, report = [], {"texts": len(texts), "tokens": int(real.sum()), "predicted": int(chosen.sum()), "torch": torch.__version__}
    with tempfile.TemporaryDirectory() as tmp:
        tmp = pathlib.Path(tmp)
        model.save_pretrained(tmp / "model")
        tokenizer.save_pretrained(tmp / "model")
        (tmp / "input.json").write_text(json.dumps({
            "texts": [t[m].tolist() for t, m in zip(batch["input_ids"], real)],
            "labels": [t[m].clamp(min=-1).tolist() for t, m in zip(labels, real)]}))
        autocast = torch_step(model, batch, labels, autocast=True)
        f32 = torch_step(model, batch, labels)
        f64 = torch_step(model.double(), batch, labels)
        for precision, reference, tolerance in (("f64", f64, 1e-9), ("f32", f32, 1e-4), ("bf16", f64, None)):
            out = tmp / f"{precision}.safetensors"
            value = float(subprocess.run([pathlib.Path(a.build) / "mlm_dump", tmp / "model", tmp / "input.json", out, precision], check=True,
                                         capture_output=True, text=True).stdout)
            ours = load_file(out)
            norm = whole(reference[1])
            if set(ours) != set(reference[1]):
                failures.append(f"{precision}: tensors in one only: {sorted(set(ours) ^ set(reference[1]))}")
            difference = {n: ours[n].double() - g.double() for n, g in reference[1].items()}
            entry = {"loss": value, "loss_torch": reference[0], "gradient_error": whole(difference) / norm}
            if tolerance:
                worst = max((difference[n].norm() / max(g.double().norm(), 1e-4 * norm)).item() for n, g in reference[1].items())
                entry |= {"worst_tensor_error": worst, "tolerance": tolerance}
                if not worst <= tolerance:
                    failures.append(f"{precision}: worst tensor {worst:.2e} > {tolerance:.0e}")
            else:
                theirs = whole({n: autocast[1][n].double() - g for n, g in f64[1].items()}) / norm
                entry |= {"autocast_error": theirs, "ratio": entry["gradient_error"] / theirs}
                if not entry["ratio"] <= 1.5:
                    failures.append(f"bf16: error {entry['ratio']:.2f} times autocast's, more than 1.5")
            report[precision] = entry
    print(json.dumps(report, indent=2))
    if failures:
        sys.exit("\n".join(failures))


if __name__ == "__main__":
    main()
