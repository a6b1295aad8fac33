#!/usr/bin/env -S sh -c 'python="$("$(dirname "$0")/venv.sh" tokenizers==0.23.3)" && exec "$python" "$0" "$@"'
"""Are our token ids those of Hugging Face's tokenizers, one by one?

  tests/parity/tokenizer_parity.py [--megabytes 50] [--seed 1] [--binary build/release/tokenize_texts] VOCAB.txt...

For each vocabulary: every code point alone, between letters and among combining marks, and then generated mixed text, at
least 1 MB of each kind at the default size. Further variants (cased, accents kept, ...) see every code point and a tenth
of the text. Prints one JSON object; exit 1 if any text differs. Build first: cmake --build --preset release.
"""
import argparse
import array
import glob
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import unicodedata

import tokenizers
from tokenizers import models, normalizers, pre_tokenizers

ROOT = pathlib.Path(__file__).resolve().parents[2]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
# name -> (arguments of tokenize_texts, BertNormalizer's)
VARIANTS = {
    "uncased": ([], {}),
    "cased": (["cased"], {"lowercase": False}),
    "cased, accents stripped": (["cased", "strip_accents"], {"lowercase": False, "strip_accents": True}),
    "uncased, accents kept": (["keep_accents"], {"strip_accents": False}),
    "uncased, Chinese kept together": (["keep_chinese"], {"handle_chinese_chars": False}),
    "uncased, not cleaned": (["keep_controls"], {"clean_text": False}),
}


