#!/usr/bin/env python3
"""Which texts are near-duplicates, found by comparing each with each? Writes tests/golden/near_duplicates.json, or compares with it.

  tests/parity/near_duplicates.py [--write] [--program build/release/lodestone]

Texts are made of words of English, German, Russian, Chinese and Japanese, and of copies with a few changes. A row is dropped when its set of shingles
has a Jaccard index of at least the threshold with that of a row that was kept before. Nothing of MinHash is here: words are cut by Unicode
categories of Python's own, shingles are tuples, and every pair is compared. With --program `lodestone dedup` is asked too.
"""
import argparse
import json
import pathlib
import random
import subprocess
import sys
import tempfile
import unicodedata

from golden_json import write_or_compare

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "golden" / "near_duplicates.json"
SETTINGS = [(0.8, 5), (0.7, 3), (0.5, 1), (0.95, 2)]
VOCABULARIES = ["the stone river mountain of water blue green Red WINTER summer city's a well-known engine model light 42 1999 house".split(),
                "der Stein Fluss über Größe Straße Wasser grün kalt Stadt Haus Übung und nicht".split(),
                "река камень вода город Зима лето дом синий и не очень".split(),
                "的山水石头城市红绿蓝冬夏天大学人工智能模型数据训练北京上海".replace("", " ").split(),
                "ひらがなカタカナの水と山は石ではない".replace("", " ").split()]


def text_of(rng):
    words = rng.choice(VOCABULARIES)
    joint = "" if len(words[0]) == 1 and ord(words[0]) > 0x2000 else " "
    return [rng.choice(words) + ("," if rng.random() < 0.05 else "") for _ in range(rng.randrange(2, 80))], joint


def changed(rng, words):
    words = list(words)
    for _ in range(rng.randrange(0, 4)):
        at, kind = rng.randrange(len(words)), rng.randrange(4)
        if kind == 0:
            words[at] = words[at].upper() + "!"
        elif kind == 1 and len(words) > 2:
            del words[at]
        elif kind == 2:
            words.insert(at, "42")
        else:
            words[at] = rng.choice(words)
    return words


def make_texts():
    rng = random.Random(7)
    made = []
    while len(made) < 320:
        words, joint = rng.choice(made) if made and rng.random() < 0.45 else text_of(rng)
        made.append((changed(rng, words), joint))
    return [joint.join(words) for words, joint in made]


def words_of(text):
    """Runs of letters, marks and numbers in lower case; Chinese characters and kana one by one."""
    words, run = [], ""
    for c in text:
        alone = unicodedata.name(c, "").startswith(("CJK UNIFIED", "HIRAGANA", "KATAKANA"))
        inside = unicodedata.category(c)[0] in "LMN"
        if run and (alone or not inside):
            words.append(run)
            run = ""
        if alone:
            words.append(c)
        elif inside:
            run += c.lower()
    return words + ([run] if run else [])


def verdicts(texts, threshold, length):
    """A letter a text: . kept, = its words came before, ~ near to one that was kept."""
    seen, kept, letters = set(), [], ""
    for words in map(words_of, texts):
        if tuple(words) in seen:
            letters += "="
            continue
        seen.add(tuple(words))
        run = min(length, len(words))
        shingles = {tuple(words[i:i + run]) for i in range(len(words) - run + 1)}
        near = any(len(shingles & other) / len(shingles | other) >= threshold for other in kept)
        letters += "~" if near else "."
        if not near:
            kept.append(shingles)
    return letters


def of_program(program, texts, threshold, length):
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "in.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
        subprocess.run([program, "dedup", folder / "in.jsonl", "--same", "words", "--near", str(threshold), "--shingle", str(length),
                        "--output", folder / "out.jsonl", "--dropped", folder / "dropped.jsonl"], check=True, stdout=subprocess.DEVNULL)
        letters = ["."] * len(texts)
        for line in (folder / "dropped.jsonl").read_text().splitlines():
            row = json.loads(line)
            letters[row["line"] - 1] = "=" if row["reason"] == "duplicate" else "~"
        return "".join(letters)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--write", action="store_true")
    arguments.add_argument("--program")
    a = arguments.parse_args()
    texts = make_texts()
    expected = [{"threshold": t, "words": n, "verdicts": verdicts(texts, t, n)} for t, n in SETTINGS]
    for case in expected:
        print(case["threshold"], case["words"], {letter: case["verdicts"].count(letter) for letter in ".=~"}, file=sys.stderr)
    if a.program:
        for case in expected:
            got = of_program(a.program, texts, case["threshold"], case["words"])
            if got != case["verdicts"]:
                print(f"error: {case['threshold']} {case['words']}: the program says\n{got}, not\n{case['verdicts']}", file=sys.stderr)
                return 1
    text = json.dumps({"origin": "tests/parity/near_duplicates.py", "texts": texts, "expected": expected}, ensure_ascii=False, indent=0) + "\n"
    return write_or_compare(GOLDEN, text, f"{len(texts)} texts")


if __name__ == "__main__":
    sys.exit(main())
