#!/usr/bin/env -S sh -c 'python="$("$(dirname "$0")/venv.sh" tokenizers==0.23.3 h5py==3.16.0 numpy==2.4.6 xxhash==4.1.0)" && exec "$python" "$0" "$@"'
"""Does h5py read from a packed corpus, text by text, the ids that Hugging Face's tokenizers gives?

  tests/parity/corpus_h5py.py [--binary build/release/lodestone] [--rows 3000] VOCAB.txt

Packs generated rows of all kinds, reads the shards with h5py as data/corpus/README.md describes them, and compares every id,
offset, hash, score, label, prompt and answer with the rows. Prints one JSON object; exit 1 at the first difference.
"""
import argparse
import json
import math
import pathlib
import random
import struct
import subprocess
import tempfile

import h5py
import numpy
import tokenizers
import xxhash
from tokenizers import models, normalizers, pre_tokenizers

ROOT = pathlib.Path(__file__).resolve().parents[2]


def peer(vocab):
    ids = {token: i for i, token in enumerate(pathlib.Path(vocab).read_text("utf-8").split("\n")[:-1])}
    tokenizer = tokenizers.Tokenizer(models.WordPiece(ids, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    return tokenizer


def generate(count, seed):
    rng = random.Random(seed)
    words = "the lodestone attracts Iron, 磁石吸引鉄 naïve élan 42 3.14 magnétique — it's (very) old; الحجر 😀 vocabulary".split()
    text = lambda most: " ".join(rng.choice(words) for _ in range(rng.randint(1, most)))
    for i in range(count):
        row = {"query": text(8), "pos": [text(40) for _ in range(rng.randint(1, 3))], "neg": [text(40) for _ in range(rng.randint(0, 4))],
               "source": f"source {rng.randint(0, 4)}"}
        if rng.random() < 0.5:
            row["teacher_scores"] = [rng.random() for _ in row["pos"] + row["neg"]]
        if rng.random() < 0.3:
            row["prompt"] = f"Prompt {rng.randint(0, 2)}: "
        if rng.random() < 0.3:
            row["answers"] = [text(5) for _ in range(rng.randint(0, 2))]
        if rng.random() < 0.3:
            row["label"] = rng.randint(0, 9)
        if len(row["pos"]) == 1 and not row["neg"]:           # a score is one of a pair
            row["score"] = rng.random()
        if rng.random() < 0.5:
            row["query_id"] = i
        yield row


def document_hash(source, identifier):
    halves = [xxhash.xxh64_intdigest(str(part).encode()) for part in (source, identifier)]
    return xxhash.xxh64_intdigest(struct.pack("<2Q", *halves))


def texts_of(f, role, row):
    """Texts [first, end) of a row."""
    if role == "query":
        return row, row + 1
    offsets = f.get(f"{role}/row_offsets")
    return (0, 0) if offsets is None else (int(offsets[row]), int(offsets[row + 1]))


def check(expected, got, what):
    if expected != got:
        raise SystemExit(f"corpus_h5py: {what}: expected {expected!r}, got {got!r}")


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("vocab")
    arguments.add_argument("--binary", default=ROOT / "build/release/lodestone")
    arguments.add_argument("--rows", type=int, default=3000)
    a = arguments.parse_args()
    tokenizer = peer(a.vocab)
    encode = lambda text: tokenizer.encode(text, add_special_tokens=False).ids
    rows = list(generate(a.rows, 1))
    compared = 0
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "model").mkdir()
        (folder / "model/vocab.txt").write_bytes(pathlib.Path(a.vocab).read_bytes())
        (folder / "model/tokenizer_config.json").write_text('{"do_lower_case": true}')
        (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        subprocess.run([a.binary, "pack", "--tokenizer", folder / "model", "--output", folder / "corpus", "--unit-mib", "1", folder / "rows.jsonl"],
                       check=True, stdout=subprocess.DEVNULL)
        manifest = json.loads((folder / "corpus/manifest.json").read_text())
        body = {k: v for k, v in manifest.items() if k != "checksum"}
        text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        check(manifest["checksum"], f"{xxhash.xxh3_64_intdigest(text.encode()):016x}", "checksum of the manifest")
        check(len(rows), manifest["rows"], "rows")
        left = list(rows)                                     # in input order
        for shard in manifest["shards"]:
            content = (folder / "corpus" / shard["file"]).read_bytes()
            check(shard["xxh3"], f"{xxhash.xxh3_64_intdigest(content):016x}", "checksum of a shard")
            with h5py.File(folder / "corpus" / shard["file"]) as opened:
                attributes = dict(opened.attrs)
                f = {}
                opened.visititems(lambda name, item: f.__setitem__(name, item[:]) if isinstance(item, h5py.Dataset) else None)
            check(1, int(attributes["complete"]), "complete mark")
            names = [bytes(f["table/source_bytes"][b:e]).decode() for b, e in zip(f["table/source_offsets"], f["table/source_offsets"][1:])]
            prompts = [bytes(f["table/prompt_bytes"][b:e]).decode() for b, e in zip(f["table/prompt_offsets"], f["table/prompt_offsets"][1:])] if "table/prompt_bytes" in f else []
            taken, left = left[:shard["rows"]], left[shard["rows"]:]
            grouped = [row for name in names for row in taken if row["source"] == name]
            check(len(grouped), int(attributes["rows"]), "rows of a shard")
            for r, row in enumerate(grouped):
                for role, field in (("query", "query"), ("positive", "pos"), ("negative", "neg")):
                    given = [row["query"]] if role == "query" else row[field]
                    first, end = texts_of(f, role, r)
                    check(len(given), end - first, f"number of texts, row {r} {role}")
                    for t, text in zip(range(first, end), given):
                        ids = f[f"{role}/ids"][f[f"{role}/offsets"][t]:f[f"{role}/offsets"][t + 1]]
                        check(encode(text), ids.tolist(), f"ids, row {r} {role}")
                        digest = xxhash.xxh64_intdigest(text.encode())
                        check(digest, int(f[f"{role}/text_hash"][t]), f"text hash, row {r} {role}")
                        document = document_hash(row["source"], row["query_id"]) if role == "query" and "query_id" in row else digest
                        check(document, int(f.get(f"{role}/document", f[f"{role}/text_hash"])[t]), f"document, row {r} {role}")
                        compared += 1
                check(row["source"], names[f["row/source"][r]], "source")
                prompt = int(f["row/prompt"][r])
                check(row.get("prompt"), None if prompt < 0 else prompts[prompt], "prompt")
                check(row.get("label", -1), int(f["row/label"][r]), "label")
                score = float(f["row/score"][r])
                check(row.get("score"), None if math.isnan(score) else score, "score")
                check(row.get("teacher_scores", []), f["row/teacher_scores"][f["row/teacher_offsets"][r]:f["row/teacher_offsets"][r + 1]].tolist(), "teacher scores")
                answers = [bytes(f["row/answer_bytes"][f["row/answer_offsets"][n]:f["row/answer_offsets"][n + 1]]).decode()
                           for n in range(f["row/answer_row_offsets"][r], f["row/answer_row_offsets"][r + 1])]
                check(row.get("answers", []), answers, "answers")
        check([], left, "rows left over")
    print(json.dumps({"rows": len(rows), "texts": compared, "shards": len(manifest["shards"]), "equal": True, "h5py": h5py.__version__,
                      "hdf5": h5py.version.hdf5_version, "tokenizers": tokenizers.__version__, "numpy": numpy.__version__}))


if __name__ == "__main__":
    main()
