#!/usr/bin/env python3
"""How fast does `lodestone pack` turn JSONL into shards, and does another build make the same bytes?

  tests/peers/pack_speed.py TOKENIZER_FOLDER [TEXT_FILE...] [--megabytes 100] [--rounds 5] [--program build/release/lodestone] [--before OTHER_PROGRAM]

Pairs of about 710 bytes a row are cut from text files, or from English documentation of this machine. Each round packs them
with each program, alone and on one processor; rates are megabytes of JSONL a second of processor time, medians with the
extremes. All corpora must be equal byte for byte. Prints one JSON object.
"""
import argparse
import hashlib
import json
import os
import pathlib
import resource
import shutil
import statistics
import subprocess
import tempfile

from tokenizer_speed import documents, paragraphs

ROOT = pathlib.Path(__file__).resolve().parents[2]


def write_pairs(path, texts, size):
    """Rows of a query of about 60 characters and a positive of about 610, again and again with another beginning until there are enough."""
    words = "".join(c if c.isprintable() else " " for c in " ".join(texts)).split()
    written = row = at = 0
    with open(path, "w", encoding="utf-8") as out:
        def take(characters):
            nonlocal at
            taken = []
            while characters > 0:
                taken.append(words[at % len(words)])
                characters -= len(taken[-1]) + 1
                at += 1
            return " ".join(taken)
        while written < size:
            line = json.dumps({"query": f"{row} {take(60)}", "pos": [take(610)]}, ensure_ascii=False) + "\n"
            written += len(line.encode())
            out.write(line)
            row += 1
    return row, written


def pack(program, tokenizer, data, folder):
    """Packs and gives the processor seconds, and a hash of all that was written."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([program, "pack", "--tokenizer", tokenizer, "--output", folder, data], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    digest = hashlib.sha256()
    for file in sorted(pathlib.Path(folder).iterdir()):
        digest.update(file.name.encode() + file.read_bytes())
    shutil.rmtree(folder)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, digest.hexdigest()


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("tokenizer")
    arguments.add_argument("files", nargs="*")
    arguments.add_argument("--megabytes", type=float, default=100)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--program", default=ROOT / "build/release/lodestone")
    arguments.add_argument("--before")
    a = arguments.parse_args()
    programs = {"program": a.program} | ({"before": a.before} if a.before else {})
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as work:
        data = os.path.join(work, "pairs.jsonl")
        rows, size = write_pairs(data, paragraphs(a.files or documents(), 20e6), a.megabytes * 1e6)
        rates, hashes = {name: [] for name in programs}, set()
        for _ in range(a.rounds):
            for name, program in programs.items():
                seconds, digest = pack(program, a.tokenizer, data, os.path.join(work, "corpus"))
                rates[name].append(size / seconds / 1e6)
                hashes.add(digest)
    assert len(hashes) == 1, "the corpora differ"
    report = {"rows": rows, "bytes": size, "bytes_per_row": round(size / rows), "rounds": a.rounds}
    for name, values in rates.items():
        report[f"{name}_mb_per_cpu_s"] = {"median": round(statistics.median(values), 1), "min": round(min(values), 1), "max": round(max(values), 1)}
    if a.before:
        ratios = [now / then for now, then in zip(rates["program"], rates["before"])]
        report["ratio"] = {"median": round(statistics.median(ratios), 2), "min": round(min(ratios), 2), "max": round(max(ratios), 2)}
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
