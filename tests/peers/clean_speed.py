#!/usr/bin/env python3
"""How fast do `lodestone filter` and `lodestone dedup` read JSON lines?

  tests/peers/clean_speed.py [TEXT_FILE...] [--megabytes 200] [--rounds 3] [--program build/release/lodestone]

Pairs of 110 words a row are cut from text files, or from English documentation of this machine; a tenth of the rows came before, and
a twentieth came before but for one word of a hundred. Each round cleans them in every way, on one processor; rates are megabytes of JSON lines a second of
processor time, medians with the extremes. Rows that came before must be dropped. Prints one JSON object.
"""
import argparse
import json
import os
import pathlib
import random
import statistics
import subprocess
import tempfile

from tokenizer_speed import documents, paragraphs

ROOT = pathlib.Path(__file__).resolve().parents[2]


def write_rows(path, texts, size):
    """Gives how many rows were written, and how many of them came before."""
    random.seed(1)
    words = [w for w in "".join(c if c.isprintable() else " " for c in " ".join(texts)).split() if len(w) <= 12]  # no paths or rules
    rows, again, near, written = [], 0, 0, 0
    with open(path, "w", encoding="utf-8") as out:
        while written < size:
            kind = random.random()
            if kind < 0.1 and rows:
                query, positive = random.choice(rows)
                again += 1
            elif kind < 0.15 and rows:
                query, positive = random.choice(rows)
                changed = positive.split()
                changed[random.randrange(len(changed))] = "changed"
                positive = " ".join(changed)
                near += 1
            else:
                at = random.randrange(len(words) - 120)
                query, positive = " ".join(words[at:at + 10]), " ".join(random.sample(words[at + 10:at + 110], 100))
                if len(rows) < 20000:
                    rows.append((query, positive))
            line = json.dumps({"query": query, "pos": [positive], "relevance": random.random(), "source": f"part{len(query) % 5}"},
                              ensure_ascii=False) + "\n"
            written += len(line.encode())
            out.write(line)
    return again, near, written


def run(program, arguments, folder):
    """Gives processor seconds and the report."""
    report = os.path.join(folder, "report.json")
    process = subprocess.Popen([program, *arguments, "--output", os.path.join(folder, "out.jsonl"), "--report", report], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    assert status == 0, f"{arguments} ended with {status}"
    counts = json.loads(pathlib.Path(report).read_text())
    for name in os.listdir(folder):
        os.remove(os.path.join(folder, name))
    return used.ru_utime + used.ru_stime, counts


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("files", nargs="*")
    arguments.add_argument("--megabytes", type=float, default=200)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--program", default=ROOT / "build/release/lodestone")
    a = arguments.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as work:
        data, folder = os.path.join(work, "rows.jsonl"), os.path.join(work, "made")
        os.mkdir(folder)
        again, near, size = write_rows(data, paragraphs(a.files or documents(), 20e6), a.megabytes * 1e6)
        for name, line in (("words", "word"), ("domains", "domain")):
            pathlib.Path(work, name).write_text("".join(f"blocked {line} {n}\n" if name == "words" else f"blocked{n}.example\n" for n in range(5000)))
        ways = {
            "filter_score": ["filter", data, "--score", "relevance", "--min", "0.4"],
            "filter_rules": ["filter", data, "--rules", "empty,same_texts", "--script", "latin:0.3", "--min-chars", "5", "--max-chars", "5000",
                             "--max-special", "0.5", "--max-digits", "0.5", "--max-repeated-lines", "0.3", "--score", "relevance", "--min", "0.4"],
            "filter_block_lists": ["filter", data, "--blocked-domains", os.path.join(work, "domains"), "--blocked-words", os.path.join(work, "words")],
            "dedup_exact": ["dedup", data],
            "dedup_near": ["dedup", data, "--near", "0.8"],
        }
        seconds, counts = {way: [] for way in ways}, {}
        for _ in range(a.rounds):
            for way, command in ways.items():
                used, counts[way] = run(a.program, command, folder)
                seconds[way].append(used)
    exact, nearly = counts["dedup_exact"]["dropped"], counts["dedup_near"]["dropped"]
    assert exact["duplicate"] >= again, f"{exact} of {again} rows that came before"
    assert nearly["near_duplicate"] >= 0.95 * near * 0.9, f"{nearly} of {near} rows that nearly came before"
    rows = counts["dedup_exact"]["rows"]
    report = {"rows": rows, "bytes": size, "bytes_per_row": round(size / rows), "rounds": a.rounds}
    for way, values in seconds.items():
        rates = [size / s / 1e6 for s in values]
        report[way] = {"mb_per_cpu_s": round(statistics.median(rates), 1), "min": round(min(rates), 1), "max": round(max(rates), 1),
                       "kept": counts[way]["kept"]}
    report["dedup_exact"]["duplicates"], report["dedup_near"]["near_duplicates"] = exact["duplicate"], nearly["near_duplicate"]
    report["dedup_near"]["state_bytes_per_row"] = round(counts["dedup_near"]["state_bytes"] / counts["dedup_near"]["kept"], 1)
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
