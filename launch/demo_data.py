#!/usr/bin/env python3
"""Turns Debian's package descriptions into training pairs and a held-out BEIR folder.

usage: demo_data.py TRANSLATION_EN PACKAGES OUTPUT_DIR GLOBAL_BATCH

Query: the first line of a description. Positive: the rest, white space folded, at least 20 characters and not the first line.
Source: the package's section; sections with fewer rows than a global batch become "other".
Held out: source packages with CRC-32(name) % 10 == 0. A training row whose title or body also occurs there is dropped.
Writes train.jsonl, heldout.jsonl, beir/{corpus.jsonl,queries.jsonl,qrels/test.tsv} and data.json with the counts.
"""
import collections
import json
import pathlib
import sys
import zlib


def stanzas(path):
    """Yields each stanza of a Debian control file as {field: [lines]}."""
    fields, lines = {}, None
    for line in open(path, encoding="utf-8"):
        line = line.rstrip("\n")
        if not line:
            if fields:
                yield fields
            fields = {}
        elif line[0] in " \t":
            lines.append(line.strip())
        else:
            name, _, value = line.partition(":")
            fields[name] = lines = [value.strip()]
    if fields:
        yield fields


def main():
    translation, packages, out, batch = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3]), int(sys.argv[4])
    place = {}
    for p in stanzas(packages):
        name = p["Package"][0]
        place.setdefault(name, (p.get("Source", [name])[0].split(" ")[0], p.get("Section", ["unknown"])[0]))

    pairs = {}  # (title, body) -> (source package, section), the first one that has it
    for t in stanzas(translation):
        name = t["Package"][0]
        if name not in place or "Description-en" not in t:
            continue
        lines = t["Description-en"]
        title = lines[0]
        body = " ".join(" ".join("" if l == "." else l for l in lines[1:]).split())
        if len(body) >= 20 and body != title and title:
            pairs.setdefault((title, body), place[name])

    held = [(q, p, s) for (q, p), s in pairs.items() if zlib.crc32(s[0].encode()) % 10 == 0]
    titles, bodies = {q for q, _, _ in held}, {p for _, p, _ in held}
    train = [(q, p, s[1]) for (q, p), s in pairs.items()
             if zlib.crc32(s[0].encode()) % 10 != 0 and q not in titles and p not in bodies]
    # A held-out title must not be a training body either, nor the reverse.
    train = [(q, p, s) for q, p, s in train if q not in bodies and p not in titles]
    sizes = collections.Counter(s for _, _, s in train)
    name_of = {s: s if n >= batch else "other" for s, n in sizes.items()}

    def write(name, rows):
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "w", encoding="utf-8") as f:
            for row in rows:
                f.write(json.dumps(row, ensure_ascii=False) + "\n")

    write("train.jsonl", ({"query": q, "pos": [p], "source": name_of[s]} for q, p, s in train))
    write("heldout.jsonl", ({"query": q, "pos": [p], "source": "heldout"} for q, p, _ in held))
    query_id = {q: f"q{i}" for i, q in enumerate(dict.fromkeys(q for q, _, _ in held))}
    body_id = {p: f"d{i}" for i, p in enumerate(dict.fromkeys(p for _, p, _ in held))}
    write("beir/queries.jsonl", ({"_id": i, "text": q} for q, i in query_id.items()))
    write("beir/corpus.jsonl", ({"_id": i, "title": "", "text": p} for p, i in body_id.items()))
    (out / "beir/qrels").mkdir(exist_ok=True)
    with open(out / "beir/qrels/test.tsv", "w", encoding="utf-8") as f:
        f.write("query-id\tcorpus-id\tscore\n")
        for q, p, _ in held:
            f.write(f"{query_id[q]}\t{body_id[p]}\t1\n")

    train_texts = {t for q, p, _ in train for t in (q, p)}
    overlap = len(train_texts & (titles | bodies))
    counts = {"pairs": len(pairs), "sections": len({s[1] for s in pairs.values()}), "heldout_pairs": len(held),
              "train_pairs": len(train), "sources": len(set(name_of.values())), "queries": len(query_id), "corpus": len(body_id),
              "overlap": overlap}
    (out / "data.json").write_text(json.dumps(counts, indent=2) + "\n")
    print(f"{counts['pairs']} pairs in {counts['sections']} sections; {counts['train_pairs']} to train on in {counts['sources']} "
          f"sources; held out: {counts['heldout_pairs']} pairs, {counts['queries']} queries, {counts['corpus']} bodies; "
          f"texts in both: {overlap}")
    if overlap:
        sys.exit("error: training and held-out texts overlap")


if __name__ == "__main__":
    main()
