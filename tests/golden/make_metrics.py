#!/usr/bin/env python3
"""Writes metrics.json: rankings with ties and graded judgements, and what trec_eval and scipy say of them.

Origin of the numbers: pytrec-eval-terrier 0.5.11 (trec_eval's own C code) and scipy. To regenerate and compare:
    python3 -m venv venv && venv/bin/pip install pytrec-eval-terrier==0.5.11 numpy scipy
    venv/bin/python tests/golden/make_metrics.py | diff tests/golden/metrics.json -
Reciprocal rank cut at k is computed here from trec_eval's recip_rank of the first k documents.
"""
import json
import random

import pytrec_eval
import scipy.stats

random.seed(7)
documents = [f"d{i}" for i in range(40)]
measures = {"ndcg_cut.1,3,10", "recall.1,10,100", "map_cut.10,100", "recip_rank"}
queries = []
for q in range(8):
    found = random.sample(documents, 12 if q % 2 else 30)
    run = {d: random.randint(0, 8) / 8 for d in found}             # exact in binary, many ties
    qrels = {d: random.choice([0, 0, 1, 2, 3]) for d in random.sample(documents, 10)}
    qrels[random.choice(documents)] = 1
    expected = pytrec_eval.RelevanceEvaluator({"q": qrels}, measures).evaluate({"q": run})["q"]
    top = dict(sorted(run.items(), key=lambda item: (item[1], item[0]), reverse=True)[:10])
    del expected["recip_rank"]
    expected["recip_rank_10"] = pytrec_eval.RelevanceEvaluator({"q": qrels}, {"recip_rank"}).evaluate({"q": top})["q"]["recip_rank"]
    queries.append({"run": run, "qrels": qrels, "expected": expected})

x = [random.randint(0, 6) / 2 for _ in range(25)]
y = [a + random.randint(-4, 4) / 4 for a in x]
correlation = {"x": x, "y": y, "spearman": scipy.stats.spearmanr(x, y).statistic, "pearson": scipy.stats.pearsonr(x, y).statistic,
               "ranks": scipy.stats.rankdata(x).tolist()}
print(json.dumps({"queries": queries, "correlation": correlation}, indent=1))
