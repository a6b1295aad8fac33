#!/usr/bin/env -S sh -c 'python="$("$(dirname "$0")/venv.sh" transformers==5.23.0 tokenizers==0.23.3)" && exec "$python" "$0" "$@"'
"""Makes tests/golden/tokenizer_folders.json: tokenizer files of model folders, and the ids that transformers' AutoTokenizer gives by them.

  tests/parity/tokenizer_folders.py            regenerates and compares with the committed file; exit 1 if different
  tests/parity/tokenizer_folders.py --write    regenerates and writes

A case is a folder: the common files, each changed by a JSON merge patch (RFC 7396: null takes a key away), or left out. The 24 settings are
lower case, accents, Chinese characters and cleaning, each said by tokenizer.json and tokenizer_config.json, by tokenizer.json alone, and by
tokenizer_config.json beside a bare vocab.txt. `refused` names the cases that this program refuses, and why is a part of its message: there
Hugging Face's own programs differ from each other, or do what is not done here. tests/parity/folder_matrix.py puts the same files around models.
"""
import copy
import itertools
import json
import os
import pathlib
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from golden_json import write_or_compare  # noqa: E402

os.environ["HF_HUB_OFFLINE"] = "1"
TARGET = pathlib.Path(__file__).resolve().parents[1] / "golden" / "tokenizer_folders.json"
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
VOCAB = SPECIAL + ["[free1]", "[free2]", "[free3]"] + "paris Paris café cafe Café naïve naive naı the The river rivers 中 文 中文 ##文 ##s ##a a b c ! .".split()
VOCAB += [c for c in "prisPACFéefnïmtvo"] + ["##" + c for c in "prisPACFéefnïmtvohRE"]
VOCAB = list(dict.fromkeys(VOCAB))
TEXTS = ["Paris café paris CAFÉ", "naïve Naïve cafe\u0301 The rivers!", "中文 a中文b", "a\u200bb the\u0001river \ufffd", "[SEP] a [MASK][CLS] [free1] [sep]", "x " * 3]
UNSAID = {"do_lower_case": None, "strip_accents": None, "tokenize_chinese_chars": None}
TOKEN = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}


def step(kind, name, type_id):
    return {kind: {"id": name, "type_id": type_id}}


def framing(before, behind):
    single = [step("SpecialToken", before, 0), step("Sequence", "A", 0), step("SpecialToken", behind, 0)]
    tokens = {t: {"id": t, "ids": [VOCAB.index(t)], "tokens": [t]} for t in (before, behind)}
    return {"type": "TemplateProcessing", "single": single, "pair": single + [step("Sequence", "B", 1), step("SpecialToken", behind, 1)], "special_tokens": tokens}


BASE = {
    "config.json": {"model_type": "bert", "vocab_size": len(VOCAB) + 8},
    "tokenizer.json": {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": i, "content": t, **TOKEN} for i, t in enumerate(SPECIAL)],
        "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": True},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": framing("[CLS]", "[SEP]"),
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
                  "vocab": {t: i for i, t in enumerate(VOCAB)}}},
    "tokenizer_config.json": {"do_lower_case": True, "strip_accents": None, "tokenize_chinese_chars": True, "tokenizer_class": "BertTokenizer",
                              "model_max_length": 32},
    "special_tokens_map.json": {"cls_token": "[CLS]", "mask_token": "[MASK]", "pad_token": "[PAD]", "sep_token": "[SEP]", "unk_token": "[UNK]"},
    "vocab.txt": VOCAB,
}


def case(name, without=(), vocab=None, refused="", **patches):
    """A folder; patches are named config, json, map, model, added. `vocab`: other lines of vocab.txt."""
    files = {"config": "tokenizer_config.json", "json": "tokenizer.json", "map": "special_tokens_map.json", "model": "config.json", "added": "added_tokens.json"}
    return {"name": name, "without": list(without), "patches": {files[k]: v for k, v in patches.items()}, "refused": refused,
            **({"vocab": vocab} if vocab else {})}


