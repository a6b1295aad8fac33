#!/usr/bin/env -S sh -c 'python="$("$(dirname "$0")/../parity/venv.sh" h5py==3.16.0 numpy==2.4.6)" && exec "$python" "$0" "$@"'
"""How much processor time does a random row take, ours and h5py's, on the same corpus in one run?

  tests/peers/corpus_speed.py [--rows 20000] [--rounds 5] [--program build/release/corpus_rows] CORPUS

h5py reads the ids of the query, the positives and the negatives of the same rows, with what serves it best: files and
datasets kept open, all offsets in memory before the clock starts, a chunk cache that holds every chunk. Rounds of the two
alternate, all pages warm; medians and their ratio are printed as JSON. Both sums of ids must be equal. pread_us is what the
system calls alone would take if ours read the same row without mapping the file.
"""
import argparse
import bisect
import json
import pathlib
import statistics
import subprocess
import time

import h5py

ROOT = pathlib.Path(__file__).resolve().parents[2]


class Shard:
    def __init__(self, path):
        self.file = h5py.File(path, rdcc_nbytes=1 << 30, rdcc_nslots=100003)
        self.roles = []
        for role in ("query", "positive", "negative"):
            if f"{role}/ids" in self.file:
                rows = self.file.get(f"{role}/row_offsets")
                self.roles.append((self.file[f"{role}/ids"], self.file[f"{role}/offsets"][:].tolist(), None if rows is None else rows[:].tolist()))

    def read(self, row):
        texts = []
        for ids, offsets, rows in self.roles:
            first, end = (row, row + 1) if rows is None else (rows[row], rows[row + 1])
            if first < end:                                   # one read for all texts of the role
                texts.append(ids[offsets[first]:offsets[end]])
        return texts


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("corpus", type=pathlib.Path)
    arguments.add_argument("--rows", type=int, default=20000)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--program", default=ROOT / "build/release/corpus_rows")
    a = arguments.parse_args()
    manifest = json.loads((a.corpus / "manifest.json").read_text())
    shards, first = [], []
    for shard in manifest["shards"]:
        first.append(sum(s["rows"] for s in manifest["shards"][:len(first)]))
        shards.append(Shard(a.corpus / shard["file"]))
    ours, theirs, preads = [], [], []
    for seed in range(a.rounds):
        mine = json.loads(subprocess.run([a.program, a.corpus, str(a.rows), str(seed)], check=True, capture_output=True).stdout)
        ours.append(mine["us_per_row"])
        preads.append(mine["pread_us_per_row"])
        for row in mine["order"]:                             # warm, as ours is
            s = bisect.bisect_right(first, row) - 1
            shards[s].read(row - first[s])
        kept = []
        start = time.process_time()
        for row in mine["order"]:
            s = bisect.bisect_right(first, row) - 1
            kept.append(shards[s].read(row - first[s]))
        theirs.append((time.process_time() - start) / a.rows * 1e6)
        total = sum(int(texts.sum(dtype="int64")) for row in kept for texts in row)
        if total != mine["sum"]:
            raise SystemExit(f"corpus_speed: the sums of ids differ: {mine['sum']} and {total}")
    result = {"corpus_rows": manifest["rows"], "shards": len(shards), "rows_read": a.rows, "ours_us": statistics.median(ours), "h5py_us": statistics.median(theirs),
              "pread_us": statistics.median(preads)}
    result["ratio"] = result["h5py_us"] / result["ours_us"]
    print(json.dumps({k: round(v, 3) if isinstance(v, float) else v for k, v in result.items()}))


if __name__ == "__main__":
    main()
