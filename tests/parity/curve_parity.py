#!/usr/bin/env -S sh -c 'python="$("$(dirname "$0")/venv.sh")" && exec "$python" "$0" "$@"'
"""Trains the same batches with Lodestone and with PyTorch, dropout off, and compares the losses of every step.

Run:  tests/parity/curve_parity.py LODESTONE MODEL_FOLDER TRAIN.jsonl [--steps 20] [--precision f32] [--batch 32]

f32: the largest difference of a step's loss must be at most 1e-3. bf16 (against PyTorch's f32, --steps 200): at most 2 % of the
loss, each a mean over 10 steps. Batches come from `lodestone check --steps`; TRAIN.jsonl must fit in
one shard (some MB), whose rows are its lines grouped by source.
"""
import argparse
import json
import math
import pathlib
import subprocess
import sys
import tempfile

import torch
from transformers import AutoTokenizer, BertModel

LR, TEMPERATURE, DECAY, LENGTH = 5e-5, 0.05, 0.01, 128

CONFIG = """
model: {{folder: {model}, dropout: 0}}
data: {{train: {corpus}, query_max_len: {length}, passage_max_len: {length}, small_sources: merge}}
train: {{output_dir: {out}, global_batch: {batch}, steps: {steps}, precision: {precision}, logging_steps: 1, save_steps: 0}}
optim: {{learning_rate: {lr}, warmup_ratio: 0.1, weight_decay: {decay}, max_grad_norm: 1.0}}
loss: {{temperature: {temperature}}}
"""


def torch_losses(model_folder, rows, batches, steps):
    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    model = BertModel.from_pretrained(model_folder, add_pooling_layer=False).eval()  # eval: dropout off
    plain = [p for n, p in model.named_parameters() if n.endswith("bias") or "LayerNorm" in n]
    decayed = [p for n, p in model.named_parameters() if not (n.endswith("bias") or "LayerNorm" in n)]
    optimizer = torch.optim.AdamW([{"params": decayed, "weight_decay": DECAY}, {"params": plain, "weight_decay": 0.0}], lr=LR)
    warm = math.ceil(0.1 * steps)
    losses = []
    for step, ids in enumerate(batches):
        for group in optimizer.param_groups:
            group["lr"] = LR * (step / warm if step < warm else max(0.0, (steps - step) / (steps - warm)))
        texts = [rows[i]["query"] for i in ids] + [rows[i]["pos"][0] for i in ids]
        batch = tokenizer(texts, padding=True, truncation=True, max_length=LENGTH, return_tensors="pt")
        hidden = model(**batch).last_hidden_state
        mask = batch["attention_mask"].to(hidden.dtype)[..., None]
        unit = torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=1)
        n = len(ids)
        loss = torch.nn.functional.cross_entropy(unit[:n] @ unit[n:].T / TEMPERATURE, torch.arange(n))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    return losses


def main():
    args = argparse.ArgumentParser()
    args.add_argument("lodestone")
    args.add_argument("model")
    args.add_argument("data")
    args.add_argument("--steps", type=int, default=20)
    args.add_argument("--batch", type=int, default=32)
    args.add_argument("--precision", default="f32", choices=("f32", "bf16"))
    a = args.parse_args()
    rows = [json.loads(line) for line in open(a.data, encoding="utf-8")]
    first_seen = {source: i for i, source in enumerate(dict.fromkeys(r["source"] for r in rows))}
    rows.sort(key=lambda r: first_seen[r["source"]])  # the order inside one shard; stable, as packing is
    with tempfile.TemporaryDirectory() as tmp:
        tmp = pathlib.Path(tmp)
        subprocess.run([a.lodestone, "pack", "--tokenizer", a.model, "--output", tmp / "corpus", a.data], check=True, capture_output=True)
        (tmp / "run.yaml").write_text(CONFIG.format(model=pathlib.Path(a.model).resolve(), corpus=tmp / "corpus", out=tmp / "run", batch=a.batch, steps=a.steps,
                                                    precision=a.precision, lr=LR, decay=DECAY, temperature=TEMPERATURE, length=LENGTH))
        check = subprocess.run([a.lodestone, "check", tmp / "run.yaml", "--steps", str(a.steps)], check=True, capture_output=True, text=True).stdout
        batches = [json.loads(line)["parts"][0]["rows"] for line in check.splitlines() if line.startswith('{"step"')]
        subprocess.run([a.lodestone, "train", tmp / "run.yaml"], check=True, capture_output=True)
        ours = [r["loss"] for r in map(json.loads, open(tmp / "run/metrics.jsonl")) if "loss" in r]
    theirs = torch_losses(a.model, rows, batches, a.steps)
    report = {"steps": len(ours), "precision": a.precision, "torch": torch.__version__, "first": [ours[0], theirs[0]], "last": [ours[-1], theirs[-1]]}
    if a.precision == "f32":
        worst = max(abs(x - y) for x, y in zip(ours, theirs))
        report |= {"largest_difference": worst, "limit": 1e-3}
        good = worst <= 1e-3
    else:
        means = [[sum(v[i:i + 10]) / len(v[i:i + 10]) for i in range(0, len(v), 10)] for v in (ours, theirs)]
        worst = max(abs(x - y) / y for x, y in zip(*means))
        report |= {"largest_relative_difference": worst, "limit": 0.02}
        good = worst <= 0.02
    print(json.dumps(report, indent=2))
    if not good or len(ours) != a.steps:
        sys.exit("the curves differ")


if __name__ == "__main__":
    main()
