#!/usr/bin/env -S sh -c 'python="$("$(dirname "$0")/venv.sh" tokenizers==0.23.3)" && exec "$python" "$0" "$@"'
"""Makes tests/golden/tokenizer.json: texts and the ids that Hugging Face's tokenizers gives them with a small vocabulary.

  tests/parity/make_tokenizer_golden.py            regenerates and compares with the committed file; exit 1 if different
  tests/parity/make_tokenizer_golden.py --write    regenerates and writes

The vocabulary holds every character of the normalised texts, as the beginning of a word and as its continuation, so that
each step of the normaliser and the order of marks show in the ids; besides these a few longer tokens, for longest match.
"""
import json
import pathlib
import sys

import tokenizers
from tokenizers import models, normalizers, pre_tokenizers

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from golden_json import write_or_compare  # noqa: E402
from tokenizer_parity import SPECIAL, VARIANTS, Generator, blocks  # noqa: E402

TARGET = pathlib.Path(__file__).resolve().parents[1] / "golden" / "tokenizer.json"
LONGER = ["un", "##aff", "##able", "##ab", "##ables", "token", "##ization", "##iz", "hello", "world", "中文", "##中", "naive", "naïve", "Naïve", "##'"]
BY_HAND = [
    "", " ", "\t\n\r \u00a0\u3000", "Hello, World!", "unaffable unaffables unaffab TOKENIZATION", "naïve Naïve NAÏVE nai\u0308ve",
    "[SEP]", "a[SEP]b", "[sep] [ SEP ] [[SEP]] [SEP", "[CLS] [MASK][MASK] x[PAD]\u0301y [UNK]", "\u0301[SEP]\u0301\u0323a",
    "a" * 99, "a" * 100, "a" * 101, "é" * 100, "é" * 101, "e\u0301" * 100, "e\u0301" * 101, "x" * 3000 + " y", "中" * 120, "!" * 120,
    "中文和English混合，标点。", "\uf900\ufa0e\U0002f800\U0002b81f\U0002b820\U0002b920", "한국어 각 ㄱ가", "日本語がか\u3099ハ\u309aパ",
    "İstanbul I\u0307 ı ẞ ß ΑΣ ας ǅ Ω Å K ŉ ﬁ", "\u0000\u0001\ufffda\u00adb\u200bc\u200dd\ufeffe\ue000f\U000f0000g", "a\u0085b\u000bc\u2028d\u2029e\u1680f",
    "a\u0378b \ua7cb\U00016ea0\u1c89", "\u0890\u08e2\U00013430", "\u061d\u2e52\u166d a\U00011f43b", "a\u0898\u0301b\u08ca", "क्षत्रिय हिन्दी", "ไทยที่", "العربيّة ١٢٣",
    "a\u302e\u302a\u0301b\u302f\u302e", "\U0001d165\U0001d16d\U0001d16eb", "\u1b35\u1b44\u0f71\u0f72\u0f74", "\U00011938 \U00011935\U00011930",
    "a\u0345\u0301\u0327\u0334", "≠ = \u0338 \u037e \u1fef \u212b", "👩‍👩‍👧 🇩🇪 ✌🏽 1️⃣", "don't can’t “x” a_b a-b #hash ##hash $5 ~`^|", "\u200f\u202eabc",
]


def normalizer(options):
    return normalizers.BertNormalizer(**{"lowercase": True, **options})


def vocabulary(texts):
    characters = set()
    for _, options in VARIANTS.values():
        for text in texts:
            characters |= set(normalizer(options).normalize_str(text))
    singles = sorted(c for c in characters if c not in "\n\r\u2028\u2029 ")
    kept = [c for i, c in enumerate(singles) if i % 29 != 7]      # some are unknown
    vocab = SPECIAL + kept + ["##" + c for i, c in enumerate(kept) if i % 31 != 5] + LONGER
    return list(dict.fromkeys(vocab))


def main():
    generator = Generator(7, [token for token in LONGER])
    texts = list(BY_HAND)
    for kind, (_, make) in generator.kinds.items():
        if kind not in ("very long words", "Chinese", "combining marks", "all assigned characters"):   # the last two depend on Python's version
            texts += [make()[:80] for _ in range(4)]
    marks = blocks((0x300, 0x36F), (0x591, 0x5BD), (0x64B, 0x65F), (0x93C, 0x94D), (0x302A, 0x302F), (0x1DC0, 0x1DFF), (0x1D165, 0x1D172))
    texts += [generator.marked(marks)[:120] for _ in range(8)]
    vocab = vocabulary(texts)
    cases = []
    for name, (_, options) in VARIANTS.items():
        tokenizer = tokenizers.Tokenizer(models.WordPiece({t: i for i, t in enumerate(vocab)}, unk_token="[UNK]", max_input_chars_per_word=100))
        tokenizer.normalizer = normalizer(options)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.add_special_tokens(SPECIAL)
        lower = options.get("lowercase", True)
        cases.append({"name": name, "lower_case": lower, "strip_accents": options.get("strip_accents", lower),
                      "clean_text": options.get("clean_text", True), "split_chinese_characters": options.get("handle_chinese_chars", True),
                      "ids": [e.ids for e in tokenizer.encode_batch(texts, add_special_tokens=False)]})
    golden = {"origin": f"tests/parity/make_tokenizer_golden.py with tokenizers {tokenizers.__version__}", "vocab": vocab, "texts": texts, "cases": cases}
    lines = ["{"]
    for key in ("origin", "vocab", "texts"):
        lines.append(f'"{key}": {json.dumps(golden[key], ensure_ascii=True)},')
    lines.append('"cases": [')
    lines.append(",\n".join(json.dumps(case, separators=(",", ":")) for case in cases) + "]}")
    out = "\n".join(lines) + "\n"
    return write_or_compare(TARGET, out, f"{len(vocab)} tokens, {len(texts)} texts")


if __name__ == "__main__":
    sys.exit(main())
