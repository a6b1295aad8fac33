#!/usr/bin/env -S sh -c 'python="$("$(dirname "$0")/venv.sh" torch==2.15.0 transformers==5.23.0 sentence-transformers==6.2.0 LM_Cocktail==0.0.4)" && exec "$python" "$0" "$@"'
"""Writes tests/golden/merge.json: losses and weights that LM-Cocktail gives models on a few examples whose vectors are random.

Run:  tests/parity/make_merge_golden.py [--check]
--check compares with the file instead of writing it: vectors exactly, losses within 1e-12, weights, which LM-Cocktail rounds to f32,
within 1e-6.
"""
import argparse
import json
import sys
import types
from pathlib import Path

import torch
from LM_Cocktail import utils

GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "merge.json"


class Texts(dict):
    """A batch as a tokenizer gives it: here the texts' own numbers."""
    def to(self, device):
        return self


def tokenizer(texts, **settings):
    return Texts(rows=torch.tensor([int(text) for text in texts]))


class Model:
    """Looks its texts' vectors up; a state is a table of them."""
    def to(self, device):
        return self

    def load_state_dict(self, table):
        self.table = table

    def __call__(self, rows, return_dict):
        return types.SimpleNamespace(last_hidden_state=self.table[rows][:, None, :])


def make_case(seed, models, examples, negatives, width, batch, temperature):
    generator = torch.Generator().manual_seed(seed)
    group = 1 + negatives
    tables = [torch.randn(examples * (1 + group), width, generator=generator, dtype=torch.float32).double() for _ in range(models)]
    data = []   # text i is the i-th query, text examples + k the k-th passage
    for i in range(examples):
        passages = [str(examples + i * group + k) for k in range(group)]
        data.append({"query": str(i), "pos": passages[:1], "neg": passages[1:]})
    model, losses = Model(), []
    for table in tables:
        model.load_state_dict(table)
        batches = utils.preprocess_data_for_embedder(data, tokenizer, "cpu", batch, 512, negatives)
        losses.append(utils.embedder_loss(model, batches))
    weights = utils.compute_weights(model, tokenizer, tables, "encoder", data, temperature, batch, 512, negatives)
    return {"group": group, "embedding": width, "batch": batch, "temperature": temperature,
            "queries": [t[:examples].flatten().tolist() for t in tables], "passages": [t[examples:].flatten().tolist() for t in tables],
            "losses": losses, "weights": weights}


def compute():
    torch.set_num_threads(1)
    cases = [make_case(1, 3, 5, 3, 6, 2, 5.0), make_case(2, 2, 4, 0, 5, 2, 0.5), make_case(3, 2, 3, 7, 4, 8, 1.0)]
    return {"origin": "tests/parity/make_merge_golden.py", "LM_Cocktail": "0.0.4", "torch": torch.__version__, "cases": cases}


def near(a, b, bound):
    return len(a) == len(b) and all(abs(x - y) <= bound for x, y in zip(a, b))


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--check", action="store_true")
    made = compute()
    if not args.parse_args().check:
        text = ",\n ".join(json.dumps(case) for case in made.pop("cases"))
        GOLDEN.write_text(json.dumps(made)[:-1] + ',\n "cases": [\n ' + text + "\n]}\n")
        return
    kept = json.loads(GOLDEN.read_text())["cases"]
    for i, (old, new) in enumerate(zip(kept, made["cases"], strict=True)):
        if not (near(old.pop("losses"), new.pop("losses"), 1e-12) and near(old.pop("weights"), new.pop("weights"), 1e-6) and old == new):
            sys.exit(f"case {i} differs")
    print(f"{len(kept)} cases agree")


if __name__ == "__main__":
    main()
