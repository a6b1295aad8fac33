#!/usr/bin/env -S sh -c 'python="$("$(dirname "$0")/venv.sh")" && exec "$python" "$0" "$@"'
"""Does Lodestone's reranker score, learn and export as transformers and sentence-transformers do?

  tests/parity/reranker_parity.py [--build build/release] [--model FOLDER] [--data ROWS.jsonl]

Makes BertForSequenceClassification folders of one label (a small random BERT saved by transformers, the same saved by
sentence-transformers' CrossEncoder, and with --model a classifier on a real encoder), and compares
  folders    `lodestone export` rewrites each; AutoModelForSequenceClassification and CrossEncoder must give the same scores (1e-6)
  scores     CrossEncoder.predict without its sigmoid against ours, from texts: 1e-5 of the largest score, f32
  gradients  group cross-entropy and BCE of PyTorch, every parameter: ||g - g_ref|| <= tol max(||g_ref||, 1e-3 ||whole||), tol 1e-9 in
             f64 and 1e-4 in f32; in bf16, with --model, the whole gradient's error is at most 1.5 times that of PyTorch's own autocast
  evaluation `lodestone eval --rerank` against MAP, MRR@10 and nDCG@10 by sentence-transformers' CrossEncoderRerankingEvaluator: 1e-6
--data adds rows with query, pos and neg to the evaluation (with --model). Prints one JSON object; exit 1 when a bound is broken.
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
import transformers
from safetensors.torch import load_file
from sentence_transformers import CrossEncoder
from sentence_transformers.cross_encoder.evaluation import CrossEncoderRerankingEvaluator
from transformers import AutoModelForSequenceClassification, AutoTokenizer, BertConfig, BertForSequenceClassification

ROOT = pathlib.Path(__file__).resolve().parents[2]
WORDS = "the a of search text vector model boat house red blue fast slow is and or not with under over river".split()
VOCAB = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", ",", "?", ":", "!", "##ing", "##ed"] + WORDS
VOCAB += ["##" + c for c in "abcdefghijklmnopqrstuvwxyz"] + list("bcdefghijklmnopqrstuvwxyz机器学习向量é")
GROUP = 3


def rows_of_words(count):
    """Rows with a query, one or two positives that share its words, and three to five negatives."""
    generator = torch.Generator().manual_seed(3)
    pick = lambda low, high: " ".join(WORDS[i] for i in torch.randint(0, len(WORDS), (int(torch.randint(low, high, (1,), generator=generator)),), generator=generator))
    rows = []
    for i in range(count):
        query = pick(2, 8) + ("?" if i % 3 else " 机器 é!")
        rows.append({"query": query, "pos": [query + " " + pick(1, 6) for _ in range(1 + i % 2)], "neg": [pick(2, 12) for _ in range(3 + i % 3)]})
    return rows


def randomize(model, size):
    torch.manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * size)
    return model


def small_folder(folder):
    folder.mkdir()
    config = BertConfig(vocab_size=len(VOCAB), hidden_size=48, num_hidden_layers=3, num_attention_heads=4, intermediate_size=96, max_position_embeddings=64, num_labels=1)
    torch.manual_seed(5)
    randomize(BertForSequenceClassification(config), 0.1).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(VOCAB) + "\n")
    AutoTokenizer.from_pretrained(folder).save_pretrained(folder)


def cross_encoder(folder):
    return CrossEncoder(str(folder), device="cpu")


def predict(folder, pairs):
    return torch.from_numpy(cross_encoder(folder).predict(pairs, activation_fn=torch.nn.Identity(), show_progress_bar=False)).double()


def torch_step(model, batch, target, autocast=False):
    model.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        scores = model(**batch).logits[:, 0]
    scores = scores.to(next(model.parameters()).dtype)
    if target == "bce":
        labels = torch.zeros_like(scores)
        labels[::GROUP] = 1
        loss = torch.nn.functional.binary_cross_entropy_with_logits(scores, labels)
    else:
        loss = torch.nn.functional.cross_entropy(scores.view(-1, GROUP), torch.zeros(len(scores) // GROUP, dtype=torch.long))
    loss.backward()
    return loss.item(), {n: p.grad.detach().double().clone() for n, p in model.named_parameters()}


def norm(grads):
    return torch.sqrt(sum((g ** 2).sum() for g in grads.values())).item()


def compare_gradients(build, folder, work, pairs, failures):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    batch = tokenizer([q for q, _ in pairs], [p for _, p in pairs], padding=True, return_tensors="pt")
    load = lambda: BertForSequenceClassification.from_pretrained(folder, attn_implementation="eager").eval()
    report = {}
    for target in ("group_ce", "bce"):
        (work / "input.json").write_text(json.dumps({"group": GROUP, "target": target, "pairs": pairs}))
        exact, single = torch_step(load().double(), batch, target), torch_step(load(), batch, target)
        autocast = torch_step(load(), batch, target, autocast=True)
        whole = norm(exact[1])
        for precision, reference, tolerance in (("f64", exact, 1e-9), ("f32", single, 1e-4), ("bf16", exact, None)):
            out = work / "out.safetensors"
            out.unlink(missing_ok=True)
            value = float(subprocess.run([build / "reranker_dump", folder, work / "input.json", out, precision], check=True, capture_output=True, text=True).stdout)
            ours = {n: g.double() for n, g in load_file(out).items()}
            scores = ours.pop("scores")
            if set(ours) != set(exact[1]):
                failures.append(f"{folder.name}: tensors in one only: {sorted(set(ours) ^ set(exact[1]))}")
            difference = {n: ours[n] - g for n, g in reference[1].items()}
            entry = {"loss": value, "loss_difference": abs(value - reference[0])}
            if tolerance:
                entry["worst_tensor"] = max((difference[n].norm() / max(g.norm(), 1e-3 * whole)).item() for n, g in reference[1].items())
                if not entry["worst_tensor"] <= tolerance:
                    failures.append(f"{folder.name} {target} {precision}: worst tensor {entry['worst_tensor']:.2e} > {tolerance:.0e}")
                if not entry["loss_difference"] <= tolerance * max(reference[0], 1):
                    failures.append(f"{folder.name} {target} {precision}: loss {value} against {reference[0]}")
            else:
                entry["ratio_to_autocast"] = norm(difference) / norm({n: autocast[1][n] - g for n, g in exact[1].items()})
                if folder.name == "real" and not entry["ratio_to_autocast"] <= 1.5:   # three random layers are too few to judge by
                    failures.append(f"{folder.name} {target} bf16: error {entry['ratio_to_autocast']:.2f} times autocast's, more than 1.5")
            if precision == "f32":
                theirs = predict(folder, pairs)
                entry["score_difference"] = ((scores - theirs).abs().max() / theirs.abs().max()).item()
                if not entry["score_difference"] <= 1e-5:
                    failures.append(f"{folder.name}: scores differ by {entry['score_difference']:.2e} of the largest")
            report[f"{target} {precision}"] = entry
    return report


def compare_folders(build, folder, work, pairs, failures):
    ours = work / (folder.name + "-exported")
    subprocess.run([build / "lodestone", "export", folder, "--output", ours], check=True, stdout=subprocess.DEVNULL)
    tokenizer = AutoTokenizer.from_pretrained(ours)
    batch = tokenizer([q for q, _ in pairs], [p for _, p in pairs], padding=True, return_tensors="pt")
    with torch.no_grad():
        logits = [AutoModelForSequenceClassification.from_pretrained(path).eval()(**batch).logits for path in (folder, ours)]
    difference = {"logits": (logits[0] - logits[1]).abs().max().item(), "predict": (predict(folder, pairs) - predict(ours, pairs)).abs().max().item()}
    if max(difference.values()) > 1e-6 or logits[1].shape[1] != 1:
        failures.append(f"{folder.name}: the exported folder differs: {difference}")
    return difference


def compare_evaluation(build, folder, work, rows, failures):
    data = work / "rows.jsonl"
    data.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    subprocess.run([build / "lodestone", "eval", folder, "--rerank", data, "--output", work / "result"], check=True, stdout=subprocess.DEVNULL)
    ours = json.loads((work / "result/rows.json").read_text())["scores"]["test"][0]
    samples = [{"query": row["query"], "positive": row["pos"], "negative": row["neg"]} for row in rows]
    evaluator = CrossEncoderRerankingEvaluator(samples, at_k=10, always_rerank_positives=True, write_csv=False, show_progress_bar=False)
    theirs = {key.split("_")[-1]: value for key, value in evaluator(cross_encoder(folder)).items() if not key.startswith("base")}
    report = {}
    for key, other in (("map", "map"), ("mrr_at_10", "mrr@10"), ("ndcg_at_10", "ndcg@10")):
        report[key] = {"ours": ours[key], "theirs": float(theirs[other])}
        if not abs(ours[key] - float(theirs[other])) <= 1e-6:
            failures.append(f"{folder.name}: {key} {ours[key]} against {theirs[other]}")
    return report


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=str(ROOT / "build/release"))
    parser.add_argument("--model")
    parser.add_argument("--data")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    build, failures, report = pathlib.Path(arguments.build), [], {"torch": torch.__version__, "transformers": transformers.__version__}
    with tempfile.TemporaryDirectory() as scratch:
        work = pathlib.Path(scratch)
        small_folder(work / "transformers")
        cross_encoder(work / "transformers").save_pretrained(str(work / "cross-encoder"))
        folders = {"transformers": rows_of_words(60), "cross-encoder": rows_of_words(20)}
        if arguments.model:
            torch.manual_seed(5)
            model = BertForSequenceClassification.from_pretrained(arguments.model, num_labels=1)
            model.classifier.weight.data.normal_(std=0.5)
            model.save_pretrained(work / "real")
            tokenizer = AutoTokenizer.from_pretrained(arguments.model)
            tokenizer.save_pretrained(work / "real")
            folders["real"] = rows_of_words(20)
            if arguments.data:
                rows = [json.loads(line) for _, line in zip(range(30), open(arguments.data, encoding="utf-8"))]
                folders["real"] = [row for row in rows if row.get("neg")] or folders["real"]
        for name, rows in folders.items():
            pairs = [(row["query"], text) for row in rows[:4] for text in [row["pos"][0], *row["neg"][:GROUP - 1]]]
            folder = work / name
            report[name] = {"folders": compare_folders(build, folder, work, pairs, failures),
                            "gradients": compare_gradients(build, folder, work, pairs, failures),
                            "evaluation": compare_evaluation(build, folder, work, rows, failures)}
    print(json.dumps(report, indent=1))
    if failures:
        sys.exit("\n".join(failures))


if __name__ == "__main__":
    main()
