#!/usr/bin/env bash
# eval --pair-classification, --classification and --clustering, average and grade: docs/evaluate.md's commands, refusals, ranks.
#   labelled_test.sh BINARY SOURCE_DIR
set -uo pipefail
lodestone=$1
. "$2/tests/support/tiny_run.sh"

python3 - <<'PY'
import json, os
rows = [json.loads(line) for line in open("heldout.jsonl")]
queries, passages = [r["query"] for r in rows], [r["pos"][0] for r in rows]
def write(name, items): open(name, "w").write("".join(json.dumps(item) + "\n" for item in items))
os.makedirs("beir/qrels")
write("beir/corpus.jsonl", ({"_id": f"d{i}", "text": p} for i, p in enumerate(passages)))
write("beir/queries.jsonl", ({"_id": f"q{i}", "text": q} for i, q in enumerate(queries)))
open("beir/qrels/test.tsv", "w").write("query-id\tcorpus-id\tscore\n" + "".join(f"q{i}\td{i}\t1\n" for i in range(40)))
write("scored.jsonl", ({"sentence1": q, "sentence2": p, "score": i % 5} for i, (q, p) in enumerate(zip(queries, passages))))
write("lists.jsonl", ({"query": q, "pos": [p], "neg": [passages[i - 1], passages[i - 2]]} for i, (q, p) in enumerate(zip(queries, passages))))
write("pairs.jsonl", ({"sentence1": q, "sentence2": passages[i - i % 2], "label": 1 - i % 2, "idx": i} for i, q in enumerate(queries)))
write("one.jsonl", ({"sentence1": q, "sentence2": p, "label": 1} for q, p in zip(queries, passages)))
write("same.jsonl", ({"sentence1": queries[0], "sentence2": queries[0], "label": i % 2} for i in range(4)))
os.mkdir("intents")
texts = [{"text": passages[i % 8] + " " + queries[i % 40], "label": i % 8 % 3} for i in range(300)]
write("intents/train.jsonl", texts[:160])
write("intents/test.jsonl", texts[160:])
write("splits.jsonl", (t | {"split": "train" if i < 160 else "test"} for i, t in enumerate(texts)))
write("single.jsonl", (t | {"split": "train" if i < 160 else "test", "label": 3} for i, t in enumerate(texts)))
write("sets.jsonl", ({"sentences": [t["text"] for t in part], "labels": [t["label"] for t in part]} for part in (texts[:100], texts[100:180])))
PY
printf '%s\n' '{"prediction": "The Moon.", "answers": ["sun", "moon"], "id": 1}' '{"prediction": "a red cat", "answers": "old red dog"}' \
  '{"log_probabilities": [-0.69314718056, -2.07944154168]}' > answers.jsonl
expect "pack" 0 "$lodestone" pack --tokenizer vocab --output corpus train.jsonl
expect "train" 0 "$lodestone" train run.yaml data.heldout= train.steps=2 train.save_steps=0

# ---- every command of the document ---------------------------------------------------------------------------------------------
documented=0
while IFS= read -r line; do
  documented=$((documented + 1))
  expect "docs/evaluate.md: ${line%%  *}" 0 bash -c "lodestone() { '$lodestone' \"\$@\"; }; $line"
done < <(sed -n '/^```sh$/,/^```$/p' "$2/docs/evaluate.md" | grep '^lodestone ')
if [ "$documented" -eq 8 ]; then ok "eight commands are documented"; else bad "eight commands are documented ($documented)"; fi
if grep -q '^pair_classification  *1 of  2 ' out.log && grep -q '^all data sets  *3 of 35 ' out.log && grep -q '^missing, .* T2Retrieval ' out.log
then ok "averages say what is missing"; else bad "averages say what is missing" out.log; fi
if python3 - <<'PY'
import json
def scores(task): return json.load(open(f"results/{task}.json"))["scores"]["test"][0]
pairs, classes, sets = scores("Ocnli"), scores("TNews"), scores("CLSClusteringS2S")
assert pairs["main_score"] == pairs["max_ap"] == max(pairs[k + "_ap"] for k in ("cosine", "dot", "manhattan", "euclidean", "similarity"))
assert len(classes["scores_per_experiment"]) == 10 and classes["main_score"] == classes["accuracy"]
assert abs(classes["accuracy"] - sum(e["accuracy"] for e in classes["scores_per_experiment"]) / 10) < 1e-12
assert len(sets["v_measures"]) == 2 and abs(sum(sets["v_measures"]) / 2 - sets["main_score"]) < 1e-12
PY
then ok "results have MTEB's layout"; else bad "results have MTEB's layout"; fi

