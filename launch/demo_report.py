#!/usr/bin/env python3
"""Writes the demo's report: DIR/loss.svg, DIR/queries.md, a before/after table and DIR/summary.json.

usage: demo_report.py DIR RANKS
"""
import json
import pathlib
import sys


def read_jsonl(path):
    return [json.loads(line) for line in open(path, encoding="utf-8")]


def plot(points, heldout, path):
    """A line chart of the training loss, with the held-out loss as dots, as one SVG file."""
    width, height, left, bottom, top = 720, 360, 56, 40, 24
    xs = [s for s, _ in points + heldout]
    ys = [v for _, v in points + heldout]
    x_max, y_max = max(xs), max(ys) * 1.05
    def x(s): return left + (width - left - 16) * s / x_max
    def y(v): return top + (height - top - bottom) * (1 - v / y_max)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" font-size="12">',
           f'<rect width="{width}" height="{height}" fill="white"/>']
    for i in range(6):
        v = y_max * i / 5
        out.append(f'<line x1="{left}" x2="{width - 16}" y1="{y(v):.1f}" y2="{y(v):.1f}" stroke="#e4e4e4"/>'
                   f'<text x="{left - 6}" y="{y(v) + 4:.1f}" text-anchor="end">{v:.2f}</text>')
        s = x_max * i / 5
        out.append(f'<text x="{x(s):.1f}" y="{height - bottom + 18}" text-anchor="middle">{s:.0f}</text>')
    line = " ".join(f"{x(s):.1f},{y(v):.1f}" for s, v in points)
    out.append(f'<polyline points="{line}" fill="none" stroke="#1f5fa8" stroke-width="1.6"/>')
    out += [f'<circle cx="{x(s):.1f}" cy="{y(v):.1f}" r="4" fill="#c8501e"/>' for s, v in heldout]
    out.append(f'<text x="{width / 2}" y="{height - 6}" text-anchor="middle">optimizer step</text>'
               f'<text x="{left}" y="15" fill="#1f5fa8">training loss</text>')
    if heldout:
        out.append(f'<text x="{left + 110}" y="15" fill="#c8501e">held-out loss</text>')
    out.append("</svg>")
    path.write_text("\n".join(out) + "\n")


def best_hits(run_file, count):
    """{query: [best documents]} of a TREC run file."""
    hits = {}
    for line in open(run_file, encoding="utf-8"):
        query, _, document, rank, *_ = line.split()
        hits.setdefault(query, []).append((int(rank), document))
    return {q: [d for _, d in sorted(h)[:count]] for q, h in hits.items()}


def scores(folder):
    result = json.loads(next(folder.glob("*.json")).read_text())
    return next(iter(result["scores"].values()))[0]


def main():
    demo, ranks = pathlib.Path(sys.argv[1]), int(sys.argv[2])
    data = json.loads((demo / "data/data.json").read_text())
    before, after = scores(demo / "eval-before"), scores(demo / "eval-after")
    records = read_jsonl(demo / "run/metrics.jsonl")
    train = [r for r in records if "loss" in r]
    heldout = [(r["step"], r["heldout_loss"]) for r in records if r.get("heldout_loss") is not None]
    plot([(r["step"], r["loss"]) for r in train], heldout, demo / "loss.svg")

    names = {r["_id"]: r["text"] for name in ("queries", "corpus") for r in read_jsonl(demo / f"data/beir/{name}.jsonl")}
    relevant = {}
    for line in list(open(demo / "data/beir/qrels/test.tsv"))[1:]:
        query, document, _ = line.split("\t")
        relevant.setdefault(query, set()).add(document)
    hits = [best_hits(next((demo / f"eval-{when}").glob("*.trec")), 3) for when in ("before", "after")]
    chosen = sorted(relevant, key=lambda q: int(q[1:]))[:: max(1, len(relevant) // 10)][:10]
    with open(demo / "queries.md", "w", encoding="utf-8") as f:
        f.write("# Ten held-out queries and their three best hits, before and after training\n\nA star marks the right answer.\n")
        for query in chosen:
            f.write(f"\n## {names[query]}\n")
            for when, found in zip(("before", "after"), hits):
                f.write(f"\n{when}:\n\n")
                for document in found.get(query, []):
                    mark = "\\*" if document in relevant[query] else "-"
                    f.write(f"1. {mark} {names[document][:140]}\n")

    timed = [r for r in train if r.get("pairs_per_s")][1:] or train
    def mean(key): return sum(r[key] for r in timed) / len(timed)
    summary = {
        "ndcg_at_10_before": before["ndcg_at_10"], "ndcg_at_10_after": after["ndcg_at_10"],
        "mrr_at_10_before": before["mrr_at_10"], "mrr_at_10_after": after["mrr_at_10"],
        "queries": data["queries"], "corpus": data["corpus"], "overlap": data["overlap"],
        "steps": train[-1]["step"], "loss_first": train[0]["loss"], "loss_last": train[-1]["loss"],
        "pairs_per_s": round(mean("pairs_per_s"), 2), "real_tokens_per_s": round(mean("tokens_per_s"), 1),
        "ranks": ranks, "model": str(demo / "run/model"),
    }
    print(f"{'':12}{'before':>10}{'after':>10}{'change':>10}")
    for key in ("ndcg_at_10", "mrr_at_10", "recall_at_10", "map_at_100"):
        if key in before and key in after:
            print(f"{key:12}{before[key]:10.4f}{after[key]:10.4f}{after[key] - before[key]:+10.4f}")
    print(f"\nloss curve      {demo}/loss.svg\nbest hits       {demo}/queries.md\nmodel           {summary['model']}"
          f"\nload it with    SentenceTransformer(\"{summary['model']}\")")
    (demo / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")


if __name__ == "__main__":
    main()
