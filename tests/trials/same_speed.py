#!/usr/bin/env python3
"""Is a build as fast as another? Steps and losses of both by `lodestone bench`, and whole runs, in turns, so that a machine that changes its speed
shows in both.

  same_speed.py --before PROGRAM [--after PROGRAM] [--rounds 4] [--queries 2400] [--evaluations 3] [--threads 2] [--parts steps losses runs]

Prints, of each setting, the time before over the time after (above 1: faster): of medians and of the fastest runs, which is the figure to trust on a
machine that does other work; and for steps the arena's peak, page faults and allocations a step, which should be equal. Runs are of one step from
the weights in demo/weights/model on texts of random words: from the start to the exported model, and what 2,000 held-out rows, looked at twice, add.
"""
import argparse
import collections
import json
import pathlib
import random
import shutil
import statistics
import subprocess
import time

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


def losses(programs, rounds, threads, queries, evaluations):
    printed = turns(programs, rounds, ["--losses", str(queries), "--precision", "f32", "--lengths", "short", "--pairs", "8", "--steps", str(evaluations),
                                       "--threads", str(threads)])
    times = {p: collections.defaultdict(list) for p in programs}
    for p in programs:
        for run in printed[p]:
            for row in run["losses"]:
                times[p][row["loss"]].append(row["loss_s"])
    before, after = programs
    for loss in times[before]:
        pair = times[before][loss], times[after][loss]
        print(f"{loss}, {queries} queries: {ratio(*pair, statistics.median):.3f} of medians, {ratio(*pair, min):.3f} of the fastest", flush=True)


def write_rows(path, words, rows):
    chosen = random.Random(rows)
    text = lambda least, most: " ".join(chosen.choices(words, k=chosen.randint(least, most)))
    path.write_text("".join(json.dumps({"query": text(4, 12), "pos": text(20, 100)}) + "\n" for _ in range(rows)))


def runs(programs, rounds, threads):
    model, where = ROOT / "demo/weights/model", ROOT / "trials/speed"
    if not model.exists():
        raise SystemExit(f"{model} is not there; do: run launch/demo.sh once")
    shutil.rmtree(where, ignore_errors=True)
    where.mkdir(parents=True)
    words = [word for word in (model / "vocab.txt").read_text().split("\n") if word.isascii() and word.isalpha()]
    for name, rows in ("train", 400), ("heldout", 2000):
        write_rows(where / f"{name}.jsonl", words, rows)
        subprocess.run([programs["before"], "pack", "--tokenizer", model, "--output", where / name, where / f"{name}.jsonl"], check=True, capture_output=True)
    config = {"model": {"folder": str(model)}, "data": {"train": str(where / "train"), "query_max_len": 32, "passage_max_len": 128},
              "loss": {"name": "info_nce"}, "optim": {"learning_rate": 1e-5},
              "train": {"steps": 1, "global_batch": 8, "threads": threads, "output_dir": str(where / "run"), "eval_rows": 2000}}
    times = {(p, held): [] for p in programs for held in (False, True)}
    for r in range(rounds):
        for p in list(programs)[:: 1 if r % 2 == 0 else -1]:
            for held in False, True:
                if held:
                    config["data"]["heldout"] = str(where / "heldout")
                else:
                    config["data"].pop("heldout", None)
                (where / "run.yaml").write_text(json.dumps(config))
                shutil.rmtree(where / "run", ignore_errors=True)
                start = time.monotonic()
                subprocess.run([programs[p], "train", where / "run.yaml"], check=True, capture_output=True)
                times[p, held].append(time.monotonic() - start)
    whole = [times[p, False] for p in programs]
    heldout = [[b - a for a, b in zip(times[p, False], times[p, True])] for p in programs]
    for name, pair in ("a run of one step", whole), ("held-out rows, twice", heldout):
        print(f"{name}: {ratio(*pair, statistics.median):.3f} of medians, {ratio(*pair, min):.3f} of the fastest; {min(pair[0]):.2f} and {min(pair[1]):.2f} s", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", required=True)
    parser.add_argument("--after", default=str(ROOT / "build/release/lodestone"))
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--queries", type=int, default=2400)
    parser.add_argument("--evaluations", type=int, default=3, help="of each loss in a round")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--parts", nargs="+", default=["steps", "losses", "runs"], choices=["steps", "losses", "runs"])
    given = parser.parse_args()
    programs = {"before": given.before, "after": given.after}
    if "steps" in given.parts:
        steps(programs, given.rounds, given.threads)
    if "losses" in given.parts:
        losses(programs, given.rounds, given.threads, given.queries, given.evaluations)
    if "runs" in given.parts:
        runs(programs, given.rounds, given.threads)


if __name__ == "__main__":
    main()
