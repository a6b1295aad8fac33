#!/usr/bin/env -S sh -c 'python="$("$(dirname "$0")/venv.sh" mteb-core==2.26.24 scikit-learn==1.9.1 numpy==2.4.6)" && exec "$python" "$0" "$@"'
"""Sets `lodestone eval` beside mteb's own tasks on the vectors of one model, and has mteb read its results.

Run:  tests/parity/evaluators_parity.py BINARY [MODEL_FOLDER]
Without a folder a tiny model is trained on made-up words. Compared: pair classification within 1e-4 (mteb's similarities are f32),
accuracy and F1 of classification within 0.2 points (a near tie may fall otherwise in f32), V-measures with scikit-learn's k-means on f64 within 1e-12. Of mteb's k-means
on f32, and of another seed's, it prints how far they are away.
"""
import json
import random
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import mteb
import mteb._evaluators.clustering_evaluator
import mteb._evaluators.pair_classification_evaluator
import mteb.abstasks.classification
import numpy as np
from datasets import Dataset, DatasetDict
from mteb.results import TaskResult
from mteb.timing import TimingStack
from sklearn.cluster import MiniBatchKMeans
from sklearn.metrics import v_measure_score

SUPPORT = Path(__file__).resolve().parent.parent / "support"
warnings.filterwarnings("ignore")
random.seed(3)


# mteb's loader of batches alone needs PyTorch: all texts as one batch do without.
for module in (mteb._evaluators.clustering_evaluator, mteb._evaluators.pair_classification_evaluator, mteb.abstasks.classification):
    module.create_dataloader = lambda dataset, *, input_column, **_: [{"text": list(dataset[input_column])}]


def run(folder, *command):
    subprocess.run([str(c) for c in command], cwd=folder, check=True, stdout=subprocess.DEVNULL)


def tiny_model(binary, folder):
    run(folder, sys.executable, SUPPORT / "tiny_run.py")
    run(folder, binary, "pack", "--tokenizer", "vocab", "--output", "corpus", "train.jsonl")
    run(folder, binary, "train", "run.yaml", "data.heldout=", "train.eval_steps=0")
    return folder / "run" / "model"


def write(path, rows):
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


class Texts:
    """Texts of a class: some of its words among others."""
    def __init__(self, words, classes):
        self.words = words
        self.own = [random.sample(words, 12) for _ in range(classes)]

    def of(self, label):
        return " ".join(random.sample(self.own[label], 3) + random.sample(self.words, random.randint(3, 9)))

    def rows(self, n):
        labels = [random.randrange(len(self.own)) for _ in range(n)]
        return [{"text": self.of(label), "label": label} for label in labels]


class Vectors:
    """An encoder of mteb that looks texts up."""
    def __init__(self, vectors):
        self.vectors = vectors
        self.mteb_model_meta = None

    def encode(self, inputs, **_):
        texts = [text for batch in inputs for text in batch["text"]]
        return np.stack([self.vectors[text] for text in texts])

    def similarity(self, a, b):
        return a @ b.T

    def similarity_pairwise(self, a, b):
        unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (np.asarray(a), np.asarray(b))]
        return (unit[0] * unit[1]).sum(1)


def encode(binary, model, folder, texts):
    texts = sorted(set(texts))
    write(folder / "texts.jsonl", ({"text": text} for text in texts))
    run(folder, binary, "encode", model, "--input", "texts.jsonl", "--output", "texts.npy", "--precision", "f64")
    return Vectors(dict(zip(texts, np.load(folder / "texts.npy"))))


def of_mteb(folder, name, dataset, model):
    task = mteb.get_task(name)
    task.dataset, task.data_loaded = dataset, True
    common = {"hf_split": "test", "hf_subset": "default", "encode_kwargs": {"batch_size": 64}, "timer": TimingStack()}
    data = dataset if name.endswith("Classification") else dataset["test"]
    scores = task._evaluate_subset(model, data, **common)
    task._add_main_score(scores)
    written = TaskResult.from_task_results(task, {"test": {"default": scores}}, evaluation_time=1)
    written.to_disk(folder / f"{name}.json")
    return scores


def of_lodestone(binary, model, folder, option, data, name):
    run(folder, binary, "eval", model, option, data, "--output", "results", "--task", name, "--precision", "f64")
    result = TaskResult.from_disk(folder / "results" / f"{name}.json")
    scores = result.scores["test"][0]
    assert (result.task_name, result.get_score()) == (name, scores["main_score"]), result
    print(f"{name}: read by mteb as a {result.task_type} with main score {result.get_score():.4f}")
    return scores