def peer(vocab, normalizer):
    ids = {token: i for i, token in enumerate(pathlib.Path(vocab).read_text("utf-8").split("\n")[:-1])}
    tokenizer = tokenizers.Tokenizer(models.WordPiece(ids, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(**{"lowercase": True, **normalizer})
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(SPECIAL)
    return tokenizer


def blocks(*ranges):
    return [chr(c) for first, last in ranges for c in range(first, last + 1)]


class Generator:
    """Texts of a kind, each of at most a few kilobytes, from a seeded generator."""

    def __init__(self, seed, words):
        self.random = random.Random(seed)
        self.words = words
        everything = [chr(c) for c in range(1, 0x110000) if not 0xD800 <= c <= 0xDFFF and unicodedata.category(chr(c)) not in ("Cn", "Co")]
        marks = [c for c in everything if unicodedata.category(c)[0] == "M"]
        emoji = blocks((0x1F300, 0x1FAFF), (0x2600, 0x27BF)) + ["\u200d", "\ufe0f", "\u20e3"] * 100 + blocks((0x1F1E6, 0x1F1FF)) * 10
        chinese = blocks((0x4E00, 0x9FFF)) + blocks((0x3400, 0x4DBF), (0xF900, 0xFAFF), (0x20000, 0x202FF)) + list("，。！？《》“”、：") * 200
        blanks = [chr(c) for c in range(0x21)] + list("\x7f\x85\xa0\u00ad\u1680\u180e\u2028\u2029\u202f\u205f\u3000\ufeff\ufffd") + \
            blocks((0x2000, 0x200F)) + list("abcXYZ0123.,;")
        self.kinds = {
            "Chinese": (4, lambda: self.letters(chinese, 400)),
            "Arabic": (2, lambda: self.phrase(blocks((0x620, 0x6FF), (0x750, 0x77F), (0xFB50, 0xFDFF), (0xFE70, 0xFEFC)))),
            "Hindi": (2, lambda: self.phrase(blocks((0x900, 0x97F)))),
            "emoji": (2, lambda: self.letters(emoji, 200)),
            "combining marks": (2, lambda: self.marked(marks)),
            "Korean and Japanese": (2, lambda: self.phrase(blocks((0xAC00, 0xD7A3), (0x1100, 0x11FF), (0x3040, 0x30FF)))),
            "Latin, Greek, Cyrillic": (3, lambda: self.phrase(blocks((0x41, 0x24F), (0x370, 0x52F), (0x1E00, 0x1FFF)))),
            "Latin, decomposed": (2, lambda: unicodedata.normalize("NFD", self.phrase(blocks((0xC0, 0x24F), (0x1EA0, 0x1EFF))))),
            "Thai, Hebrew, Bengali, Tamil": (2, lambda: self.phrase(blocks((0xE00, 0xE7F), (0x590, 0x5FF), (0x980, 0xBFF)))),
            "all assigned characters": (3, lambda: self.phrase(everything)),
            "blanks and controls": (2, lambda: self.letters(blanks, 300)),
            "words glued, cut, capitalised": (5, self.glued),
            "special tokens and odd brackets": (1, self.special),
            "very long words": (1, lambda: self.random.choice(["a", "ab", "é", "中", "\u0301", "##", "[", "が", "ﷺ"]) * self.random.randrange(20, 3000)),
        }

    def letters(self, alphabet, most):
        return "".join(self.random.choices(alphabet, k=self.random.randrange(1, most)))

    def phrase(self, alphabet):
        word = lambda: "".join(self.random.choices(alphabet, k=self.random.randrange(1, 9)))
        return self.random.choice([" ", " ", ", ", "-", "\u00a0"]).join(word() for _ in range(self.random.randrange(1, 60)))

    def marked(self, marks):
        out = []
        for _ in range(self.random.randrange(1, 60)):
            out.append(self.random.choice("aeiouAEIOUnñç中अ١ é.") + "".join(self.random.choices(marks, k=self.random.randrange(6))))
        return "".join(out)

    def glued(self):
        pieces = []
        for word in self.random.choices(self.words, k=self.random.randrange(1, 80)):
            word = word.removeprefix("##")
            change = self.random.randrange(8)
            pieces.append([word, word.upper(), word.capitalize(), word[:3], word + "s", word + "\u0301", word, word][change])
            pieces.append(self.random.choice(["", " ", " ", " ", ", ", ".", "'", "-", "\n", "\t"]))
        return "".join(pieces)

    def special(self):
        parts = SPECIAL + ["[", "]", "[[", "[SEP", "SEP]", "[sep]", "[ SEP ]", "[unused1]", "##", " ", "a", "é", "\u0301", "中", "[MASK][MASK]"]
        return "".join(self.random.choices(parts, k=self.random.randrange(1, 30)))

    def fill(self, make, size):
        texts, total = [], 0
        while total < size:
            texts.append(make())
            total += len(texts[-1].encode())
        return texts

    def documents(self, size):
        """Real text of this machine, in paragraphs."""
        texts, total = [], 0
        for name in sorted(glob.glob("/usr/share/common-licenses/*") + glob.glob("/usr/share/doc/**/*", recursive=True) +
                           glob.glob("/usr/share/perl/**/*.p[ol]d", recursive=True) + glob.glob("/usr/include/**/*.h", recursive=True)):
            if total >= size:
                break
            if os.path.isfile(name) and not name.endswith(".gz"):
                for text in pathlib.Path(name).read_text("utf-8", "replace").split("\n\n"):
                    texts.append(text)
                    total += len(text.encode()) + 2
        return texts


def code_points():
    """Each code point alone and between letters, and among marks if Unicode knows it for one or takes it apart; 16 a text."""
    for first in range(0, 0x110000, 16):
        words = []
        for c in (chr(c) for c in range(first, first + 16) if not 0xD800 <= c <= 0xDFFF):
            words += [c, f"a{c}b"]
            if unicodedata.category(c)[0] == "M" or unicodedata.normalize("NFD", c) != c:
                words.append(f"\u302e{c}\u302e\u0301\u0334x\u0327{c}\u302a")
        yield " ".join(words)


def ours(binary, vocab, options, texts, folder):
    source, target = folder / "texts", folder / "ids"
    source.write_bytes(b"".join(text.encode() + b"\xff" for text in texts))
    subprocess.run([binary, "ids", vocab, source, target, *options], check=True)
    numbers = array.array("i", target.read_bytes())
    at = 0
    for _ in texts:
        yield numbers[at + 1:at + 1 + numbers[at]].tolist()
        at += 1 + numbers[at]
    assert at == len(numbers)


def compare(binary, vocab, variant, texts, folder):
    """Number of texts that differ; the first one is shown."""
    options, normalizer = VARIANTS[variant]
    tokenizer, wrong = peer(vocab, normalizer), 0
    mine = ours(binary, vocab, options, texts, folder)
    for start in range(0, len(texts), 20000):
        part = texts[start:start + 20000]
        for text, theirs in zip(part, tokenizer.encode_batch_fast(part, add_special_tokens=False)):
            found = next(mine)
            if found != theirs.ids:
                if wrong == 0:
                    print(f"{vocab} ({variant}): {text[:300]!r}\n  ours   {found[:60]}\n  theirs {theirs.ids[:60]}", file=sys.stderr)
                wrong += 1
    return wrong


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("vocab", nargs="+")
    arguments.add_argument("--megabytes", type=float, default=50)
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--binary", default=ROOT / "build" / "release" / "tokenize_texts")
    given = arguments.parse_args()
    size = given.megabytes * 1e6
    report = {"tokenizers": tokenizers.__version__, "seed": given.seed, "comparisons": [], "differing": 0}
    points = list(code_points())
    with tempfile.TemporaryDirectory() as folder:
        for vocab in given.vocab:
            words = pathlib.Path(vocab).read_text("utf-8").split("\n")[:-1]
            generator = Generator(given.seed, words)
            mixed, kinds = [], {}
            for kind, (share, make) in generator.kinds.items():
                texts = generator.fill(make, size * share / 50)
                kinds[kind] = sum(len(text.encode()) for text in texts)
                mixed += texts
            texts = generator.documents(size - sum(kinds.values()))
            kinds["documents of this machine"] = sum(len(text.encode()) for text in texts)
            texts += generator.fill(generator.glued, size - sum(kinds.values()))   # a machine with few documents
            mixed += texts
            random.Random(given.seed).shuffle(mixed)
            report["bytes_by_kind"] = kinds
            for variant in VARIANTS:
                sample = mixed if variant == "uncased" else mixed[::10]
                for name, texts in (("every code point", points), ("mixed text", sample)):
                    wrong = compare(given.binary, vocab, variant, texts, pathlib.Path(folder))
                    report["comparisons"].append({"vocab": os.path.basename(vocab), "variant": variant, "what": name, "texts": len(texts),
                                                  "bytes": sum(len(text.encode()) for text in texts), "differing": wrong})
                    report["differing"] += wrong
                    print(report["comparisons"][-1], file=sys.stderr)
    print(json.dumps(report, indent=1))
    return 1 if report["differing"] else 0


if __name__ == "__main__":
    sys.exit(main())
