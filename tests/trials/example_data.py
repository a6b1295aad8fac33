#!/usr/bin/env python3
"""Which texts do the small recipes train on? Turns folders of public example data into JSONL for `lodestone pack`.

  example_data.py EXAMPLES OUTPUT

EXAMPLES holds, as published by their authors: stsb/stsb-{en,zh}-{train,dev}.csv (STS-B and its Chinese translation),
ocnli/train.10k.jsonl, cmrc2018/cmrc2018_trial.json, zh-sts/{lcqmc,bq_corpus,oppo,paws-x-zh}-dev.tsv, bge-examples/ (the embedder
examples of FlagEmbedding) and llm-embedder-toy/ (those of LLM-Embedder). The last two are split by lines, and not changed otherwise.

OUTPUT gets NAME/train/*.jsonl and NAME/heldout/*.jsonl:
  zh-text       single texts, for masked auto-encoding
  zh-pairs      (text, text of equal meaning), five sources
  zh-questions  (question, passage with its answer), other passages as negatives, most similar first
  zh-replay     the two above together, the pairs as sources pretrain/NAME
  zh-sts        scored pairs
  zh-genres     (sentence, sentence of the same genre), sentences of other genres as negatives
  en-groups     (sentence, paraphrase), other sentences as negatives, most similar first
  en-tasks      six tasks of LLM-Embedder's toy files
  en-examples   FlagEmbedding's example folders as they are; nothing held out
  en-reranker   its reranker.jsonl as it is; nothing held out
and zh-vocab/vocab.txt, 4,096 characters by frequency. No text of a held-out part stands in the same corpus' training part.
"""
import collections
import csv
import hashlib
import json
import math
import pathlib
import re
import shutil
import sys

VOCABULARY = 4096
CANDIDATES = 40          # negatives listed for a query
PASSAGE_CHARACTERS = 120


def is_heldout(key, share):
    """The same choice on every machine: by a hash of the text."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big") < share * 2**32


def write_rows(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8") as out:
        for row in rows:
            out.write(json.dumps(row, ensure_ascii=False) + "\n")


def texts_of(row):
    return {value for value in (row.get("query"), *row.get("pos", [])) if value}


def split(rows, share):
    """(train, held out): rows are held out by their query; rows of the rest that share a text with them are left out."""
    heldout = [row for row in rows if is_heldout(row["query"], share)]
    seen = set().union(*map(texts_of, heldout))
    return [row for row in rows if not texts_of(row) & seen], heldout


class Similarity:
    """Ranks texts by the cosine of their tf-idf weighted character (or word) pairs."""

    def __init__(self, texts, parts):
        self.parts, self.size = parts, len(texts)
        counts = [collections.Counter(parts(text)) for text in texts]
        frequency = collections.Counter(part for c in counts for part in c)
        self.weight = {part: math.log(len(texts) / n) for part, n in frequency.items()}
        self.postings = collections.defaultdict(list)
        for i, c in enumerate(counts):
            norm = math.sqrt(sum((n * self.weight[part]) ** 2 for part, n in c.items())) or 1.0
            for part, n in c.items():
                self.postings[part].append((i, n * self.weight[part] / norm))

    def ranked(self, query):
        """Indices of all texts, most similar first; those that share nothing with the query last, in their order."""
        scores = collections.defaultdict(float)
        for part, n in collections.Counter(self.parts(query)).items():
            for i, value in self.postings.get(part, ()):
                scores[i] += n * self.weight[part] * value
        return sorted(range(self.size), key=lambda i: (-scores.get(i, 0.0), i))


def character_pairs(text):
    return [text[i:i + 2] for i in range(len(text) - 1)]


def words(text):
    return re.findall(r"\w+", text.lower())


def with_negatives(rows, pool, parts):
    """Gives each row the CANDIDATES texts of the pool that are most like its query, without its own texts."""
    similarity = Similarity(pool, parts)
    for row in rows:
        own = texts_of(row)
        row["neg"] = [pool[i] for i in similarity.ranked(row["query"]) if pool[i] not in own][:CANDIDATES]
    return rows


def read_tsv(path):
    with open(path, encoding="utf-8") as lines:
        return [line.rstrip("\n").split("\t") for line in lines]


def read_jsonl(path):
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def read_csv(path):
    with open(path, encoding="utf-8", newline="") as lines:
        return list(csv.reader(lines))


def passages_of(context):
    """[(begin, text)]: whole sentences, together at most PASSAGE_CHARACTERS where a sentence allows it."""
    pieces, begin, end = [], 0, 0
    for match in re.finditer(r"[^。！？]*[。！？]?", context):
        if match.end() - begin > PASSAGE_CHARACTERS and end > begin:
            pieces.append((begin, context[begin:end]))
            begin = end
        end = match.end()
    if end > begin:
        pieces.append((begin, context[begin:end]))
    return pieces


def questions(examples):
    """Rows (question, passage) and all passages, in two parts by their context: train and held out."""
    document = json.load(open(examples / "cmrc2018/cmrc2018_trial.json", encoding="utf-8"))
    parts = {False: ([], []), True: ([], [])}
    for paragraph in (p for article in document["data"] for p in article["paragraphs"]):
        pieces = passages_of(paragraph["context"])
        rows, pool = parts[is_heldout(paragraph["context"], 0.25)]
        pool += [text.strip() for _, text in pieces if text.strip()]
        for qa in paragraph["qas"]:
            start = qa["answers"][0]["answer_start"]
            inside = [text for begin, text in pieces if begin <= start < begin + len(text)]
            rows += [{"query": qa["question"], "pos": [text.strip()], "source": "cmrc2018"} for text in inside[:1] if qa["question"].strip()]
    return parts[False], parts[True]


def pairs(examples):
    rows = []
    for name in ("lcqmc", "bq_corpus", "oppo", "paws-x-zh"):
        rows += [{"query": a, "pos": [b], "source": name} for a, b, label in read_tsv(examples / f"zh-sts/{name}-dev.tsv") if label == "1"]
    for row in read_jsonl(examples / "ocnli/train.10k.jsonl"):
        if row["label"] == "entailment":
            rows.append({"query": row["sentence1"], "pos": [row["sentence2"]], "source": "ocnli"})
    return [row for row in rows if row["query"] != row["pos"][0]]


def genres(examples):
    """(train, held out) sentences of five genres: for each, the next one of its genre, and ten of the other genres."""
    sentences = {row["sentence1"]: row["genre"] for row in read_jsonl(examples / "ocnli/train.10k.jsonl")}
    parts = {False: collections.defaultdict(list), True: collections.defaultdict(list)}
    for sentence in sorted(sentences, key=lambda text: hashlib.sha256(text.encode()).digest()):
        parts[is_heldout(sentence, 0.1)][sentences[sentence]].append(sentence)
    rows = {False: [], True: []}
    for part, by_genre in parts.items():
        for genre, own in sorted(by_genre.items()):
            others = [texts for name, texts in sorted(by_genre.items()) if name != genre]
            for i, sentence in enumerate(own):
                negatives = [texts[(i * 3 + k) % len(texts)] for k in range(3) for texts in others][:10]
                rows[part].append({"text": sentence, "text_pos": own[(i + 1) % len(own)], "text_neg": negatives, "source": "ocnli/cls_contrast"})
    return rows[False], rows[True]


def scored(path):
    return [{"sentence1": a, "sentence2": b, "score": float(score)} for a, b, score in read_csv(path)]


def paraphrases(path):
    """Sentences that were judged to mean the same, with the whole file's sentences as candidates."""
    rows = scored(path)
    pool = sorted({text for row in rows for text in (row["sentence1"], row["sentence2"])})
    same = [{"query": r["sentence1"], "pos": [r["sentence2"]]} for r in rows if r["score"] >= 4 and r["sentence1"] != r["sentence2"]]
    return with_negatives(same, pool, words)


