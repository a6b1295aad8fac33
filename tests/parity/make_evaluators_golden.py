#!/usr/bin/env -S sh -c 'python="$("$(dirname "$0")/venv.sh" mteb-core==2.26.24 scikit-learn==1.9.1 numpy==2.4.6 rouge-score==0.1.2)" && exec "$python" "$0" "$@"'
"""Writes tests/golden/evaluators.json: what mteb, scikit-learn, NumPy and rouge-score say of small random inputs.

Run:  tests/parity/make_evaluators_golden.py [--check]
--check compares with the file instead of writing it: inputs, samples and clusters exactly, scores within 1e-12, minima within 1e-9.
"""
import argparse
import json
import math
import random
import warnings
from pathlib import Path

import mteb
import numpy as np
import sklearn
from rouge_score.rouge_scorer import RougeScorer
from sklearn.cluster import MiniBatchKMeans
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import v_measure_score

GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "evaluators.json"
warnings.filterwarnings("ignore")


def thousandths(rng, *shape):
    """Normal numbers that JSON holds exactly enough: rounded to three digits."""
    return np.round(rng.standard_normal(shape), 3)


def pairs(rng):
    task = mteb.get_task("TwitterSemEval2015")
    cases = []
    for n, grid in ((60, 8), (41, 1000), (30, 3), (12, 1), (2, 100)):
        labels = rng.integers(0, 2, n)
        labels[:2] = (1, 0)
        scores = np.round((rng.integers(0, grid, n) + labels * grid * 0.4) / grid, 3)
        for higher in (True, False):
            got = task._compute_metrics_values(scores.tolist(), labels, higher)
            _, got["accuracy_threshold"] = task._find_best_acc_and_threshold(scores.tolist(), labels, higher)
            *_, got["f1_threshold"] = task._find_best_f1_and_threshold(scores.tolist(), labels, higher)
            cases.append({"scores": scores.tolist(), "labels": labels.tolist(), "higher": higher, "expected": got})
    return cases


def classes(rng):
    task = mteb.get_task("Banking77Classification")
    cases = []
    for n, expected_of, predicted_of in ((50, 4, 4), (30, 2, 2), (40, 5, 3), (20, 3, 6), (25, 2, 1)):
        expected, predicted = rng.integers(0, expected_of, n), rng.integers(0, predicted_of, n)
        agree = rng.random(n) < 0.5
        predicted = np.where(agree & (expected < predicted_of), expected, predicted)
        got = task._calculate_scores(expected, predicted)
        cases.append({"expected": expected.tolist(), "predicted": predicted.tolist(), "scores": {k: None if v is None else float(v) for k, v in got.items()}})
    return cases


class Rows(dict):
    """As much of a Dataset as MTEB's sampling asks for."""
    def __len__(self):
        return len(self["label"])

    def select(self, places):
        return self


def samples(rng):
    cases = []
    for n, labels_of, per_label, seed in ((40, 3, 8, 42), (25, 5, 2, 7), (300, 2, 16, 42)):
        task = mteb.get_task("Banking77Classification")
        task.seed, task.samples_per_label = seed, per_label
        labels = rng.integers(0, labels_of, n)
        order, drawn = None, []
        for experiment in range(3):
            _, order, places = task._undersample_data(Rows(label=labels.tolist()), experiment, order)
            drawn.append(places)
        cases.append({"labels": labels.tolist(), "per_label": per_label, "seed": seed, "samples": drawn})
    return cases


def logistic(rng):
    cases = []
    for n, width, kinds in ((40, 6, 2), (36, 5, 3), (48, 8, 6), (30, 40, 4)):
        labels = np.sort(rng.integers(0, kinds, n)) * 3 + 1
        labels[:kinds] = np.arange(kinds) * 3 + 1
        x = np.round(thousandths(rng, n, width) + 0.7 * np.sin(labels[:, None] * np.arange(1, width + 1)), 3)
        test = np.round(thousandths(rng, 400, width) + 0.5 * np.sin(labels[rng.integers(0, n, 400), None] * np.arange(1, width + 1)), 3)

        def fit(**settings):
            model = LogisticRegression(**settings).fit(x, labels)
            p = model.predict_proba(x)[np.arange(n), np.searchsorted(model.classes_, labels)]
            return model, -np.log(p).mean() + (model.coef_ ** 2).sum() / (2 * n)

        exact, least = fit(max_iter=100000, tol=1e-10)
        usual, early = fit(max_iter=100)
        case = {"rows": x.tolist(), "labels": labels.tolist(), "objective": least}
        if kinds != 6:  # enough, and short
            test = test[:60]
        case |= {"test": test.tolist(), "predicted": exact.predict(test).tolist(), "predicted_by_default": usual.predict(test).tolist(),
                 "iterations_by_default": int(usual.n_iter_[0]), "objective_by_default": early}
        cases.append(case)
    return cases


