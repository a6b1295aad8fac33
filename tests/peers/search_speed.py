#!/usr/bin/env -S sh -c 'python="$("$(dirname "$0")/../parity/venv.sh" faiss-cpu==1.15.1 numpy==2.4.6)" && exec "$python" "$0" "$@"'
"""How fast is the exact search, beside Faiss's flat index, on the same vectors and cores in one run?

  tests/peers/search_speed.py [--documents 200000] [--queries 2000] [--embedding 384] [--best 100] [--threads 1] [--rounds 3]

Unit vectors of a mixture of Gaussians, in which near neighbours are near. Rounds of Faiss (IndexFlatIP), of ours scanning in f32
and of ours scanning in bf16 alternate; medians and ratios are printed as JSON. Ours must find in both ways what NumPy finds in f64
(ties by the order of documents); how many of Faiss's lists are those of f64 is said too.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import tempfile
import time

import faiss
import numpy as np

from machine import has_bf16

ROOT = pathlib.Path(__file__).resolve().parents[2]


def unit_rows(count, width, seed):
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(1).standard_normal((1000, width)).astype(np.float32)
    rows = centres[random.integers(0, len(centres), count)] + random.standard_normal((count, width), dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def exact_lists(documents, queries, best):
    lists = []
    wide = documents.astype(np.float64)
    for query in queries.astype(np.float64):
        scores = wide @ query
        near = np.flatnonzero(scores >= np.partition(scores, -best)[-best])
        lists.append(near[np.lexsort((near, -scores[near]))][:best])
    return np.array(lists)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("documents", 200000), ("queries", 2000), ("embedding", 384), ("best", 100), ("threads", 1), ("rounds", 3)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--program", default=ROOT / "build/release/search_rows")
    a = parser.parse_args()
    documents, queries = unit_rows(a.documents, a.embedding, 2), unit_rows(a.queries, a.embedding, 3)
    faiss.omp_set_num_threads(a.threads)
    index = faiss.IndexFlatIP(a.embedding)
    index.add(documents)
    times, lists = {"faiss": [], "f32": [], "bf16": []}, {}
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        documents.tofile(folder / "documents")
        queries.tofile(folder / "queries")
        for _ in range(a.rounds):
            start = time.perf_counter()
            lists["faiss"] = index.search(queries, a.best)[1]
            times["faiss"].append(time.perf_counter() - start)
            for scanned in ("f32", "bf16"):
                done = subprocess.run([a.program, folder / "documents", folder / "queries", str(a.embedding), str(a.best), str(a.threads), scanned, "1", folder / "found"],
                                      check=True, capture_output=True, text=True)
                times[scanned] += json.loads(done.stdout)
                lists[scanned] = np.fromfile(folder / "found", np.int64).reshape(a.queries, a.best)
    some = np.arange(0, a.queries, max(1, a.queries // 200))
    exact = exact_lists(documents, queries[some], a.best)
    for scanned in ("f32", "bf16"):
        assert (lists[scanned][some] == exact).all(), f"scanning in {scanned} does not find what f64 finds"
    seconds = {way: statistics.median(all_s) for way, all_s in times.items()}
    print(json.dumps({"documents": a.documents, "queries": a.queries, "embedding": a.embedding, "best": a.best, "threads": a.threads, "bf16_is_native": has_bf16(),
                      "seconds": {way: [round(s, 3) for s in all_s] for way, all_s in times.items()},
                      "f32_over_faiss": round(seconds["faiss"] / seconds["f32"], 3), "bf16_over_faiss": round(seconds["faiss"] / seconds["bf16"], 3),
                      "lists_checked": len(some), "lists_of_faiss_that_are_exact": int((lists["faiss"][some] == exact).all(axis=1).sum())}, indent=1))


main()
