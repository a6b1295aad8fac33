#!/usr/bin/env -S sh -c 'python="$("$(dirname "$0")/venv.sh")" && exec "$python" "$0" "$@"'
"""Compares losses with sentence-transformers' own: value and gradient in f64, on random vectors.

Run:  tests/parity/loss_parity.py BUILD_DIR [--seeds 5] [--queries 48]

BUILD_DIR holds loss_dump (target loss_dump). Bounds: the value's relative error and the gradient's error relative to its norm are at
most 1e-13: double's 1e-16, multiplied by 1 / temperature = 100 where cosines become logits, with room for sums.
"""
import argparse
import json
import math
import pathlib
import subprocess
import sys
import tempfile

import sentence_transformers
import torch

from losses_st import KINDS, answer, make_case

BOUND = 1e-13


def main():
    args = argparse.ArgumentParser()
    args.add_argument("build")
    args.add_argument("--seeds", type=int, default=5)
    args.add_argument("--queries", type=int, default=48)
    a = args.parse_args()
    cases = [make_case(kind, a.queries, 8, seed) for kind in KINDS for seed in range(a.seeds)]
    with tempfile.TemporaryDirectory() as tmp:
        path = pathlib.Path(tmp) / "cases.json"
        path.write_text(json.dumps({"cases": cases}))
        ours = json.loads(subprocess.run([pathlib.Path(a.build) / "loss_dump", path], check=True, capture_output=True, text=True).stdout)

    failures, worst = [], {kind: {"value": 0.0, "gradient": 0.0} for kind in KINDS}
    for case in cases:
        theirs, mine = answer(case), ours[case["name"]]
        norm = math.hypot(*theirs["gradient"])
        errors = {"value": abs(mine["loss"] - theirs["loss"]) / abs(theirs["loss"]),
                  "gradient": math.dist(mine["gradient"], theirs["gradient"]) / norm}
        for what, error in errors.items():
            worst[case["kind"]][what] = max(worst[case["kind"]][what], error)
            if not error <= BOUND:
                failures.append(f"{case['name']}: {what} differs by {error:.1e}, more than {BOUND:.0e}")
    print(json.dumps({"sentence-transformers": sentence_transformers.__version__, "torch": torch.__version__, "seeds": a.seeds,
                      "queries": a.queries, "worst relative error": worst}, indent=2))
    if failures:
        sys.exit("\n".join(failures))


if __name__ == "__main__":
    main()
