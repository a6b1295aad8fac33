#!/usr/bin/env -S sh -c 'python="$("$(dirname "$0")/venv.sh" torch==2.15.0 transformers==5.23.0 sentence-transformers==6.2.0 LM_Cocktail==0.0.4)" && exec "$python" "$0" "$@"'
"""Does `lodestone merge` mix models as LM-Cocktail does, and does sentence-transformers load the result?

  tests/parity/merge_parity.py [--build build/release]

Makes three small random BERT folders with pooling by [CLS], and compares
  weights    every tensor of mix_models with that of --weights: LM-Cocktail sums in f32, so 2^-22 of the sum of the absolute terms
  examples   the weights of mix_models_with_data with those of --examples: 2e-6, since its losses come from vectors in f32 and it rounds
             weights to f32
  dtype      folders saved in bf16 and f16: every value is as near to PyTorch's f64 sum as what PyTorch rounds it to, or nearer
  loading    SentenceTransformer(folder) gives vectors of the averaged weights in PyTorch: 1e-6
Prints one JSON object; exit 1 when a bound is broken.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
import torch
from LM_Cocktail import mix_models, mix_models_with_data
from LM_Cocktail.cocktail import save_ckpt_for_sentence_transformers
from safetensors.torch import load_file
from sentence_transformers import SentenceTransformer
from transformers import AutoTokenizer, BertConfig, BertModel

ROOT = pathlib.Path(__file__).resolve().parents[2]
WORDS = "the a of search text vector model boat house red blue fast slow is and or not with under over river".split()
WEIGHTS = [0.5, 0.3, 0.2]


def make_folder(folder, seed):
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + WORDS) + "\n")
    torch.manual_seed(seed)
    config = BertConfig(vocab_size=5 + len(WORDS), hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=64,
                        max_position_embeddings=64, initializer_range=0.2)
    BertModel(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(folder, model_max_length=64).save_pretrained(folder)
    save_ckpt_for_sentence_transformers(str(folder))
    return folder


def examples(count, negatives):
    generator = torch.Generator().manual_seed(3)
    pick = lambda: " ".join(WORDS[i] for i in torch.randint(0, len(WORDS), (6,), generator=generator))
    return [{"query": pick(), "pos": [pick()], "neg": [pick() for _ in range(negatives)]} for _ in range(count)]


def lodestone(build, *arguments):
    done = subprocess.run([str(build / "lodestone"), "merge", *map(str, arguments)], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(done.stderr)


def tensors(folder):
    return {name.removeprefix("bert."): value for name, value in load_file(folder / "model.safetensors").items()}


def compare_weights(build, folders, work, failures):
    mix_models([str(f) for f in folders], "encoder", WEIGHTS, str(work / "theirs"))
    lodestone(build, *folders, "--weights", ",".join(map(str, WEIGHTS)), "--output", work / "ours")
    theirs, ours, parts = tensors(work / "theirs"), tensors(work / "ours"), [tensors(f) for f in folders]
    if set(theirs) != set(ours):
        failures.append(f"other tensors: {set(theirs) ^ set(ours)}")
    worst = 0.0
    for name in ours:
        scale = sum(w * part[name].double().abs() for w, part in zip(WEIGHTS, parts)) + 1e-30
        worst = max(worst, ((ours[name].double() - theirs[name].double()).abs() / scale).max().item())
    if not worst <= 2.0**-22:
        failures.append(f"tensors differ by {worst}")
    return worst


def compare_examples(build, folders, work, failures):
    rows = examples(5, 3)
    (work / "examples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    theirs = None
    import LM_Cocktail.cocktail as cocktail
    compute = cocktail.compute_weights

    def kept(*args, **settings):
        nonlocal theirs
        theirs = compute(*args, **settings)
        return theirs
    cocktail.compute_weights = kept
    mix_models_with_data([str(f) for f in folders], "encoder", rows, temperature=2.0, max_input_length=64, neg_number=3)
    lodestone(build, *folders, "--examples", work / "examples.jsonl", "--temperature", 2, "--negatives", 3, "--output", work / "by-examples")
    ours = [model["weight"] for model in json.loads((work / "by-examples/merge.json").read_text())["models"]]
    worst = max(abs(a - b) for a, b in zip(ours, theirs, strict=True))
    if not worst <= 2e-6:
        failures.append(f"weights by examples differ by {worst}: {ours} and {theirs}")
    return {"weights": ours, "differ by": worst}


def compare_dtype(build, folders, work, name, failures):
    dtype, narrow = getattr(torch, name), []
    for i, folder in enumerate(folders):
        narrow.append(work / f"{name}-{i}")
        subprocess.run(["cp", "-r", str(folder), str(narrow[-1])], check=True)
        BertModel.from_pretrained(folder, dtype=dtype).save_pretrained(narrow[-1])
    lodestone(build, *narrow, "--weights", ",".join(map(str, WEIGHTS)), "--output", work / name)
    ours, parts = tensors(work / name), [tensors(f) for f in narrow]
    farther, nearer = 0, 0
    for key, value in ours.items():
        total = sum(w * part[key].double() for w, part in zip(WEIGHTS, parts))
        own, theirs = (value.double() - total).abs(), (total.to(dtype).double() - total).abs()
        farther, nearer = farther + int((own > theirs).sum()), nearer + int((own < theirs).sum())
        if value.dtype != dtype:
            failures.append(f"{name}: {key} is of {value.dtype}")
    if farther or json.loads((work / name / "config.json").read_text())["torch_dtype"] != name:
        failures.append(f"{name}: {farther} values are rounded farther away, or config.json names another dtype")
    return {"farther": farther, "nearer": nearer}


def compare_loading(folders, work, failures):
    texts = [row["query"] for row in examples(8, 0)]
    loaded = SentenceTransformer(str(work / "ours"), device="cpu")
    mixed = SentenceTransformer(str(folders[0]), device="cpu")
    parts = [tensors(f) for f in folders]
    total = {name: sum(w * part[name].double() for w, part in zip(WEIGHTS, parts)).float() for name in parts[0]}
    mixed[0].auto_model.load_state_dict(total, strict=False)
    worst = float(abs(loaded.encode(texts) - mixed.encode(texts)).max())
    if not worst <= 1e-6:
        failures.append(f"vectors differ by {worst}")
    return worst


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default=ROOT / "build/release", type=pathlib.Path)
    build, failures = parser.parse_args().build, []
    with tempfile.TemporaryDirectory() as scratch:
        work = pathlib.Path(scratch)
        folders = [make_folder(work / f"model-{i}", i) for i in range(3)]
        report = {"weights": compare_weights(build, folders, work, failures), "examples": compare_examples(build, folders, work, failures),
                  "bfloat16": compare_dtype(build, folders, work, "bfloat16", failures),
                  "float16": compare_dtype(build, folders, work, "float16", failures), "loading": compare_loading(folders, work, failures)}
    print(json.dumps(report, indent=1))
    if failures:
        sys.exit("\n".join(failures))


if __name__ == "__main__":
    main()
