#!/usr/bin/env bash
# Does `lodestone merge` mix folders and checkpoints as its options say, say what it did, and refuse the rest in one line?
#   merge_test.sh BINARY SOURCE_DIR
set -uo pipefail
lodestone=$1
. "$2/tests/support/tiny_run.sh"

python3 - <<'PY'
import json, os
rows = [json.loads(line) for line in open("heldout.jsonl")]
os.makedirs("beir/qrels")
def write(name, items): open(name, "w").write("".join(json.dumps(item) + "\n" for item in items))
write("beir/corpus.jsonl", ({"_id": f"d{i}", "text": r["pos"][0]} for i, r in enumerate(rows)))
write("beir/queries.jsonl", ({"_id": f"q{i}", "text": r["query"]} for i, r in enumerate(rows)))
open("beir/qrels/test.tsv", "w").write("query-id\tcorpus-id\tscore\n" + "".join(f"q{i}\td{i}\t1\n" for i in range(len(rows))))
write("examples.jsonl", (r | {"neg": [rows[i - 1]["pos"][0], rows[i - 2]["pos"][0]]} for i, r in enumerate(rows[:5])))
write("pairs.jsonl", ({"sentence1": r["query"], "sentence2": r["pos"][0], "score": i % 5} for i, r in enumerate(rows)))
PY
cat > report.py <<'PY'
import json, sys
report = json.load(open(sys.argv[1] + "/merge.json"))
models = report["models"]
weights, losses, scores = ([m.get(key) for m in models] for key in ("weight", "loss", "score"))
PY
holds() {  # holds NAME FOLDER: the Python on standard input, which may assert on the folder's merge.json, succeeds
  { echo "from math import *"; cat report.py -; } > check.py
  if python3 check.py "$2" 2> err.log; then ok "$1"; else bad "$1" err.log; fi
}
expect "pack" 0 "$lodestone" pack --tokenizer vocab --output corpus train.jsonl
expect "train" 0 "$lodestone" train run.yaml data.heldout= train.steps=8 train.save_steps=2 train.save_total_limit=4
expect "train another one" 0 "$lodestone" train run.yaml data.heldout= train.steps=2 train.save_steps=0 train.output_dir=other
merge() { "$lodestone" merge "$@"; }

# ---- weights that are given ------------------------------------------------------------------------------------------------
expect "one and zero" 0 merge run/model other/model --weights 1,0 --output first
same "are the first model" run/model/model.safetensors first/model.safetensors
expect "zero and one" 0 merge run/model other/model --weights 0,1 --output second
same "are the second" other/model/model.safetensors second/model.safetensors
expect "a half each" 0 merge run/model other/model --weights 0.5,0.5 --output half
expect "uniform soup" 0 merge run/model other/model --soup uniform --output uniform
same "is the same" half/model.safetensors uniform/model.safetensors
expect "the result is a model" 0 "$lodestone" eval half --beir beir
holds "merge.json says what went in" half <<'PY'
assert report["method"] == "weights" and weights == [0.5, 0.5]
assert [m["path"].split("/")[-2] for m in models] == ["run", "other"] and all(len(m["xxh3"]["model.safetensors"]) == 16 for m in models)
PY
if grep -qF "| run/model | 0.5 |" half/README.md && grep -qxF -- "- merge" half/README.md; then ok "the card too"; else bad "the card too" half/README.md; fi

# ---- checkpoints -----------------------------------------------------------------------------------------------------------
expect "the newest two checkpoints" 0 merge run --checkpoints 2 --soup uniform --output soup
expect "named one by one" 0 merge run/checkpoint-6 run/checkpoint-8 --soup uniform --output named
same "are the same" soup/model.safetensors named/model.safetensors
holds "by their saves" soup <<'PY'
assert [m["what"] for m in models] == ["checkpoint of step 6", "checkpoint of step 8"] and len({m["xxh3"]["save_id"] for m in models}) == 2
PY
expect "a checkpoint is its export" 0 merge run/checkpoint-8 run/model --weights 1,0 --output last
same "bit for bit" run/model/model.safetensors last/model.safetensors

# ---- a few examples ----------------------------------------------------------------------------------------------------------
expect "weights by examples" 0 merge run/model other/model --examples examples.jsonl --negatives 2 --temperature 0.5 --output examples
holds "are a softmax of the losses" examples <<'PY'
parts = [exp(-loss / 0.5) for loss in losses]
assert all(abs(w - p / sum(parts)) < 1e-12 for w, p in zip(weights, parts)) and losses[0] != losses[1], (weights, losses)
assert report["temperature"] == 0.5 and report["examples"] == 5 and report["batch_size"] == 2
PY
refuses "too few negatives" 3 "1 positives and 2 negatives, of which 1 and 7 are needed" merge run/model other/model --examples examples.jsonl --output no
refuses "a temperature of nothing" 2 "--temperature must be a number above 0" merge run/model other/model --examples examples.jsonl --temperature 0 --output no