# ---- the same figures on any number of ranks, and in any form of the data ----------------------------------------------------------
for ranks in 1 2 3; do
  expect "pairs on $ranks ranks" 0 mpi $ranks "$lodestone" eval run/model --pair-classification pairs.jsonl --threads 1 --output r$ranks
  expect "classes on $ranks ranks" 0 mpi $ranks "$lodestone" eval run/model --classification intents --threads 1 --output r$ranks
  expect "clusters on $ranks ranks" 0 mpi $ranks "$lodestone" eval run/model --clustering sets.jsonl --threads 1 --output r$ranks
  for task in pairs intents sets; do sed -i '/"evaluation_time"/d' r$ranks/$task.json; done
done
for task in pairs intents sets; do
  same "$task: 1 and 2 ranks" r1/$task.json r2/$task.json
  same "$task: 1 and 3 ranks" r1/$task.json r3/$task.json
done
expect "splits named by rows" 0 "$lodestone" eval run/model --classification splits.jsonl --threads 1 --output r1 --task intents-too
if [ "$(grep -c accuracy r1/intents-too.json)" -eq 11 ] && diff <(grep accuracy r1/intents.json) <(grep accuracy r1/intents-too.json) > /dev/null
then ok "are the same rows"; else bad "are the same rows"; fi
expect "another seed" 0 "$lodestone" eval run/model --classification intents --seed 7 --threads 1 --output r1 --task seed
if cmp -s <(grep accuracy r1/intents.json) <(grep accuracy r1/seed.json); then bad "draws other rows"; else ok "draws other rows"; fi

expect "texts of a language" 0 "$lodestone" eval run/model --clustering sets.jsonl --language cmn-Hans --output r1 --task language
if python3 -c 'import json; assert [json.load(open(f"r1/{t}.json"))["scores"]["test"][0]["languages"] for t in ("language", "sets")] == [["cmn-Hans"], ["und-Zyyy"]]'
then ok "results name it, or an undetermined one"; else bad "results name it, or an undetermined one"; fi

# ---- answers of a language model ---------------------------------------------------------------------------------------------------
expect "score answers" 0 "$lodestone" grade answers.jsonl
if diff - out.log <<'TXT'
fields ignored: id
2 answers
  exact_match  0.50000
  rouge_l      0.70000
2 tokens
  perplexity   4.00000
TXT
then ok "as worked by hand"; else bad "as worked by hand" out.log; fi
refuses "rows without answers" 3 "a row without prediction and without log_probabilities" "$lodestone" grade pairs.jsonl