def vocabulary(texts):
    """BERT's special tokens, then characters, those of words also as continuations; unused names fill the rest."""
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    counts = collections.Counter(c for text in texts for c in text.lower() if not c.isspace())
    latin = [c for c in counts if c.isascii() and c.isalnum()]
    tokens += sorted("##" + c for c in latin)
    tokens += [c for c, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))][:VOCABULARY - len(tokens)]
    return tokens + [f"[unused{i}]" for i in range(VOCABULARY - len(tokens))]


def main():
    examples, output = (pathlib.Path(argument) for argument in sys.argv[1:3])
    output.mkdir(parents=True, exist_ok=True)

    def both(name, train, heldout):
        write_rows(output / name / "train/rows.jsonl", train)
        write_rows(output / name / "heldout/rows.jsonl", heldout)
        print(f"{name}: {len(train)} rows, {len(heldout)} held out")

    all_pairs = pairs(examples)
    both("zh-pairs", *split(all_pairs, 0.1))
    (train, train_pool), (heldout, heldout_pool) = questions(examples)
    both("zh-questions", with_negatives(train, train_pool, character_pairs), with_negatives(heldout, heldout_pool, character_pairs))
    replayed = [row | {"source": f"pretrain/{row['source']}"} for row in split(all_pairs, 0.1)[0]]
    write_rows(output / "zh-replay/train/rows.jsonl", train + replayed)   # held out: the questions
    both("zh-genres", *genres(examples))
    both("zh-sts", scored(examples / "stsb/stsb-zh-train.csv"), scored(examples / "stsb/stsb-zh-dev.csv"))
    both("en-groups", paraphrases(examples / "stsb/stsb-en-train.csv"), paraphrases(examples / "stsb/stsb-en-dev.csv"))
    texts = {text for row in all_pairs for text in texts_of(row)} | set(train_pool) | set(heldout_pool)
    singles = [{"query": text} for text in sorted(texts)]
    both("zh-text", *([{"text": row["query"]} for row in part] for part in split(singles, 0.05)))
    for path in sorted((examples / "llm-embedder-toy").glob("*.jsonl")):
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        for part, chosen in (("train", lines[2:]), ("heldout", lines[:2])):
            (output / "en-tasks" / part).mkdir(parents=True, exist_ok=True)
            (output / "en-tasks" / part / path.name).write_text("".join(chosen), encoding="utf-8")
    shutil.copytree(examples / "bge-examples", output / "en-examples/train", dirs_exist_ok=True, ignore=shutil.ignore_patterns("reranker.jsonl"))
    (output / "en-reranker/train").mkdir(parents=True, exist_ok=True)
    shutil.copy(examples / "bge-examples/reranker.jsonl", output / "en-reranker/train")
    sts = {text for row in scored(examples / "stsb/stsb-zh-train.csv") for text in (row["sentence1"], row["sentence2"])}
    (output / "zh-vocab").mkdir(exist_ok=True)
    (output / "zh-vocab/vocab.txt").write_text("\n".join(vocabulary(sorted(texts | sts))) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
