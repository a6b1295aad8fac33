#!/usr/bin/env -S sh -c 'python="$("$(dirname "$0")/venv.sh")" && exec "$python" "$0" "$@"'
"""Compares masked-language-model loss and gradients with transformers' BertForMaskedLM on a real model, dropout off.

Run:  tests/parity/mlm_parity.py BUILD_DIR MODEL_FOLDER PAIRS.jsonl [--texts 16]

A folder without a head gets a random one. gradients.py says how gradients are compared, and within which bounds.
"""
import argparse
import json
import pathlib
import sys
import tempfile

import torch
from transformers import AutoTokenizer, BertForMaskedLM

from gradients import compare, dumped, gradients_of


def torch_step(model, batch, labels, autocast=False):
    model.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        loss = model(**batch, labels=labels).loss
    loss.backward()
    return loss.item(), {n.removeprefix("bert."): g for n, g in gradients_of(model).items()}


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
        request = {"texts": [t[m].tolist() for t, m in zip(batch["input_ids"], real)],
                   "labels": [t[m].clamp(min=-1).tolist() for t, m in zip(labels, real)]}
        autocast = torch_step(model, batch, labels, autocast=True)
        f32 = torch_step(model, batch, labels)
        f64 = torch_step(model.double(), batch, labels)
        for precision in ("f64", "f32", "bf16"):
            value, ours = dumped(pathlib.Path(a.build) / "mlm_dump", tmp / "model", request, precision, tmp)
            report[precision] = {"loss": value, "loss_torch": (f32 if precision == "f32" else f64)[0]}
            report[precision] |= compare(precision, ours, f64[1], f32[1], autocast[1], failures)
    print(json.dumps(report, indent=2))
    if failures:
        sys.exit("\n".join(failures))


if __name__ == "__main__":
    main()
