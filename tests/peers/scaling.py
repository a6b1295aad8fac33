#!/usr/bin/env python3
"""Several ranks of one thread against one rank of one thread, interleaved in one run.

Run:  tests/peers/scaling.py LODESTONE [--ranks 2] [--pairs 32] [--lengths real] [--rounds 3]

Whole training steps of `lodestone bench`, gradient sum included: one rank with --pairs, several ranks with the same global batch, and
several ranks with --pairs each. Prints JSON: tokens per second of the whole job, and the ratios of medians to one rank.
"""
import argparse
import json
import statistics
import subprocess

from machine import better_precision, mpirun_environment


def bench(a, ranks, pairs):
    command = ["mpirun", "-np", ranks, a.lodestone, "bench", "--threads", 1, "--model", a.model, "--lengths", a.lengths, "--pairs", pairs, "--steps", a.steps,
               "--precision", better_precision()]
    return json.loads(subprocess.run(list(map(str, command)), check=True, stdout=subprocess.PIPE, text=True, env=mpirun_environment()).stdout)


def main():
    args = argparse.ArgumentParser()
    args.add_argument("lodestone")
    args.add_argument("--ranks", type=int, default=2)
    args.add_argument("--model", default="minilm")
    args.add_argument("--lengths", default="real")
    args.add_argument("--pairs", type=int, default=32)
    args.add_argument("--steps", type=int, default=5)
    args.add_argument("--rounds", type=int, default=3)
    a = args.parse_args()
    cases = {"one rank": (1, a.pairs), f"{a.ranks} ranks, same batch": (a.ranks, a.pairs), f"{a.ranks} ranks, same work each": (a.ranks, a.ranks * a.pairs)}
    runs = {name: [] for name in cases}
    for _ in range(a.rounds):
        for name, (ranks, pairs) in cases.items():
            runs[name].append(bench(a, ranks, pairs))
    median = {name: statistics.median(r["tokens_per_s"] for r in values) for name, values in runs.items()}
    print(json.dumps({name: {"tokens_per_s": [r["tokens_per_s"] for r in values], "share_of_ceiling": [r["share_of_ceiling"] for r in values],
                             "ratio_to_one_rank": median[name] / median["one rank"]} for name, values in runs.items()}, indent=2))


if __name__ == "__main__":
    main()