def clusters(rng):
    cases = []
    for n, width, kinds, batch, seed in ((150, 3, 5, 40, 42), (90, 2, 12, 20, 3), (60, 4, 3, 500, 42), (64, 2, 20, 48, 1)):
        labels = rng.integers(0, kinds, n)
        x = np.round(thousandths(rng, n, width) + 2.5 * np.sin(labels[:, None] * np.arange(1, width + 1)), 3)
        found = MiniBatchKMeans(n_clusters=kinds, batch_size=batch, n_init="auto", random_state=seed).fit(x)
        cases.append({"rows": x.tolist(), "labels": labels.tolist(), "clusters": kinds, "batch": batch, "seed": seed,
                      "found": found.labels_.tolist(), "v_measure": v_measure_score(labels, found.labels_)})
    for labels, found in (([1, 1, 2, 2], [5, 5, 5, 5]), ([3, 3, 3], [0, 1, 2]), ([4, 4], [9, 9]), ([0, 0, 1, 1], [0, 1, 0, 1])):
        cases.append({"labels": labels, "found": found, "v_measure": v_measure_score(labels, found)})
    return cases


def texts():
    random.seed(5)
    words = "river stone moon cat dog tree red blue green of in on".split()  # no article, so that rouge-score's words are ours
    scorer = RougeScorer(["rougeL"], use_stemmer=False)
    cases = []
    for _ in range(12):
        reference = [random.choice(words) for _ in range(random.randint(1, 14))]
        answer = [w if random.random() < 0.6 else random.choice(words) for w in reference if random.random() < 0.8]
        text = {"answer": " ".join(answer).capitalize() + ".", "reference": ", ".join(reference)}
        cases.append(text | {"rouge_l": scorer.score(text["reference"], text["answer"])["rougeL"].fmeasure})
    return cases


def draws():
    state = np.random.RandomState(42)
    shuffled = list(range(20))
    state.shuffle(shuffled)
    return {"shuffled": shuffled, "integers": state.randint(0, 1000, 10).tolist(), "uniform": state.uniform(size=4).tolist(),
            "chosen": state.choice(37, 12, p=np.full(37, 1 / 37)).tolist(), "distinct": state.choice(30, 8, replace=False).tolist()}


def compute():
    rng = np.random.default_rng(11)
    return {"origin": "tests/parity/make_evaluators_golden.py",
            "versions": {"mteb-core": mteb._requires_package._mteb_distribution().version, "scikit-learn": sklearn.__version__, "numpy": np.__version__, "rouge-score": "0.1.2"},
            "draws": draws(), "pairs": pairs(rng), "classes": classes(rng), "samples": samples(rng), "logistic": logistic(rng),
            "clusters": clusters(rng), "texts": texts()}


def compare(kept, made, path="", within=1e-12):
    if isinstance(kept, dict):
        assert kept.keys() == made.keys(), path
        for key in kept:
            compare(kept[key], made[key], f"{path}/{key}", 1e-9 if key.startswith("objective") else within)
    elif isinstance(kept, list):
        assert len(kept) == len(made), path
        for i, (a, b) in enumerate(zip(kept, made)):
            compare(a, b, f"{path}/{i}", within)
    elif isinstance(kept, float) and isinstance(made, float):
        assert math.isclose(kept, made, rel_tol=within, abs_tol=within), (path, kept, made)
    else:
        assert kept == made, (path, kept, made)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--check", action="store_true")
    made = json.loads(json.dumps(compute(), allow_nan=False))
    if parser.parse_args().check:
        compare(json.loads(GOLDEN.read_text()), made)
        print(f"{GOLDEN.name} is what they say")
    else:
        GOLDEN.write_text(json.dumps(made, separators=(",", ":")) + "\n")
        print(f"wrote {GOLDEN}, {GOLDEN.stat().st_size} bytes")


if __name__ == "__main__":
    main()
