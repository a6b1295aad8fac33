#!/usr/bin/env python3
"""Do the small recipes learn? Trains each configs/NAME-small.yaml on two ranks with three seeds, and beside it an untrained control.

  small_recipes.py EXAMPLES [--only NAME ...] [--seeds 1 2 3] [--lodestone BINARY]

EXAMPLES: see example_data.py. Everything is made in trials/; trials/recipes.json and trials/recipes.md hold the figures. A run that is there
already is not trained again. Two recipes start from demo/weights/model, which launch/demo.sh fetches; without it they are left out.

For each seed: the metric that the configuration names before and after training. A recipe passes when the mean over seeds has improved by
more than twice the spread of the trained ones (largest less smallest), and the worst of them is better than the control: random weights
of the same shape, or where a recipe starts from downloaded weights, those with whatever is new at random.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
TRIALS = ROOT / "trials"
WEIGHTS = ROOT / "demo/weights/model"
ENVIRONMENT = os.environ | {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}

# recipe -> what it starts from: another recipe, random weights (None), or downloaded ones
RECIPES = {
    "conan-pretrain": None,
    "conan-finetune": "conan-pretrain",
    "conan-vanilla": "conan-pretrain",
    "bge-retromae": None,
    "bge-pretrain": "bge-retromae",
    "bge-finetune": "bge-pretrain",
    "bge-reranker": WEIGHTS,
    "gte-pretrain": None,
    "gte-finetune": "gte-pretrain",
    "llm-embedder": WEIGHTS,
}
CORPORA = {"zh-text": "zh-vocab", "zh-pairs": "zh-vocab", "zh-questions": "zh-vocab", "zh-replay": "zh-vocab", "zh-sts": "zh-vocab", "zh-genres": "zh-vocab",
           "en-groups": None, "en-tasks": None}


def run(command, log):
    with open(log, "w") as out:
        if subprocess.run([str(part) for part in command], stdout=out, stderr=subprocess.STDOUT, env=ENVIRONMENT).returncode == 0:
            return
    sys.exit(f"error: {' '.join(map(str, command))} failed:\n" + "".join(open(log).readlines()[-5:]))


def pack(lodestone, examples):
    if not (TRIALS / "data/zh-vocab").exists():
        print("example data", flush=True)
        run([sys.executable, ROOT / "tests/trials/example_data.py", examples, TRIALS / "data"], TRIALS / "data.log")
    for name, vocabulary in CORPORA.items():
        tokenizer = TRIALS / "data" / vocabulary if vocabulary else WEIGHTS
        for part in ("train", "heldout"):
            corpus = TRIALS / f"corpora/{name}-{part}"
            rows = TRIALS / f"data/{name}/{part}"
            if rows.exists() and tokenizer.exists() and not corpus.exists():
                run([lodestone, "pack", "--tokenizer", tokenizer, "--output", corpus, rows], TRIALS / "pack.log")


def folder(name, run):
    """Where a run of a recipe lies; `run` is its seed, or untrained."""
    return TRIALS / f"runs/{name}-small/{run}"


def train(lodestone, name, where, overrides):
    """Trains unless it is done; seconds that it took, or None."""
    if (where / "model").exists():
        return None
    where.parent.mkdir(parents=True, exist_ok=True)
    begin = time.time()
    command = ["mpirun", "-np", "2", lodestone, "train", ROOT / f"configs/{name}.yaml", ROOT / f"configs/{name}-small.yaml",
               f"train.output_dir={where}", *overrides]
    run(command, where.parent / f"{where.name}.log")
    return time.time() - begin


def history(where):
    """(step, value) of the metric that the run's configuration names."""
    metric = next(line.split(":", 1)[1].strip().strip('"') for line in open(where / "config.yaml") if line.startswith("  metric:"))
    records = [json.loads(line) for line in open(where / "metrics.jsonl")]
    return metric, [(r["step"], r[metric]) for r in records if metric in r]


def trial(lodestone, name, seeds):
    start = RECIPES[name]
    before, after, seconds = [], [], []
    for seed in seeds:
        chained = [f"model.folder={folder(start, seed) / 'model'}"] if isinstance(start, str) else []
        seconds.append(train(lodestone, name, folder(name, seed), [f"train.seed={seed}", *chained]))
        metric, values = history(folder(name, seed))
        before.append(values[0][1])
        after.append(values[-1][1])
        print(f"{name}: seed {seed}, {metric} {before[-1]:.4f} -> {after[-1]:.4f}", flush=True)
    untrained = ["train.num_train_epochs=0", "train.steps=1", "optim.learning_rate=1e-30"]
    if isinstance(start, str):
        untrained += ["model.folder=", f"model.vocab={TRIALS / 'data/zh-vocab'}"]
    train(lodestone, name, folder(name, "untrained"), untrained)
    control = history(folder(name, "untrained"))[1][-1][1]
    sign = -1 if "loss" in metric else 1
    gain, spread = sign * (statistics.mean(after) - statistics.mean(before)), max(after) - min(after)
    worst = min(after, key=lambda value: sign * value)
    return {"recipe": name, "metric": metric, "before": before, "after": after, "gain": gain, "spread": spread, "control": control,
            "seconds": [round(s) for s in seconds if s is not None], "passes": gain > 2 * spread and sign * worst > sign * control}


def as_table(results):
    lines = ["| recipe | metric | before | after, by seed | gain | spread | untrained | learnt |", "|---|---|---|---|---|---|---|---|"]
    for r in results:
        lines.append(f"| {r['recipe']} | `{r['metric']}` | {', '.join(f'{v:.4f}' for v in r['before'])} | {', '.join(f'{v:.4f}' for v in r['after'])} | "
                     f"{r['gain']:+.4f} | {r['spread']:.4f} | {r['control']:.4f} | {'yes' if r['passes'] else 'NO'} |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("examples", type=pathlib.Path)
    parser.add_argument("--only", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--lodestone", default=ROOT / "build/release/lodestone")
    arguments = parser.parse_args()
    TRIALS.mkdir(exist_ok=True)
    pack(arguments.lodestone, arguments.examples)
    results = []
    for name in arguments.only:
        if RECIPES[name] == WEIGHTS and not WEIGHTS.exists():
            print(f"{name}: left out, demo/weights/model is not there")
            continue
        results.append(trial(arguments.lodestone, name, arguments.seeds))
        (TRIALS / "recipes.json").write_text(json.dumps(results, indent=1) + "\n")
        (TRIALS / "recipes.md").write_text(as_table(results))
    print(as_table(results))
    return 0 if all(r["passes"] for r in results) else 1


if __name__ == "__main__":
    sys.exit(main())