def settings():
    for lower, accents, chinese, clean in itertools.product((True, False), (None, True, False), (True, False), (True, False)):
        name = f"lower {lower}, accents {accents}, Chinese {chinese}, clean {clean}"
        normalizer = {"normalizer": {"lowercase": lower, "strip_accents": accents, "handle_chinese_chars": chinese, "clean_text": clean}}
        config = {"do_lower_case": lower, "strip_accents": accents, "tokenize_chinese_chars": chinese}
        unclean = "" if clean else "normalizer.clean_text"
        yield case(f"{name}: both files", config=config, json=normalizer, refused=unclean)
        yield case(f"{name}: silent configuration", config=UNSAID, json=normalizer, refused=unclean)
        yield case(f"{name}: PreTrainedTokenizerFast", config={**UNSAID, "tokenizer_class": "PreTrainedTokenizerFast"}, json=normalizer)
        if clean:
            yield case(f"{name}: vocab.txt", without=["tokenizer.json"], config=config)
    yield case("silent configuration, vocab.txt", without=["tokenizer.json"], config=UNSAID)
    yield case("no configuration", without=["tokenizer_config.json"], json={"normalizer": {"lowercase": False}})
    yield case("no configuration, vocab.txt", without=["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"])
    yield case("class in config.json", config={**UNSAID, "tokenizer_class": None}, model={"tokenizer_class": "PreTrainedTokenizerFast"},
               json={"normalizer": {"lowercase": False}})
    yield case("contradiction", json={"normalizer": {"lowercase": False}}, refused="do_lower_case")
    yield case("electra's class", config={**UNSAID, "tokenizer_class": "ElectraTokenizerFast"}, json={"normalizer": {"lowercase": False}})


