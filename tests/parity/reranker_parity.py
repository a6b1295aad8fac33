#!/usr/bin/env -S sh -c 'python="$("$(dirname "$0")/venv.sh")" && exec "$python" "$0" "$@"'
"""Does Lodestone's reranker score, learn and export as transformers and sentence-transformers do?

  tests/parity/reranker_parity.py [--build build/release] [--model FOLDER] [--data ROWS.jsonl]

Makes BertForSequenceClassification folders of one label (a small random BERT saved by transformers, the same saved by
sentence-transformers' CrossEncoder, and with --model a classifier on a real encoder), and compares
  folders    `lodestone export` rewrites each; AutoModelForSequenceClassification and CrossEncoder must give the same scores (1e-6)
  scores     CrossEncoder.predict without its sigmoid against ours, from texts: 1e-5 of the largest score, f32
  gradients  group cross-entropy and BCE of PyTorch, every parameter, as gradients.py says; bf16 is judged with --model only, since
             three random layers are too few for it
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
from sentence_transformers import CrossEncoder
from sentence_transformers.cross_encoder.evaluation import CrossEncoderRerankingEvaluator
from transformers import AutoModelForSequenceClassification, AutoTokenizer, BertConfig, BertForSequenceClassification

from gradients import TOLERANCE, compare, dumped, gradients_of

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
    return loss.item(), gradients_of(model)


def compare_gradients(build, folder, work, pairs, failures):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    batch = tokenizer([q for q, _ in pairs], [p for _, p in pairs], padding=True, return_tensors="pt")
    load = lambda: BertForSequenceClassification.from_pretrained(folder, attn_implementation="eager").eval()
    report = {}
    for target in ("group_ce", "bce"):
        exact, single = torch_step(load().double(), batch, target), torch_step(load(), batch, target)
        autocast = torch_step(load(), batch, target, autocast=True)
        for precision in ("f64", "f32", "bf16"):
            value, ours = dumped(build / "reranker_dump", folder, {"group": GROUP, "target": target, "pairs": pairs}, precision, work)
            scores, broken, expected = ours.pop("scores"), [], (single if precision == "f32" else exact)[0]
            entry = {"loss": value, "loss_difference": abs(value - expected)}
            entry |= compare(precision, ours, exact[1], single[1], autocast[1], broken, floor=1e-3, judge_bf16=folder.name == "real")
            if precision in TOLERANCE and not entry["loss_difference"] <= TOLERANCE[precision] * max(expected, 1):
                broken.append(f"{precision}: loss {value} against {expected}")
            failures += [f"{folder.name} {target} {line}" for line in broken]
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