# ---- what is refused -------------------------------------------------------------------------------------------------------------
expect "other fields" 0 "$lodestone" eval run/model --pair-classification pairs.jsonl
if grep -qx 'fields ignored: idx' out.log; then ok "other fields are named"; else bad "other fields are named" out.log; fi
refuses "pairs of one label" 3 "all 40 pairs have the label 1" "$lodestone" eval run/model --pair-classification one.jsonl
refuses "pairs of one cosine" 6 "the cosine of all 4 pairs is" "$lodestone" eval run/model --pair-classification same.jsonl
cp -r run/model damaged
python3 - <<'PY'
import json, struct
words = open("vocab/vocab.txt").read().split()
word = json.loads(open("pairs.jsonl").readlines()[6])["sentence1"].split()[0]
first = next(i for i, line in enumerate(open("pairs.jsonl")) if word in json.loads(line)["sentence1"].split())
data = bytearray(open("damaged/model.safetensors", "rb").read())
size = struct.unpack("<Q", data[:8])[0]
table = next(t for name, t in json.loads(data[8:8 + size]).items() if name.endswith("word_embeddings.weight"))
width = table["shape"][1]
at = 8 + size + table["data_offsets"][0] + words.index(word) * width * 4
data[at:at + 4 * width] = struct.pack("<f", 3e38) * width   # finite, but their sum is not
open("damaged/model.safetensors", "wb").write(data)
open("row.txt", "w").write(f"an embedding of sentences 1 is not finite; row={first + 1}")
PY
refuses "an embedding that is not finite" 6 "$(cat row.txt)" "$lodestone" eval damaged --pair-classification pairs.jsonl
refuses "classes of one label" 3 "all labels of the split train are 3" "$lodestone" eval run/model --classification single.jsonl
refuses "a split that is not there" 3 "no dev.jsonl" "$lodestone" eval run/model --classification intents --split dev
refuses "rows of another task" 3 "a row without sentences" "$lodestone" eval run/model --clustering pairs.jsonl
refuses "two tasks" 2 "give one of --beir" "$lodestone" eval run/model --clustering sets.jsonl --pairs scored.jsonl
refuses "an option of another task" 2 "--experiments is for --classification" "$lodestone" eval run/model --clustering sets.jsonl --experiments 3
refuses "a seed of two tasks" 2 "--seed is for --classification and --clustering" "$lodestone" eval run/model --pairs scored.jsonl --seed 3
refuses "no experiments" 2 "--experiments is 0" "$lodestone" eval run/model --classification intents --experiments 0
mkdir other
printf '%s' '{"task_name": "STS12", "mteb_version": "2.26.24", "scores": {"test": [{"main_score": 0.5, "ap": NaN, "hf_subset": "NaN \" \\"}]}}' > other/a.json
printf '%s' '{"task_name": "STS13", "scores": {"test": [{"main_score": 0.25, "hf_subset": "de"}, {"main_score": 0.75, "hf_subset": "en"}], "dev": [{"main_score": -Infinity}]}}' > other/b.json
printf '%s' '{"name": "a model"}' > other/model_meta.json
expect "averages of what mteb wrote" 0 "$lodestone" average other --benchmark mteb_english
if grep -q '^other/b.json is left out: it has several splits; name one with --split' out.log && grep -q '^sts  *1 of 10  *50.00$' out.log; then ok "of one split"; else bad "of one split" out.log; fi
expect "averages of a split" 0 "$lodestone" average other --benchmark mteb_english --split test
if grep -q '^sts  *2 of 10  *62.50$' out.log; then ok "have the English subset of several"; else bad "have the English subset of several" out.log; fi
expect "averages of the other language" 0 "$lodestone" average results --benchmark c_mteb
for forum in Android English Gaming Gis Mathematica Physics Programmers Stats Tex Unix Webmasters Wordpress; do
  printf '{"task_name": "CQADupstack%sRetrieval", "scores": {"test": [{"main_score": 0.%s, "hf_subset": "default"}]}}' $forum ${#forum} > other/$forum.json
done
expect "averages with forums" 0 "$lodestone" average other --benchmark mteb_english --split test
if grep -q '^retrieval  *1 of 15  *45.17$' out.log; then ok "twelve forums are one data set"; else bad "twelve forums are one data set" out.log; fi
echo '{"task_name": ' > other/c.json
refuses "averages of what is no JSON" 3 "file=other/c.json" "$lodestone" average other --benchmark mteb_english
refuses "averages of nothing" 3 "no result of a data set of this benchmark" "$lodestone" average r1 --benchmark mteb_english
refuses "averages of no folder" 2 "cannot read the folder" "$lodestone" average nowhere --benchmark c_mteb
refuses "averages of no benchmark" 2 "give --benchmark" "$lodestone" average results
refuses "averages of another benchmark" 2 "c_mteb" "$lodestone" average results --benchmark beir
mkdir twice
cp results/Ocnli.json twice/a.json
cp results/Ocnli.json twice/b.json
refuses "two results of one data set" 3 "two results of Ocnli" "$lodestone" average twice --benchmark c_mteb

all_passed
