#!/usr/bin/env -S sh -c 'python="$("$(dirname "$0")/venv.sh")" && exec "$python" "$0" "$@"'
"""Writes tests/golden/losses.json: values and gradients of sentence-transformers' losses on small random vectors, in f64.

Run:  tests/parity/make_losses_golden.py [--check]
--check compares with the file instead of writing it: inputs exactly, answers within 1e-13 of the largest.
"""
import argparse
import json
import sys
from pathlib import Path

import sentence_transformers
import torch

from losses_st import KINDS, answer, make_case

GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "losses.json"


def compute():
    torch.set_num_threads(1)
    cases = [make_case(kind, 5, 1, seed) for seed, kind in enumerate(KINDS)]
    for case in cases:
        case["expected"] = answer(case)
    return {"origin": "tests/parity/make_losses_golden.py", "sentence-transformers": sentence_transformers.__version__,
            "torch": torch.__version__, "cases": cases}


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--check", action="store_true")
    made = compute()
    if not args.parse_args().check:
        text = ",\n ".join(json.dumps(case) for case in made.pop("cases"))
        GOLDEN.write_text(json.dumps(made)[:-1] + ',\n "cases": [\n ' + text + "\n]}\n")
        return
    kept = json.loads(GOLDEN.read_text())
    differ = [] if len(kept["cases"]) == len(made["cases"]) else ["the number of cases differs"]
    for old, new in zip(kept["cases"], made["cases"]):
        was, now = old.pop("expected"), new.pop("expected")
        if old != new:
            differ.append(f"{new['name']}: the inputs differ")
        largest = max(abs(g) for g in now["gradient"])
        error = max(abs(x - y) for x, y in zip(was["gradient"], now["gradient"])) / largest
        if not (error <= 1e-13 and abs(was["loss"] - now["loss"]) <= 1e-13 * abs(now["loss"])):
            differ.append(f"{new['name']}: the answers differ")
    if differ:
        sys.exit("\n".join(differ))
    print(f"{len(made['cases'])} cases agree")


if __name__ == "__main__":
    main()
