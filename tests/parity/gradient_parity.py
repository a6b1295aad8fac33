#!/usr/bin/env -S sh -c 'python="$("$(dirname "$0")/venv.sh")" && exec "$python" "$0" "$@"'
"""Compares one InfoNCE step with PyTorch on a real model: embeddings, loss and every parameter's gradient, dropout off.

Run:  tests/parity/gradient_parity.py BUILD_DIR MODEL_FOLDER PAIRS.jsonl [--pairs 16]

Per tensor: ||g - g_ref|| <= tol * max(||g_ref||, 1e-4 ||whole gradient||); tol 1e-9 in f64 and 1e-4 in f32 (the gradient of key
biases is zero in theory, hence the second term). In bf16 the error of the whole gradient against f64 must be at most 1.5 times
that of PyTorch's own autocast.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer, BertModel


def torch_step(model, batch, pairs, temperature, autocast=False):
    model.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        hidden = model(**batch).last_hidden_state
    mask = batch["attention_mask"].to(hidden.dtype)[..., None]
    emb = ((hidden * mask).sum(1) / mask.sum(1))
    emb = emb.to(next(model.parameters()).dtype)
    unit = torch.nn.functional.normalize(emb, dim=1)
    loss = torch.nn.functional.cross_entropy(unit[:pairs] @ unit[pairs:].T / temperature, torch.arange(pairs))
    loss.backward()
    return loss.item(), emb.detach(), {n: p.grad.detach().clone() for n, p in model.named_parameters() if p.grad is not None}


def whole(grads):
    return torch.sqrt(sum((g.double() ** 2).sum() for g in grads.values())).item()


def main():
    args = argparse.ArgumentParser()
    args.add_argument("build")
    args.add_argument("model")
    args.add_argument("data")
    args.add_argument("--pairs", type=int, default=16)
    a = args.parse_args()
    rows = [json.loads(line) for _, line in zip(range(a.pairs), open(a.data, encoding="utf-8"))]
    texts = [r["query"] for r in rows] + [r["pos"][0] for r in rows]
    tokenizer = AutoTokenizer.from_pretrained(a.model)
    batch = tokenizer(texts, padding=True, truncation=True, max_length=128, return_tensors="pt")
    ids = [t[m.bool()].tolist() for t, m in zip(batch["input_ids"], batch["attention_mask"])]
    temperature = 0.05

    model = BertModel.from_pretrained(a.model, add_pooling_layer=False, attn_implementation="eager").eval()
    autocast = torch_step(model, batch, a.pairs, temperature, autocast=True)
    f32 = torch_step(model, batch, a.pairs, temperature)
    f64 = torch_step(model.double(), batch, a.pairs, temperature)
    failures, report = [], {"pairs": a.pairs, "tokens": sum(map(len, ids)), "torch": torch.__version__}
    with tempfile.TemporaryDirectory() as tmp:
        tmp = pathlib.Path(tmp)
        (tmp / "input.json").write_text(json.dumps({"temperature": temperature, "queries": ids[:a.pairs], "passages": ids[a.pairs:]}))
        for precision, reference, tolerance in (("f64", f64, 1e-9), ("f32", f32, 1e-4), ("bf16", f64, None)):
            out = tmp / f"{precision}.safetensors"
            value = float(subprocess.run([pathlib.Path(a.build) / "gradient_dump", a.model, tmp / "input.json", out, precision], check=True,
                                         capture_output=True, text=True).stdout)
            ours = load_file(out)
            emb = ours.pop("embeddings")
            norm = whole(reference[2])
            difference = {n: ours[n].double() - g.double() for n, g in reference[2].items()}
            entry = {"loss": value, "loss_torch": reference[0], "embedding_max_abs": (emb.double() - reference[1].double()).abs().max().item(),
                     "gradient_error": whole(difference) / norm}
            if tolerance:
                worst = max((difference[n].norm() / max(g.double().norm(), 1e-4 * norm)).item() for n, g in reference[2].items())
                entry |= {"worst_tensor_error": worst, "tolerance": tolerance}
                if not worst <= tolerance:
                    failures.append(f"{precision}: worst tensor {worst:.2e} > {tolerance:.0e}")
            else:
                theirs = whole({n: autocast[2][n].double() - g for n, g in f64[2].items()}) / norm
                entry |= {"autocast_error": theirs, "ratio": entry["gradient_error"] / theirs}
                if not entry["ratio"] <= 1.5:
                    failures.append(f"bf16: error {entry['ratio']:.2f} times autocast's, more than 1.5")
            missing = set(ours) ^ set(reference[2])
            if missing:
                failures.append(f"{precision}: tensors in one only: {sorted(missing)}")
            report[precision] = entry
    print(json.dumps(report, indent=2))
    if failures:
        sys.exit("\n".join(failures))


if __name__ == "__main__":
    main()