# ---- a greedy soup -----------------------------------------------------------------------------------------------------------
expect "greedy soup" 0 merge run --checkpoints 4 --soup greedy --beir beir --output greedy
expect "is evaluated again" 0 "$lodestone" eval greedy --beir beir --output results --task greedy
holds "scores no less than the best model, and as eval says" greedy <<'PY'
again = json.load(open("results/greedy.json"))["scores"]["test"][0]["main_score"]
assert report["method"] == "greedy soup" and report["metric"] == "ndcg_at_10" and report["score"] >= max(scores), report
assert abs(again - report["score"]) < 1e-6, (again, report["score"])   # f32 vectors of other chunks may swap near ties, not here
assert abs(sum(weights) - 1) < 1e-12 and weights[scores.index(max(scores))] > 0 and len(set(weights) - {0}) == 1
PY
expect "by two ranks" 0 mpi 2 "$lodestone" merge run --checkpoints 4 --soup greedy --beir beir --output two-ranks --threads 1
same "is the same" greedy/model.safetensors two-ranks/model.safetensors
expect "by pairs" 0 merge run/model other/model --soup greedy --pairs pairs.jsonl --output by-pairs
expect "by lists" 0 merge run/model other/model --soup greedy --rerank examples.jsonl --output by-lists

# ---- rerankers ------------------------------------------------------------------------------------------------------------------
cat > reranker.yaml <<'YAML'
objective: {name: reranker}
model: {folder: run/model}
data: {train: triples, query_max_len: 16, passage_max_len: 24, train_group_size: 3, batching: mixed}
train: {output_dir: reranker, global_batch: 5, steps: 4, precision: f32, threads: 1, save_steps: 2}
YAML
expect "pack triples" 0 "$lodestone" pack --tokenizer vocab --output triples examples.jsonl
expect "train a reranker" 0 "$lodestone" train reranker.yaml
expect "a soup of its checkpoints" 0 merge reranker --checkpoints 2 --soup greedy --rerank examples.jsonl --output reranker-soup
expect "is a reranker" 0 "$lodestone" eval reranker-soup --rerank examples.jsonl --output results --task rerank
holds "with the score that eval gives it" reranker-soup <<'PY'
again = json.load(open("results/rerank.json"))["scores"]["test"][0]["main_score"]
assert report["metric"] == "map" and abs(again - report["score"]) < 1e-12 and report["score"] >= max(scores), (again, report)
PY
refuses "a reranker on pairs" 2 "these are rerankers, which give no vectors" merge reranker --checkpoints 2 --soup greedy --pairs pairs.jsonl --output no
refuses "a reranker by examples" 2 "these are rerankers: mix them by --weights or --soup" merge reranker --checkpoints 2 --examples examples.jsonl --negatives 2 --output no
refuses "a reranker and an embedder" 4 "a reranker and an embedder: the first model, " merge reranker run/model --weights 0.5,0.5 --output no

# ---- what is refused ----------------------------------------------------------------------------------------------------------
rm -rf no
refuses "too few weights" 2 "--weights has 2 weights for 3 models" merge run/model other/model half --weights 0.5,0.5 --output no
refuses "too few weights of a run" 2 "--weights has 2 weights for 3 models" merge run --checkpoints 3 --weights 0.5,0.5 --output no
refuses "a weight that is no number" 2 '--weights has "nan", which is not a finite number' merge run/model other/model --weights nan,1 --output no
refuses "an empty weight" 2 '--weights has "", which is not a finite number' merge run/model other/model --weights 1, --output no
refuses "a sum that is not one" 2 "--weights sum to 1.2, not to 1" merge run/model other/model --weights 0.6,0.6 --output no
refuses "an output that exists" 2 "the output folder exists already" merge run/model other/model --weights 0.5,0.5 --output half
refuses "a folder that is not there" 4 "this is neither a checkpoint, nor a run folder" merge run/model nowhere --weights 0.5,0.5 --output no
refuses "one model" 2 "give two models or more" merge run/model --weights 1 --output no
refuses "more checkpoints than there are" 2 "the run has 4 checkpoints that verify, 5 are wanted" merge run --checkpoints 5 --soup uniform --output no
refuses "no way to weigh" 2 "give one of --weights, --examples and --soup" merge run/model other/model --output no
refuses "two ways to weigh" 2 "give one of --weights, --examples and --soup" merge run/model other/model --weights 0.5,0.5 --soup uniform --output no
refuses "data of another way" 2 "--beir is for --soup greedy" merge run/model other/model --soup uniform --beir beir --output no
refuses "greedy by nothing" 2 "give one of --beir, --pairs and --rerank to score models by" merge run/model other/model --soup greedy --output no
refuses "no output" 2 "--output is missing" merge run/model other/model --weights 0.5,0.5
sed 's/"num_hidden_layers": 2/"num_hidden_layers": 1/; s/"intermediate_size": 64/"intermediate_size": 48/' config.json > small.json
expect "train a smaller one" 0 "$lodestone" train run.yaml data.heldout= train.steps=1 train.save_steps=0 train.output_dir=small model.config=small.json
refuses "another shape" 4 "its shape is [48,32], that of " merge run/model small/model --weights 0.5,0.5 --output no
says "names tensor and file" "tensor=encoder.layer.0.intermediate.dense.weight file="
cp -r other/model damaged
python3 - <<'PY'
import struct
with open("damaged/model.safetensors", "r+b") as file:
    file.seek(-4, 2)
    file.write(struct.pack("<f", float("nan")))
PY
refuses "a value that is not finite" 4 "weights must be finite" merge run/model damaged --soup uniform --output no
says "names its file" "damaged/model.safetensors"
cp -r other/model foreign
word=$(sed -n 6p foreign/vocab.txt)
sed -i "s/^$word\$/${word}q/" foreign/vocab.txt
sed -i "s/\"$word\":/\"${word}q\":/" foreign/tokenizer.json
refuses "another tokenizer" 4 "its tokenizer is not that of " merge run/model foreign --weights 0.5,0.5 --output no
if [ -e no ]; then bad "nothing is left"; else ok "nothing is left"; fi
all_passed
