#!/usr/bin/env python3
"""Is a build as fast as another? Steps and losses of both by `lodestone bench`, in turns, so that a machine that changes its speed shows in both.

  same_speed.py --before PROGRAM [--after PROGRAM] [--rounds 4] [--queries 2400] [--threads 2] [--parts steps losses]

Prints, of each setting, the time before over the time after (above 1: faster): of medians and of the fastest runs, which is the figure to trust on a
machine that does other work; and for steps the arena's peak, page faults and allocations a step, which should be equal.
"""
import argparse
import collections
import json
import pathlib
import statistics
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
STEPS = {
    "MiniLM f32, 128 tokens a text": ["--precision", "f32", "--lengths", "dense", "--pairs", "8"],
    "MiniLM f32, real lengths": ["--precision", "f32", "--lengths", "real", "--pairs", "32"],
    "MiniLM bf16, real lengths": ["--precision", "bf16", "--lengths", "real", "--pairs", "32"],
    "BERT-base f32, real lengths": ["--model", "bert-base", "--precision", "f32", "--lengths", "real", "--pairs", "4"],
}


def bench(program, options):
    done = subprocess.run([program, "bench", *options], capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{program} bench {' '.join(options)}: {done.stderr}")
    return json.loads(done.stdout)


def turns(programs, rounds, options):
    """What each program printed, round by round; who begins changes."""
    printed = {name: [] for name in programs}
    for r in range(rounds):
        for name in list(programs)[:: 1 if r % 2 == 0 else -1]:
            printed[name].append(bench(programs[name], options))
    return printed


def ratio(before, after, pick):
    return pick(before) / pick(after)


def steps(programs, rounds, threads):
    for name, options in STEPS.items():
        printed = turns(programs, rounds, [*options, "--steps", "5", "--threads", str(threads)])
        of = lambda key: [[run[key] for run in printed[p]] for p in programs]
        medians, fastest = ratio(*of("step_s"), statistics.median), ratio(*of("step_s_min"), min)
        rest = "; ".join(f"{key} {of(key)[0][0]:g} and {of(key)[1][0]:g}" for key in ("arena_peak_bytes", "page_faults_per_step", "allocations_per_step"))
        print(f"{name}: {medians:.3f} of medians, {fastest:.3f} of the fastest; {rest}", flush=True)


def losses(programs, rounds, threads, queries):
    printed = turns(programs, rounds, ["--losses", str(queries), "--precision", "f32", "--lengths", "short", "--pairs", "8", "--steps", "3", "--threads", str(threads)])
    times = {p: collections.defaultdict(list) for p in programs}
    for p in programs:
        for run in printed[p]:
            for row in run["losses"]:
                times[p][row["loss"]].append(row["loss_s"])
    before, after = programs
    for loss in times[before]:
        pair = times[before][loss], times[after][loss]
        print(f"{loss}, {queries} queries: {ratio(*pair, statistics.median):.3f} of medians, {ratio(*pair, min):.3f} of the fastest", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", required=True)
    parser.add_argument("--after", default=str(ROOT / "build/release/lodestone"))
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--queries", type=int, default=2400)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--parts", nargs="+", default=["steps", "losses"], choices=["steps", "losses"])
    given = parser.parse_args()
    programs = {"before": given.before, "after": given.after}
    if "steps" in given.parts:
        steps(programs, given.rounds, given.threads)
    if "losses" in given.parts:
        losses(programs, given.rounds, given.threads, given.queries)


if __name__ == "__main__":
    main()
