#!/usr/bin/env python3
"""Do two builds train the same numbers? Ten steps of every small recipe with each, and every tensor of the checkpoints compared.

  same_numbers.py EXAMPLES --before PROGRAM [--after PROGRAM] [--only NAME ...] [--ranks 1 3] [--precisions f64 f32] [--steps 10]

EXAMPLES: see example_data.py. Batches of 24 (llm-embedder: 4; those of tasks that give their own are theirs), texts of 40 tokens. Recipes that go on from another one start here from random weights of the same shape; the two that start from
downloaded weights do so, in f32 only: f64 runs on plain loops, which would take hours on six layers of 384. Weights, moments and the recorded
losses and norms must be equal bit for bit. What is not is listed with the largest difference over the largest value of its tensor; with
--within X that is accepted up to X. Everything is made in trials/same/.
"""
import argparse
import json
import pathlib
import shutil
import struct
import sys

from small_recipes import RECIPES, ROOT, TRIALS, WEIGHTS, pack, run

SHORT = ["data.query_max_len=40", "data.passage_max_len=40", "train.gradient_accumulation_steps=1"]
BATCH = {"llm-embedder": 4}   # of some files six rows are trained on
MOST_RANKS = {"llm-embedder": 2}   # of some files two rows are held out
RECORDED = ("loss", "grad_norm")
FORMATS = {"F64": "d", "F32": "f", "I64": "q", "I32": "i"}


def train(program, name, ranks, precision, steps, where):
    """The run folder, made anew."""
    shutil.rmtree(where, ignore_errors=True)
    where.parent.mkdir(parents=True, exist_ok=True)
    overrides = [f"train.output_dir={where}", f"train.precision={precision}", f"train.steps={steps}", f"train.save_steps={steps}", "train.num_train_epochs=0",
                 "train.logging_steps=1", "train.eval_rows=32", "train.threads=1", f"train.global_batch={BATCH.get(name, 24)}", *SHORT]
    if isinstance(RECIPES[name], str):
        overrides += ["model.folder=", f"model.vocab={TRIALS / 'data/zh-vocab'}"]
    launcher = ["mpirun", "--oversubscribe", "--bind-to", "none", "--mca", "mpi_yield_when_idle", "1", "-np", ranks] if ranks > 1 else []
    run([*launcher, program, "train", ROOT / f"configs/{name}.yaml", ROOT / f"configs/{name}-small.yaml", *overrides], where.parent / f"{where.name}.log")


def tensors(checkpoint):
    """name -> (type, bytes) of every part, the part's number in the name."""
    found = {}
    for part in sorted(checkpoint.glob("part-*.safetensors")):
        data = part.read_bytes()
        size = struct.unpack("<Q", data[:8])[0]
        for name, entry in json.loads(data[8:8 + size]).items():
            if name != "__metadata__":
                begin, end = entry["data_offsets"]
                found[f"{part.stem}/{name}"] = entry["dtype"], data[8 + size + begin:8 + size + end]
    return found


def relative(kind, before, after):
    values = [struct.unpack(f"<{len(b) // struct.calcsize(FORMATS[kind])}{FORMATS[kind]}", b) for b in (before, after)]
    largest = max(map(abs, values[0]), default=0) or 1
    return max(abs(a - b) for a, b in zip(*values)) / largest


def differences(before, after, steps):
    """[(what, relative difference)] of two run folders."""
    found = []
    one, other = tensors(before / f"checkpoint-{steps}"), tensors(after / f"checkpoint-{steps}")
    if one.keys() != other.keys():
        return [("names of tensors", float("inf"))]
    for name, (kind, data) in one.items():
        if other[name] != (kind, data):
            found.append((name, relative(kind, data, other[name][1])))
    records = [[r for r in map(json.loads, open(where / "metrics.jsonl")) if "loss" in r] for where in (before, after)]
    for key in RECORDED:
        values = [[r[key] for r in side] for side in records]
        if values[0] != values[1]:
            found.append((key, max(abs(a - b) / max(abs(a), 1e-30) for a, b in zip(*values))))
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("examples", type=pathlib.Path)
    parser.add_argument("--before", required=True, type=pathlib.Path)
    parser.add_argument("--after", type=pathlib.Path, default=ROOT / "build/release/lodestone")
    parser.add_argument("--only", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--ranks", nargs="+", type=int, default=[1, 3])
    parser.add_argument("--precisions", nargs="+", choices=["f64", "f32", "bf16"], default=["f64", "f32"])
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--within", type=float, default=0.0)
    a = parser.parse_args()
    TRIALS.mkdir(exist_ok=True)
    pack(a.before.resolve(), a.examples)
    worst, compared = 0.0, 0
    for name in a.only:
        if RECIPES[name] == WEIGHTS and not WEIGHTS.exists():
            print(f"{name}: left out, demo/weights/model is not there")
            continue
        for precision in a.precisions:
            if RECIPES[name] == WEIGHTS and precision == "f64":
                continue
            for ranks in sorted({min(r, MOST_RANKS.get(name, r)) for r in a.ranks}):
                places = [TRIALS / f"same/{name}-{precision}-{ranks}-{side}" for side in ("before", "after")]
                for program, where in zip((a.before, a.after), places):
                    train(program.resolve(), name, ranks, precision, a.steps, where)
                found = differences(*places, a.steps)
                compared += 1
                worst = max([worst, *(d for _, d in found)])
                print(f"{name} {precision} on {ranks}: " + ("equal" if not found else f"{len(found)} differ, " + ", ".join(f"{n} {d:.1e}" for n, d in found[:4])), flush=True)
                for where in places:
                    shutil.rmtree(where)
    print(f"{compared} pairs of runs compared; largest difference {worst:.1e}")
    return 0 if worst <= a.within else 1


if __name__ == "__main__":
    sys.exit(main())
