#!/usr/bin/env -S sh -c 'python="$("$(dirname "$0")/venv.sh")" && exec "$python" "$0" "$@"'
"""Do transformers and sentence-transformers see in our folders what they see in their own?

  tests/parity/model_folder_st.py [--binary build/release/lodestone] [--model FOLDER ...]

Makes small random models with transformers and sentence-transformers in every form that Lodestone reads (with and without
the prefix "bert.", all poolings, dense heads, normalised or not, prompts, a bare vocab.txt), lets `lodestone export` rewrite
each, and compares three ways: sentence-transformers on the original and on ours, AutoModel's hidden states and pooler, and
`lodestone encode`. --model adds real folders. Prints one JSON object; exit 1 when a difference is above 1e-5 (encode) or 0
(the same library on both folders).
"""
import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
import h5py
import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.models import Dense, Normalize, Pooling, Transformer
import transformers
from transformers import AutoModel, AutoTokenizer, BertConfig, BertForMaskedLM, BertModel

ROOT = pathlib.Path(__file__).resolve().parents[2]
WORDS = "the a of search text vector model boat house red blue fast slow is and or not with under over river".split()
VOCAB = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", ",", "?", ":", "!", "##ing", "##ed"] + WORDS
VOCAB += ["##" + c for c in "abcdefghijklmnopqrstuvwxyz"] + list("bcdefghijklmnopqrstuvwxyz机器学习向量é")
TEXTS = ["the red boat is fast.", "Searching texts with vectors!", "a", "naïve Boats, under-over: é É 机器 学习", "unknown ☃ sign", "the river " * 40]


def small_bert(kind):
    torch.manual_seed(7)
    config = BertConfig(vocab_size=len(VOCAB), hidden_size=48, num_hidden_layers=3, num_attention_heads=4, intermediate_size=96, max_position_embeddings=40)
    model = kind(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return model


def plain_folder(folder, kind, tokenizer_files):
    small_bert(kind).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(VOCAB) + "\n")
    if tokenizer_files:
        AutoTokenizer.from_pretrained(folder).save_pretrained(folder)


def sentence_folder(folder, base, pooling, dense, normalize, prompts):
    word = Transformer(str(base), max_seq_length=24)
    modules = [word, Pooling(48, pooling_mode=pooling)]
    if dense:
        torch.manual_seed(8)
        modules.append(Dense(48, 20, bias=dense != "tanh, no bias", activation_function=torch.nn.Tanh() if "tanh" in dense else torch.nn.Identity()))
    if normalize:
        modules.append(Normalize())
    SentenceTransformer(modules=modules, prompts=prompts, device="cpu").save_pretrained(str(folder))


def largest(a, b):
    return float(np.abs(np.asarray(a, np.float64) - np.asarray(b, np.float64)).max())


def compare(binary, original, work, plain):
    ours = work / "ours"
    shutil.rmtree(ours, ignore_errors=True)
    subprocess.run([binary, "export", str(original), "--output", str(ours)], check=True, stdout=subprocess.DEVNULL)
    out = {}
    with torch.no_grad():
        theirs_auto, ours_auto = AutoModel.from_pretrained(original).eval(), AutoModel.from_pretrained(ours).eval()
        batch = AutoTokenizer.from_pretrained(original)(TEXTS[:5], return_tensors="pt", padding=True, truncation=True, max_length=24)
        again = AutoTokenizer.from_pretrained(ours)(TEXTS[:5], return_tensors="pt", padding=True, truncation=True, max_length=24)
        out["same_ids"] = bool(torch.equal(batch["input_ids"], again["input_ids"]))
        a, b = theirs_auto(**batch), ours_auto(**again)
        out["hidden_states"] = largest(a.last_hidden_state, b.last_hidden_state)
        if plain != "bert.":   # a masked-language model has no pooler: each loading invents one
            out["pooler"] = largest(a.pooler_output, b.pooler_output)
    ours_st = SentenceTransformer(str(ours), device="cpu")
    expected = ours_st.encode(TEXTS)
    if plain is None:
        theirs_st = SentenceTransformer(str(original), device="cpu")
        out["embeddings"] = largest(theirs_st.encode(TEXTS), expected)
        out["same_length_limit"] = theirs_st.max_seq_length == ours_st.max_seq_length
        out["same_prompts"] = theirs_st.prompts == ours_st.prompts
    (work / "texts.txt").write_text("\n".join(TEXTS) + "\n")
    subprocess.run([binary, "encode", str(ours), "--input", str(work / "texts.txt"), "--output", str(work / "out.npy")], check=True, stdout=subprocess.DEVNULL)
    out["encode"] = largest(expected, np.load(work / "out.npy"))
    subprocess.run([binary, "encode", str(ours), "--input", str(work / "texts.txt"), "--output", str(work / "out.h5")], check=True, stdout=subprocess.DEVNULL)
    with h5py.File(work / "out.h5") as file:
        out["encode_hdf5"] = largest(np.load(work / "out.npy"), file["embeddings"][:])
    return out


def is_good(result):
    same = all(result.get(key, 0) == 0 for key in ("hidden_states", "pooler", "embeddings"))
    return same and result["same_ids"] and result.get("same_prompts", True) and result.get("same_length_limit", True) and result["encode"] <= 1e-5 and result["encode_hdf5"] == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=str(ROOT / "build/release/lodestone"))
    parser.add_argument("--model", action="append", default=[])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    results = {}
    with tempfile.TemporaryDirectory() as scratch:
        work = pathlib.Path(scratch)
        for name, kind, files, prefix in [("BertModel", BertModel, True, ""), ("BertForMaskedLM", BertForMaskedLM, True, "bert."), ("vocab.txt only", BertModel, False, "")]:
            folder = work / name
            folder.mkdir()
            plain_folder(folder, kind, files)
            results[name] = compare(arguments.binary, folder, work, prefix)
        for pooling, dense, normalize in [("cls", "", True), ("mean", "", False), ("mean", "identity", True), ("lasttoken", "tanh, no bias", True), ("cls", "tanh", False)]:
            name = f"{pooling}, dense {dense or 'none'}, {'normalised' if normalize else 'raw'}"
            folder = work / name
            sentence_folder(folder, work / "BertModel", pooling, dense, normalize, {"query": "the: ", "document": ""} if normalize else None)
            results[name] = compare(arguments.binary, folder, work, None)
        for model in arguments.model:
            results[model] = compare(arguments.binary, pathlib.Path(model), work, None)
    bad = [name for name, result in results.items() if not is_good(result)]
    print(json.dumps({"models": len(results), "failed": bad, "largest_encode_difference": max(r["encode"] for r in results.values()),
                      "details": {name: results[name] for name in bad}}, indent=1))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
