#!/usr/bin/env -S sh -c 'python="$("$(dirname "$0")/../parity/venv.sh" torch==2.15.0 transformers==5.23.0 sentence-transformers==6.2.0 datasets==5.2.0 accelerate==1.15.0)" && exec "$python" "$0" "$@"'
"""Training speed on real pairs, side by side in one run: Lodestone, stock sentence-transformers, and a tuned PyTorch loop.

Run:  tests/peers/train_speed.py LODESTONE MODEL_FOLDER TRAIN.jsonl [--batch 128] [--steps 6] [--rounds 2] [--peers stock,tuned]

Every program trains the same number of pairs at most 128 tokens long; real tokens per second are counted without padding. Workers
run one after the other, interleaved over the rounds, each with its better precision (bf16 where the CPU has it, else f32):
  lodestone  two ranks of one thread each
  stock      SentenceTransformerTrainer with MultipleNegativesRankingLoss, its defaults
  tuned      a PyTorch loop: texts sorted by length into sub-batches of little padding, fused AdamW, glibc told to keep its memory
Prints JSON with every figure and the ratios of medians.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

from machine import KEEP_MEMORY, better_precision, has_bf16, mpirun_environment

LENGTH, TEMPERATURE = 128, 0.05


def pairs_of(path, count):
    rows = [json.loads(line) for _, line in zip(range(count * 7), open(path, encoding="utf-8"))]
    return [(r["query"], r["pos"][0]) for r in rows[::7]][:count]


def worker_tuned(model_folder, data, batch, steps):
    import torch
    from transformers import AutoTokenizer, BertModel
    pairs = pairs_of(data, batch * (steps + 1))
    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    model = BertModel.from_pretrained(model_folder, add_pooling_layer=False).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5, fused=True)
    tokens = 0
    for step in range(steps + 1):
        if step == 1:
            start, tokens = time.perf_counter(), 0
        part = pairs[step * batch:(step + 1) * batch]
        ids = tokenizer([q for q, _ in part] + [p for _, p in part], truncation=True, max_length=LENGTH)["input_ids"]
        order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
        emb = [None] * len(ids)
        for begin in range(0, len(order), 32):
            chunk = order[begin:begin + 32]
            x = tokenizer.pad({"input_ids": [ids[i] for i in chunk]}, return_tensors="pt")
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=has_bf16()):
                hidden = model(**x).last_hidden_state
            mask = x["attention_mask"].float()[..., None]
            for i, v in zip(chunk, (hidden.float() * mask).sum(1) / mask.sum(1)):
                emb[i] = v
        unit = torch.nn.functional.normalize(torch.stack(emb), dim=1)
        loss = torch.nn.functional.cross_entropy(unit[:batch] @ unit[batch:].T / TEMPERATURE, torch.arange(batch))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        tokens += sum(map(len, ids))
    return tokens / (time.perf_counter() - start)


def worker_stock(model_folder, data, batch, steps):
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
    from sentence_transformers.losses import MultipleNegativesRankingLoss
    from transformers import TrainerCallback
    pairs = pairs_of(data, batch * (steps + 1))
    model = SentenceTransformer(model_folder, device="cpu")
    model.max_seq_length = LENGTH
    times = []

    class Clock(TrainerCallback):
        def on_step_end(self, *args, **kwargs):
            times.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as out:
        arguments = SentenceTransformerTrainingArguments(output_dir=out, per_device_train_batch_size=batch, max_steps=steps + 1, learning_rate=5e-5,
                                                         bf16=has_bf16(), use_cpu=True, report_to=[], save_strategy="no", logging_strategy="no", disable_tqdm=True)
        SentenceTransformerTrainer(model=model, args=arguments, train_dataset=Dataset.from_dict({"anchor": [q for q, _ in pairs], "positive": [p for _, p in pairs]}),
                                   loss=MultipleNegativesRankingLoss(model, scale=1 / TEMPERATURE), callbacks=[Clock()]).train()
    lengths = sum(min(LENGTH, len(i)) for pair in pairs for i in model.tokenizer(list(pair), truncation=True, max_length=LENGTH)["input_ids"])
    return lengths / (steps + 1) * steps / (times[-1] - times[0])


def run_lodestone(a, tmp, round_number):
    out = tmp / f"run{round_number}"
    (tmp / "run.yaml").write_text(f"""
model: {{folder: {pathlib.Path(a.model).resolve()}}}
data: {{train: {tmp / "corpus"}, query_max_len: {LENGTH}, passage_max_len: {LENGTH}, small_sources: merge}}
train: {{output_dir: {out}, global_batch: {a.batch}, steps: {a.steps + 1}, precision: {better_precision()}, logging_steps: 1, save_steps: 0}}
loss: {{temperature: {TEMPERATURE}}}
""")
    subprocess.run(["mpirun", "-np", "2", a.lodestone, "train", tmp / "run.yaml"], check=True, capture_output=True, env=mpirun_environment())
    records = [r for r in map(json.loads, open(out / "metrics.jsonl")) if "loss" in r][1:]
    return sum(r["tokens_per_s"] * r["step_s"] for r in records) / sum(r["step_s"] for r in records)


def main():
    args = argparse.ArgumentParser()
    args.add_argument("lodestone")
    args.add_argument("model")
    args.add_argument("data")
    args.add_argument("--batch", type=int, default=128)
    args.add_argument("--steps", type=int, default=6)
    args.add_argument("--rounds", type=int, default=2)
    args.add_argument("--peers", default="stock,tuned")
    args.add_argument("--worker", choices=("stock", "tuned"))
    a = args.parse_args()
    if a.worker:
        print(json.dumps({"stock": worker_stock, "tuned": worker_tuned}[a.worker](a.model, a.data, a.batch, a.steps)))
        return
    results = {name: [] for name in ["lodestone", *a.peers.split(",")]}
    with tempfile.TemporaryDirectory() as tmp:
        tmp = pathlib.Path(tmp)
        subprocess.run([a.lodestone, "pack", "--tokenizer", a.model, "--output", tmp / "corpus", a.data], check=True, capture_output=True)
        for round_number in range(a.rounds):
            for name in results:
                if name == "lodestone":
                    value = run_lodestone(a, tmp, round_number)
                else:
                    env = os.environ | {"TOKENIZERS_PARALLELISM": "false"} | (KEEP_MEMORY if name == "tuned" else {})
                    out = subprocess.run([sys.executable, __file__, a.lodestone, a.model, a.data, "--batch", str(a.batch), "--steps", str(a.steps), "--worker", name],
                                         check=True, capture_output=True, text=True, env=env).stdout
                    value = json.loads(out.splitlines()[-1])
                results[name].append(value)
    median = {name: statistics.median(values) for name, values in results.items()}
    ratios = {f"ratio_to_{name}": median["lodestone"] / median[name] for name in a.peers.split(",")}
    print(json.dumps({"real_tokens_per_s": results, "bf16_instructions": has_bf16(), **ratios}, indent=2))


if __name__ == "__main__":
    main()