def compare(name, ours, theirs, keys, within):
    worst = max((abs(ours[key] - theirs[key]), key) for key in keys)
    print(f"{name}: {len(keys)} scores of mteb, the largest difference is {worst[0]:.2g} ({worst[1]})")
    assert worst[0] <= within, (name, worst)


def main():
    binary = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        model = Path(sys.argv[2]).resolve() if len(sys.argv) > 2 else tiny_model(binary, folder)
        words = sorted({w for line in Path(folder / "train.jsonl").read_text().splitlines() for w in json.loads(line)["query"].split()}
                       if (folder / "train.jsonl").exists() else (model / "vocab.txt").read_text().split()[3000:4000])
        seven, two = Texts(words, 7), Texts(words, 2)
        pairs = [{"sentence1": seven.of(i % 7), "sentence2": seven.of(i % 7 if i % 3 else (i + 1) % 7), "labels": int(i % 3 > 0)} for i in range(600)]
        splits = {"Banking77Classification": (seven.rows(2000), seven.rows(1000)), "ImdbClassification": (two.rows(600), two.rows(500))}
        sets = [{"sentences": [r["text"] for r in rows], "labels": [r["label"] for r in rows]} for rows in (seven.rows(1500), seven.rows(300), two.rows(700))]
        write(folder / "pairs.jsonl", pairs)
        write(folder / "sets.jsonl", sets)
        for name, (train, test) in splits.items():
            write(folder / name / "train.jsonl", train)
            write(folder / name / "test.jsonl", test)
        texts = [t for p in pairs for t in (p["sentence1"], p["sentence2"])] + [t for s in sets for t in s["sentences"]]
        texts += [r["text"] for parts in splits.values() for rows in parts for r in rows]
        vectors = encode(binary, model, folder, texts)

        theirs_folder = folder / "mteb"
        theirs_folder.mkdir()
        name = "TwitterSemEval2015"
        ours = of_lodestone(binary, model, folder, "--pair-classification", "pairs.jsonl", name)
        theirs = of_mteb(theirs_folder, name, DatasetDict(test=Dataset.from_list(pairs)), vectors)
        compare(name, ours, theirs, [k for k in theirs if k != "main_score"], 1e-4)
        assert abs(ours["main_score"] - theirs["main_score"]) <= 1e-4
        for name, (train, test) in splits.items():
            ours = of_lodestone(binary, model, folder, "--classification", name, name)
            theirs = of_mteb(theirs_folder, name, DatasetDict(train=Dataset.from_list(train), test=Dataset.from_list(test)), vectors)
            keys = [k for k, v in theirs.items() if k in ours and isinstance(v, float) and not np.isnan(v)]
            compare(name, ours, theirs, keys, 0.002)
            each = max(abs(a["accuracy"] - b["accuracy"]) for a, b in zip(ours["scores_per_experiment"], theirs["scores_per_experiment"]))
            print(f"{name}: the largest difference of one experiment's accuracy is {each:.2g}")
        name = "TwentyNewsgroupsClustering"
        ours = of_lodestone(binary, model, folder, "--clustering", "sets.jsonl", name)
        theirs = of_mteb(theirs_folder, name, DatasetDict(test=Dataset.from_list(sets)), vectors)

        def on_f64(one, seed):
            x = np.stack([vectors.vectors[t] for t in one["sentences"]]).astype(np.float64)
            k = MiniBatchKMeans(n_clusters=len(set(one["labels"])), batch_size=500, n_init="auto", random_state=seed)
            return v_measure_score(one["labels"], k.fit(x).labels_)

        exact = max(abs(a - on_f64(s, 42)) for a, s in zip(ours["v_measures"], sets))
        print(f"{name}: V-measures {np.round(ours['v_measures'], 4)}, the largest difference to scikit-learn on f64 is {exact:.2g};\n"
              f"  mteb on f32 {np.round(theirs['v_measures'], 4)}, scikit-learn with seed 43 {np.round([on_f64(s, 43) for s in sets], 4)}")
        assert exact <= 1e-12
        scores = [TaskResult.from_disk(file).get_score() for file in theirs_folder.glob("*.json")]
        table = subprocess.run([binary, "average", "mteb", "--benchmark", "mteb_english"], cwd=folder, check=True, capture_output=True, text=True).stdout
        average = next(line for line in table.splitlines() if line.startswith("all data sets")).split()[-1]
        print(f"average of mteb's own files: {average}, by mteb {100 * np.mean(scores):.4f}")
        assert len(scores) == 4 and abs(float(average) - 100 * np.mean(scores)) <= 0.0051  # two digits, of scores rounded to six
    print("evaluators agree")


if __name__ == "__main__":
    main()