def special_tokens():
    other = {"cls_token": "[free1]", "sep_token": "[free2]"}
    yield case("the map wins over the configuration", config=other)
    yield case("the map names others", map=other, refused="post_processor")
    yield case("no map, the configuration names others", without=["special_tokens_map.json"], config=other, refused="post_processor")
    yield case("all name others", map=other, config=other, json={"post_processor": framing("[free1]", "[free2]")})
    yield case("vocab.txt with other names", without=["tokenizer.json", "special_tokens_map.json"], config=other)
    yield case("vocab.txt with other names in the map", without=["tokenizer.json"], map=other)
    yield case("PreTrainedTokenizerFast follows the post-processor", without=["special_tokens_map.json"],
               config={"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "[PAD]", "unk_token": "[UNK]", "mask_token": "[MASK]", **other})
    other_types = [step("SpecialToken", "[CLS]", 1), step("Sequence", "A", 1), step("SpecialToken", "[SEP]", 1)]
    for of_class in ("BertTokenizer", "PreTrainedTokenizerFast"):
        yield case(f"another token type, {of_class}", config={"tokenizer_class": of_class}, json={"post_processor": {"single": other_types}}, refused="post_processor")
    yield case("BertProcessing", json={"post_processor": {"type": "BertProcessing", "cls": ["[CLS]", 2], "sep": ["[SEP]", 3], "single": None,
                                                          "pair": None, "special_tokens": None}})
    yield case("no post-processor", json={"post_processor": None}, refused="post_processor")
    yield case("no post-processor, PreTrainedTokenizerFast", config={"tokenizer_class": "PreTrainedTokenizerFast"}, json={"post_processor": None},
               refused="post_processor")
    for key, value in [("additional_special_tokens", ["[free1]"]), ("extra_special_tokens", ["[free1]"]), ("bos_token", "[free1]"), ("odd_token", "[free1]")]:
        yield case(f"{key} in the configuration", config={key: value})
    yield case("additional_special_tokens in the map, vocab.txt", without=["tokenizer.json"], map={"additional_special_tokens": ["[free1]"]})
    beyond = {**TOKEN, "content": "[free9]"}
    yield case("an added token beyond the vocabulary", config={"added_tokens_decoder": {**{str(i): {**TOKEN, "content": t} for i, t in enumerate(SPECIAL)},
                                                                                     str(len(VOCAB)): beyond}})
    yield case("added tokens that only tokenizer.json lists", json={"added_tokens": BASE["tokenizer.json"]["added_tokens"] + [{"id": 5, **TOKEN, "content": "[free1]"}]})
    yield case("the configuration's list lacks one of tokenizer.json", config={"added_tokens_decoder": {"0": {**TOKEN, "content": "[PAD]"}}},
               json={"added_tokens": BASE["tokenizer.json"]["added_tokens"] + [{"id": 5, **TOKEN, "content": "[free1]"}]}, refused="added_tokens_decoder")
    yield case("the configuration's list puts the map aside", config={"added_tokens_decoder": {}}, map=other)
    yield case("added_tokens.json", without=["tokenizer.json"], added={"[free1]": 5}, refused="normalized")
    for key in ("bos_token", "eos_token"):
        yield case(f"added_tokens.json and {key}", without=["tokenizer.json"], added={"[FREE]": len(VOCAB)}, config={key: "[FREE]"})
        yield case(f"added_tokens.json and {key} in the map", added={"[free1]": 5}, map={key: "[free1]"})
    yield case("added_tokens.json and odd_token", without=["tokenizer.json"], added={"[free1]": 5}, config={"odd_token": "[free1]"}, refused="normalized")
    yield case("added_tokens.json and additional_special_tokens", without=["tokenizer.json"], added={"[free1]": 5},
               map={"additional_special_tokens": ["[free1]"]}, refused="normalized")
    yield case("split_special_tokens", config={"split_special_tokens": True}, refused="split_special_tokens")
    yield case("another unknown token in tokenizer.json", json={"model": {"unk_token": "[free3]"}}, refused="unk_token")


def sides_and_holes():
    yield case("truncation_side left", config={"truncation_side": "left"}, refused="truncation_side")
    yield case("truncation_side right", config={"truncation_side": "right"})
    cut = {"direction": "Left", "max_length": 6, "strategy": "LongestFirst", "stride": 0}
    yield case("truncation of tokenizer.json to the left", json={"truncation": cut}, refused="truncation.direction")
    yield case("truncation of tokenizer.json to the right", json={"truncation": {**cut, "direction": "Right"}})
    yield case("padding_side left", config={"padding_side": "left"}, refused="padding_side")
    yield case("a hole", json={"model": {"vocab": {"[free3]": None}}})
    yield case("a hole and a token beyond", json={"model": {"vocab": {"[free3]": None}}},
               config={"added_tokens_decoder": {str(len(VOCAB)): {**TOKEN, "content": "[free9]"}}}, refused="holes")
    repeated = list(VOCAB)
    repeated[7] = "the"
    yield case("a repeated line, the earlier one is forgotten", without=["tokenizer.json"], vocab=repeated)
    repeated = repeated + ["paris", "##s"]
    yield case("repeated lines at the end", without=["tokenizer.json"], vocab=repeated)
    yield case("an empty line", without=["tokenizer.json"], vocab=VOCAB[:7] + [""] + VOCAB[8:])
    yield case("white space behind a token", without=["tokenizer.json"], vocab=VOCAB[:7] + ["the "] + VOCAB[8:], refused="white space")
    yield case("a line of a wide space", without=["tokenizer.json"], vocab=VOCAB[:7] + ["\u3000"] + VOCAB[8:])
    for key, value in [("max_input_chars_per_word", 3), ("continuing_subword_prefix", "@@")]:
        yield case(f"{key}", json={"model": {key: value}}, refused=key)
        yield case(f"{key}, PreTrainedTokenizerFast", config={"tokenizer_class": "PreTrainedTokenizerFast"}, json={"model": {key: value}})
    yield case("an empty continuing_subword_prefix", config={"tokenizer_class": "PreTrainedTokenizerFast"},
               json={"model": {"continuing_subword_prefix": ""}}, refused="continuing_subword_prefix")
    yield case("white space behind a token of tokenizer.json", json={"model": {"vocab": {"[free3]": None, "the ": 7}}})


def cases():
    return [*settings(), *special_tokens(), *sides_and_holes()]


def merge(target, patch):
    for key, value in patch.items():
        if value is None:
            target.pop(key, None)
        elif isinstance(value, dict) and isinstance(target.get(key), dict):
            merge(target[key], value)
        else:
            target[key] = copy.deepcopy(value)
    return target


def write_folder(folder, one):
    """The tokenizer's files of a case, and config.json, into an existing folder."""
    for name in [*BASE, "added_tokens.json"]:
        if name in one["without"] or (name == "added_tokens.json" and name not in one["patches"]):
            continue
        if name == "vocab.txt":
            (folder / name).write_text("".join(t + "\n" for t in one.get("vocab", VOCAB)), "utf-8")
        else:
            (folder / name).write_text(json.dumps(merge(copy.deepcopy(BASE.get(name, {})), one["patches"].get(name, {})), ensure_ascii=False), "utf-8")


def main():
    import transformers
    from transformers import AutoTokenizer
    transformers.logging.set_verbosity_error()
    results = []
    for one in cases():
        with tempfile.TemporaryDirectory() as folder:
            write_folder(pathlib.Path(folder), one)
            tokenizer = AutoTokenizer.from_pretrained(folder)
            results.append({**one, "class": type(tokenizer).__name__, "ids": [tokenizer(text)["input_ids"] for text in TEXTS]})
    lines = ["{", f'"origin": "tests/parity/tokenizer_folders.py with transformers {transformers.__version__}",', f'"texts": {json.dumps(TEXTS)},',
             f'"files": {json.dumps(BASE)},', '"cases": [', ",\n".join(json.dumps(one, separators=(",", ":")) for one in results) + "]}"]
    out = "\n".join(lines) + "\n"
    return write_or_compare(TARGET, out, f"{len(results)} folders, {sum(bool(one['refused']) for one in results)} of them refused")


if __name__ == "__main__":
    sys.exit(main())
