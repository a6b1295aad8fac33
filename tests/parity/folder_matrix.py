#!/usr/bin/env -S sh -c 'python="$("$(dirname "$0")/venv.sh")" && exec "$python" "$0" "$@"'
"""Does Lodestone see in a model folder what sentence-transformers sees, or say in one line why not?

  tests/parity/folder_matrix.py [--binary build/release/lodestone] [--only WORD]

Puts the tokenizer files of tests/parity/tokenizer_folders.py, poolings, dense layers and prompts around small random models. Each folder is
embedded by sentence-transformers and by `lodestone encode` (prompts: `lodestone eval`), and exported; the export is embedded by
sentence-transformers, and its tokenizer read in three ways: by transformers' AutoTokenizer, by tokenizers from tokenizer.json alone, by
AutoTokenizer without tokenizer.json. All must be equal to 1e-5 (ids: equal), or the folder refused in one line with exit code 2 (tokenizer) or 4 (model).
Prints one JSON object; exit 1 unless all are.
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
import numpy as np
import tokenizers
import torch
import transformers
from safetensors.torch import save_file
from sentence_transformers import SentenceTransformer
from transformers import AutoTokenizer, BertConfig, BertModel

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from tokenizer_folders import TEXTS, VOCAB, case, cases, write_folder  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
BOUND = 1e-5
WIDTH, POSITIONS = 32, 40
LONG = ["paris the river " * 30, "river cafe " * 12 + "a b c", "the Paris"]
MODULE = "sentence_transformers.models."


def write_model(folder, modules, prompts=None, max_length=24):
    """`modules`: (class, configuration, tensors) behind the transformer."""
    torch.manual_seed(5)
    config = BertConfig(vocab_size=len(VOCAB) + 8, hidden_size=WIDTH, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48, max_position_embeddings=POSITIONS)
    model = BertModel(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, folder / "model.safetensors", metadata={"format": "pt"})
    told = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config.to_dict(), "architectures": ["BertModel"], **told}))
    listed = [{"idx": 0, "name": "0", "path": "", "type": MODULE + "Transformer"}]
    for kind, settings, tensors in modules:
        path = f"{len(listed)}_{kind}"
        (folder / path).mkdir()
        (folder / path / "config.json").write_text(json.dumps(settings))
        if tensors:
            save_file(tensors, folder / path / "model.safetensors")
        listed.append({"idx": len(listed), "name": str(len(listed)), "path": path, "type": MODULE + kind})
    (folder / "modules.json").write_text(json.dumps(listed))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": max_length, "do_lower_case": False}))
    if prompts is not None:
        (folder / "config_sentence_transformers.json").write_text(json.dumps(prompts))


def pooling(mode, **more):
    names = {"cls": "cls_token", "mean": "mean_tokens", "max": "max_tokens", "lasttoken": "lasttoken", "weightedmean": "weightedmean_tokens"}
    return ("Pooling", {"word_embedding_dimension": WIDTH, **{f"pooling_mode_{flag}": name == mode for name, flag in names.items()}, **more}, None)


def dense(outputs, activation, bias=True, inputs=WIDTH, **more):
    torch.manual_seed(9)
    tensors = {"linear.weight": torch.randn(outputs, inputs) * 0.2, **({"linear.bias": torch.randn(outputs) * 0.2} if bias else {})}
    return ("Dense", {"in_features": inputs, "out_features": outputs, "bias": bias, "activation_function": "torch.nn.modules." + activation, **more}, tensors)


NORMALIZE = ("Normalize", {}, None)


def module_cases():
    for mode in ("cls", "mean", "lasttoken", "max", "weightedmean"):
        yield f"pooling {mode}", [pooling(mode), NORMALIZE], "" if mode in ("cls", "mean", "lasttoken") else "pooling"
    yield "pooling without normalisation", [pooling("mean")], ""
    yield "pooling that leaves the prompt out", [pooling("mean", include_prompt=False)], "include_prompt"
    yield "two poolings", [pooling("mean", pooling_mode_cls_token=True)], "side by side"
    for activation, works in [("activation.Tanh", True), ("linear.Identity", True), ("activation.ReLU", False), ("activation.GELU", False)]:
        for bias in (True, False):
            for outputs in (12, 48):
                yield f"dense {activation}, bias {bias}, {outputs} outputs", [pooling("mean"), dense(outputs, activation, bias)], "" if works else "activation"
    yield "dense, normalised", [pooling("cls"), dense(12, "activation.Tanh"), NORMALIZE], ""
    yield "two dense layers", [pooling("mean"), dense(12, "activation.Tanh"), dense(8, "linear.Identity", inputs=12)], "Dense"
    yield "dense behind the normalisation", [pooling("mean"), NORMALIZE, dense(12, "linear.Identity")], "Dense"
    yield "dense with a residual", [pooling("mean"), dense(WIDTH, "activation.Tanh", use_residual=True)], "use_residual"
    yield "layer norm", [pooling("mean"), ("LayerNorm", {"dimension": WIDTH}, {"norm.weight": torch.ones(WIDTH), "norm.bias": torch.zeros(WIDTH)})], "LayerNorm"


def prompt_cases():
    texts = {"query": "a: ", "document": "the river! ", "passage": "paris! ", "corpus": "cafe! "}
    for names in (["query", "document"], ["query", "passage", "document"], ["corpus", "passage"], ["corpus"], ["document"], []):
        for default in [None, *names[:1]]:
            chosen = {name: texts[name] for name in names}
            yield f"prompts {', '.join(names) or 'none'}; default {default}", {"prompts": chosen, "default_prompt_name": default}


def largest(a, b):
    return float(np.abs(np.asarray(a, np.float64) - np.asarray(b, np.float64)).max()) if np.shape(a) == np.shape(b) else float("inf")


class Matrix:
    def __init__(self, binary, work, only):
        self.binary, self.work, self.only, self.results = binary, work, only, {}

    def run(self, *arguments):
        done = subprocess.run([self.binary, *map(str, arguments)], capture_output=True, text=True)
        errors = [line for line in done.stderr.splitlines() if not line.startswith("warning: ")]
        return done.returncode, errors

    def folder(self, name):
        if self.only not in name:
            return None
        shutil.rmtree(self.work, ignore_errors=True)
        folder = self.work / "model"
        folder.mkdir(parents=True)
        return folder

    def refused(self, name, refused, code, errors):
        """Notes a case that this program refuses, or should have."""
        good = bool(refused) and code in (2, 4) and len(errors) == 1 and errors[0].startswith("error: ") and refused in errors[0] and "do: " in errors[0]
        self.results[name] = {"good": good, "refused": True, "code": code, "said": errors}

    def embed(self, folder, texts):
        (self.work / "texts.txt").write_text("".join(text.replace("\n", " ") + "\n" for text in texts), "utf-8")
        code, errors = self.run("encode", folder, "--input", self.work / "texts.txt", "--output", self.work / "out.npy", "--threads", 1)
        return code, errors, np.load(self.work / "out.npy") if code == 0 else None

    def compare(self, name, folder, refused):
        texts = [*TEXTS, *LONG]
        code, errors, ours = self.embed(folder, texts)
        if code != 0 or refused:
            return self.refused(name, refused, code, errors)
        theirs = SentenceTransformer(str(folder), device="cpu").encode(texts)
        result = {"encode": largest(ours, theirs)}
        code, errors = self.run("export", folder, "--output", self.work / "ours", "--threads", 1)
        if code != 0:
            self.results[name] = {"good": False, "code": code, "said": errors}
            return
        result["export"] = largest(SentenceTransformer(str(self.work / "ours"), device="cpu").encode(texts), theirs)
        before, after = AutoTokenizer.from_pretrained(folder), AutoTokenizer.from_pretrained(self.work / "ours")
        ids = [before(text)["input_ids"] for text in texts]
        alone = tokenizers.Tokenizer.from_file(str(self.work / "ours/tokenizer.json"))
        alone.no_truncation()
        readings = {"AutoTokenizer": [after(text)["input_ids"] for text in texts], "tokenizer.json": [alone.encode(text).ids for text in texts]}
        if (self.work / "ours/vocab.txt").exists() and type(after).__name__ == "BertTokenizer":
            (self.work / "ours/tokenizer.json").unlink()
            bare = AutoTokenizer.from_pretrained(self.work / "ours")
            readings["vocab.txt"] = [bare(text)["input_ids"] for text in texts]
        result["readings"] = {reading: found == ids for reading, found in readings.items()}
        result["good"] = result["encode"] <= BOUND and result["export"] <= BOUND and all(result["readings"].values())
        self.results[name] = result

    def compare_prompts(self, name, folder, prompts):
        """The scores of a TREC run against the similarities of vectors."""
        documents, queries = ["the river", "a b c", "paris cafe"], ["river", "cafe"]
        beir = self.work / "beir"
        (beir / "qrels").mkdir(parents=True)
        for file, kind, texts in (("corpus", "d", documents), ("queries", "q", queries)):
            (beir / f"{file}.jsonl").write_text("".join(json.dumps({"_id": f"{kind}{i}", "text": text}) + "\n" for i, text in enumerate(texts)))
        (beir / "qrels/test.tsv").write_text("query-id\tcorpus-id\tscore\nq0\td0\t1\nq1\td2\t1\n")
        code, errors = self.run("eval", folder, "--beir", beir, "--output", self.work / "eval", "--task", "t", "--threads", 1)
        if code != 0:
            self.results[name] = {"good": False, "code": code, "said": errors}
            return
        model = SentenceTransformer(str(folder), device="cpu")
        # Of the folder's own prompts: sentence-transformers puts an empty "query" and "document" beside them where it has none.
        query, document = [next((name for name in names if name in prompts["prompts"]), prompts["default_prompt_name"])
                           for names in (["query"], ["document", "passage", "corpus"])]
        vectors = model.encode(queries, prompt_name=query), model.encode(documents, prompt_name=document)
        if query == "query" and document == "document":
            assert largest(vectors[0], model.encode_query(queries)) == 0 and largest(vectors[1], model.encode_document(documents)) == 0
        expected = model.similarity(*vectors).numpy()
        found = np.full_like(expected, np.inf)
        for line in (self.work / "eval/t.trec").read_text().splitlines():
            query, _, document, _, score, _ = line.split()
            found[int(query[1:]), int(document[1:])] = float(score)
        self.results[name] = {"scores": largest(found, expected), "good": largest(found, expected) <= BOUND}

    def everything(self):
        for one in cases():
            if folder := self.folder("tokenizer: " + one["name"]):
                write_folder(folder, one)
                write_model(folder, [pooling("mean"), NORMALIZE])
                self.compare("tokenizer: " + one["name"], folder, one["refused"])
        plain = case("plain")
        for name, modules, refused in module_cases():
            if folder := self.folder("modules: " + name):
                write_folder(folder, plain)
                write_model(folder, modules)
                self.compare("modules: " + name, folder, refused)
        for name, prompts in prompt_cases():
            if folder := self.folder(name):
                write_folder(folder, plain)
                write_model(folder, [pooling("mean"), NORMALIZE], prompts)
                self.compare_prompts(name, folder, prompts)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=str(ROOT / "build/release/lodestone"))
    parser.add_argument("--only", default="", help="cases whose name has this word")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as scratch:
        matrix = Matrix(arguments.binary, pathlib.Path(scratch) / "case", arguments.only)
        matrix.everything()
    results = matrix.results
    bad = {name: result for name, result in results.items() if not result["good"]}
    equal = [result for result in results.values() if result["good"] and not result.get("refused")]
    print(json.dumps({"folders": len(results), "equal": len(equal), "refused in one line": len(results) - len(bad) - len(equal),
                      "largest difference": max([r.get(key, 0) for r in equal for key in ("encode", "export", "scores")], default=0), "failed": bad}, indent=1))
    return 1 if bad or not results else 0


if __name__ == "__main__":
    sys.exit(main())
