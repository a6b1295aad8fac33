#!/usr/bin/env python3
"""Training speed on dense texts of 128 tokens, MiniLM-L6 and BERT-base: Lodestone against PyTorch, interleaved in one run.

Run:  "$(tests/parity/venv.sh torch==2.15.0 transformers==5.23.0)" tests/peers/dense_speed.py LODESTONE [--models minilm bert-base] [--rounds 3]

A step is the same for both: random weights, dropout 0.1, --pairs pairs, InfoNCE, gradients clipped at norm 1, AdamW. Two cores for both:
  lodestone  two ranks of one thread, and one rank of two threads; the better one counts
  torch      one process of two threads, its best settings: fused AdamW, scaled_dot_product_attention, texts forwarded --chunk at a
             time, glibc told to keep its memory, denormals off; --compile adds torch.compile
Both use bf16 (autocast for torch) where the CPU has it, else f32. Prints JSON with every figure and the ratio of medians.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time

from machine import KEEP_MEMORY, better_precision, has_bf16, mpirun_environment

LENGTH, TEMPERATURE, VOCABULARY = 128, 0.05, 30522
SHAPES = {
    "minilm": {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536},
    "bert-base": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072},
}


def worker(a):
    """Median tokens per second of this process, after two steps of warm-up."""
    import torch
    from transformers import BertConfig, BertModel
    torch.set_num_threads(2)
    torch.set_flush_denormal(True)
    torch.manual_seed(1)
    model = BertModel(BertConfig(vocab_size=VOCABULARY, attn_implementation="sdpa", **SHAPES[a.worker]), add_pooling_layer=False).train()
    encode = torch.compile(model) if a.compile else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)
    ids = torch.randint(1000, VOCABULARY, (2 * a.pairs, LENGTH))
    seconds = []
    for _ in range(a.steps + 2):
        start = time.perf_counter()
        emb = []
        for chunk in ids.split(a.chunk):
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=has_bf16()):
                emb.append(encode(input_ids=chunk).last_hidden_state.float().mean(1))
        unit = torch.nn.functional.normalize(torch.cat(emb), dim=1)
        loss = torch.nn.functional.cross_entropy(unit[:a.pairs] @ unit[a.pairs:].T / TEMPERATURE, torch.arange(a.pairs))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        seconds.append(time.perf_counter() - start)
    return ids.numel() / statistics.median(seconds[2:])


def torch_tokens_per_s(a, model):
    command = [sys.executable, __file__, a.lodestone, "--worker", model, "--pairs", a.pairs, "--steps", a.steps, "--chunk", a.chunk] + ["--compile"] * a.compile
    out = subprocess.run(list(map(str, command)), check=True, stdout=subprocess.PIPE, text=True, env=os.environ | KEEP_MEMORY).stdout
    return json.loads(out.splitlines()[-1])


def lodestone_bench(a, model, ranks):
    command = (["mpirun", "-np", str(ranks)] if ranks > 1 else []) + [a.lodestone, "bench", "--model", model, "--threads", str(2 // ranks), "--pairs", str(a.pairs),
                                                                     "--steps", str(a.steps), "--precision", better_precision()]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=mpirun_environment()).stdout)


def measure(a, model):
    results = {"lodestone, 2 ranks of 1 thread": [], "torch, 2 threads": [], "lodestone, 1 rank of 2 threads": []}
    shares = []
    for _ in range(a.rounds):
        for name, values in results.items():
            if name.startswith("torch"):
                values.append(torch_tokens_per_s(a, model))
            else:
                bench = lodestone_bench(a, model, 2 if "2 ranks" in name else 1)
                values.append(bench["tokens_per_s"])
                shares.append(bench["share_of_ceiling"])
    median = {name: statistics.median(values) for name, values in results.items()}
    ours = max(value for name, value in median.items() if name.startswith("lodestone"))
    return {"tokens_per_s": results, "share_of_ceiling": statistics.median(shares), "ratio_to_torch": ours / median["torch, 2 threads"]}


def main():
    args = argparse.ArgumentParser()
    args.add_argument("lodestone")
    args.add_argument("--models", nargs="+", choices=SHAPES, default=list(SHAPES))
    args.add_argument("--pairs", type=int, default=16)
    args.add_argument("--steps", type=int, default=5)
    args.add_argument("--rounds", type=int, default=3)
    args.add_argument("--chunk", type=int, default=32, help="texts that torch forwards at once")
    args.add_argument("--compile", action="store_true")
    args.add_argument("--worker", choices=SHAPES)
    a = args.parse_args()
    if a.worker:
        print(json.dumps(worker(a)))
    else:
        print(json.dumps({"bf16_instructions": has_bf16(), "pairs": a.pairs, "chunk": a.chunk, "compile": a.compile} | {m: measure(a, m) for m in a.models}, indent=2))


if __name__ == "__main__":
    main()
