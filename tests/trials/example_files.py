#!/usr/bin/env python3
"""Do the example files of FlagEmbedding train as they are? Packs them without any conversion and trains recipes on them, on two ranks.

  example_files.py EXAMPLES [--lodestone BINARY]

Beside llm-embedder-small, which does the same with those of LLM-Embedder. Starts from demo/weights/model. There is nothing to hold out in
ten rows a file: what is shown is that every file is read and drawn from, and that the loss on it falls. Everything is made in trials/examples/.
"""
import argparse
import json
import pathlib
import shutil
import sys

from small_recipes import ROOT, TRIALS, WEIGHTS, run

# recipe, corpus, overrides
TRAINED = [
    ("bge-finetune", "en-examples", ["model.pooling=mean", "data.instruction=bge_en", "data.small_sources=refuse", "train.global_batch=5", "train.num_train_epochs=6"]),
    ("bge-reranker", "en-reranker", ["data.train_group_size=8", "train.global_batch=5", "train.gradient_accumulation_steps=1", "train.num_train_epochs=12", "optim.learning_rate=6e-5"]),
]
SMALL = ["model.config=" + str(ROOT / "configs/shapes/minilm-l6-en.json"), f"model.folder={WEIGHTS}", "data.query_max_len=64", "data.passage_max_len=64",
         "train.logging_steps=1", "optim.learning_rate=2e-5", "model.gradient_checkpointing=false"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("examples", type=pathlib.Path)
    parser.add_argument("--lodestone", default=ROOT / "build/release/lodestone")
    arguments = parser.parse_args()
    if not WEIGHTS.exists():
        sys.exit("error: demo/weights/model is not there; launch/demo.sh fetches it")
    where = TRIALS / "examples"
    shutil.rmtree(where, ignore_errors=True)
    where.mkdir(parents=True)
    if not (TRIALS / "data/en-reranker").exists():
        run([sys.executable, ROOT / "tests/trials/example_data.py", arguments.examples, TRIALS / "data"], where / "data.log")
    good = True
    for recipe, corpus, overrides in TRAINED:
        run([arguments.lodestone, "pack", "--tokenizer", WEIGHTS, "--output", where / corpus, TRIALS / f"data/{corpus}/train"], where / "pack.log")
        sources = json.loads((where / corpus / "manifest.json").read_text())["shards"]
        command = ["mpirun", "-np", "2", arguments.lodestone, "train", ROOT / f"configs/{recipe}.yaml", *SMALL, *overrides,
                   f"data.train={where / corpus}", f"train.output_dir={where / recipe}"]
        run(command, where / f"{recipe}.log")
        losses = [r["loss"] for r in map(json.loads, open(where / recipe / "metrics.jsonl")) if "loss" in r]
        part = max(1, len(losses) // 4)
        first, last = (sum(losses[span]) / part for span in (slice(None, part), slice(-part, None)))
        print(f"{recipe} on {len(sources)} file{'s' if len(sources) > 1 else ''} of {corpus}: {len(losses)} steps, mean loss {first:.4f} in the first quarter, {last:.4f} in the last")
        good = good and last < first
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
