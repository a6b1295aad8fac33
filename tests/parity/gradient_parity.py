#!/usr/bin/env -S sh -c 'python="$("$(dirname "$0")/venv.sh")" && exec "$python" "$0" "$@"'
"""Compares one InfoNCE step with PyTorch on a real model: embeddings, loss and every parameter's gradient, dropout off.

Run:  tests/parity/gradient_parity.py BUILD_DIR MODEL_FOLDER PAIRS.jsonl [--pairs 16]

gradients.py says how gradients are compared, and within which bounds.
"""
import argparse
import json
import pathlib
import sys
import tempfile

import torch
from transformers import AutoTokenizer, BertModel

from gradients import compare, dumped, gradients_of


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
    return loss.item(), emb.detach(), gradients_of(model)


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
    request = {"temperature": temperature, "queries": ids[:a.pairs], "passages": ids[a.pairs:]}
    with tempfile.TemporaryDirectory() as tmp:
        for precision in ("f64", "f32", "bf16"):
            value, ours = dumped(pathlib.Path(a.build) / "gradient_dump", a.model, request, precision, pathlib.Path(tmp))
            emb = ours.pop("embeddings")
            loss, torch_emb, _ = f32 if precision == "f32" else f64
            report[precision] = {"loss": value, "loss_torch": loss, "embedding_max_abs": (emb - torch_emb.double()).abs().max().item()}
            report[precision] |= compare(precision, ours, f64[2], f32[2], autocast[2], failures)
    print(json.dumps(report, indent=2))
    if failures:
        sys.exit("\n".join(failures))


if __name__ == "__main__":
    main()
