#!/usr/bin/env bash
# What eval, encode and pack say of splits that are not there, prompts without room, rerankers, run folders and constant scores.
#   eval_test.sh BINARY SOURCE_DIR
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
write("triples.jsonl", (r | {"neg": [rows[i - 1]["pos"][0]]} for i, r in enumerate(rows)))
write("pairs.jsonl", ({"sentence1": r["query"], "sentence2": r["pos"][0], "score": i % 5} for i, r in enumerate(rows)))
write("constant.jsonl", ({"sentence1": r["query"], "sentence2": r["pos"][0], "score": 4} for r in rows))
write("same.jsonl", ({"sentence1": rows[0]["query"], "sentence2": rows[0]["query"], "score": i % 5} for i in range(4)))
open("prompt.txt", "w").write("a b " * 40)
PY
prompt=$(cat prompt.txt)
expect "pack" 0 "$lodestone" pack --tokenizer vocab --output corpus train.jsonl
expect "pack triples" 0 "$lodestone" pack --tokenizer vocab --output triples triples.jsonl
expect "train" 0 "$lodestone" train run.yaml data.heldout= train.steps=2 train.save_steps=0
cat > reranker.yaml <<'YAML'
objective: {name: reranker}
model: {folder: run/model}
data: {train: triples, query_max_len: 16, passage_max_len: 24, train_group_size: 2, batching: mixed}
train: {output_dir: reranker, global_batch: 8, steps: 2, precision: f32, threads: 1, save_steps: 0}
YAML
expect "train a reranker" 0 "$lodestone" train reranker.yaml

# ---- judgements are those of the split that is asked for -----------------------------------------------------------------
refuses "pack a split that is not there" 3 "no judgements qrels/train.tsv; there are: test" "$lodestone" pack --tokenizer vocab --output from-beir beir
refuses "pack another one" 3 "no judgements qrels/dev.tsv; there are: test" "$lodestone" pack --tokenizer vocab --output from-beir --split dev beir
if ls -d from-beir* > /dev/null 2>&1; then bad "nothing is left"; else ok "nothing is left"; fi
refuses "evaluate a split that is not there" 3 "no judgements qrels/dev.tsv; there are: test" "$lodestone" eval run/model --beir beir --split dev --output results
expect "evaluate the one that is there" 0 "$lodestone" eval run/model --beir beir --output results
if grep -q '^beir (test): ' out.log; then ok "it is named"; else bad "it is named" out.log; fi
refuses "a result never overwrites another" 2 "a result of this name is there already" "$lodestone" eval run/model --beir beir --output results
expect "another task in the same folder" 0 "$lodestone" eval run/model --beir beir --output results --task again
refuses "a task that is no file name" 2 "--task names a file, which a/b cannot" "$lodestone" eval run/model --beir beir --output results --task a/b
refuses "fewer documents than the main score needs" 2 "--top-k is 5, not a whole number of at least 10" "$lodestone" eval run/model --beir beir --top-k 5
refuses "a result that cannot be printed" 5 "not all that was printed could be written" sh -c '"$0" eval run/model --beir beir > /dev/full' "$lodestone"

# ---- odd judgements, queries that are documents, ids with blanks ---------------------------------------------------------------
cp -r beir odd
printf 'q0\td0\t1\nq1\td999\t1\n' >> odd/qrels/test.tsv
expect "repeated and missing judgements" 0 "$lodestone" eval run/model --beir odd
says "a repeated one is told" "1 judgements of odd/qrels/test.tsv stand there again (the first in line 42) and count once"
says "a missing document is told" "1 judgements of odd/qrels/test.tsv are of documents that the corpus lacks (the first in line 43)"
refuses "pack needs its text" 3 "a judgement of an unknown document" "$lodestone" pack --tokenizer vocab --output odd-corpus --split test odd
sed -i '$d' odd/qrels/test.tsv
expect "pack takes a repeated judgement once" 0 "$lodestone" pack --tokenizer vocab --output odd-corpus --split test odd
says "and tells it" "warning: 1 judgements of odd/qrels/test.tsv stand there again"
if grep -q '^packed 40 rows' out.log; then ok "it is one row"; else bad "it is one row" out.log; fi
cp -r beir own
sed 's/"_id": "q/"_id": "d/' own/queries.jsonl > q && mv q own/queries.jsonl
sed -i 's/^q\([0-9]\)/d\1/' own/qrels/test.tsv
expect "queries with the ids of documents" 0 "$lodestone" eval run/model --beir own --output results
if grep -q '^notice: 40 queries have the id of a document (0 its text too; for 40 it is judged relevant): it is left out' out.log
then ok "a notice tells"; else bad "a notice tells" out.log; fi
if awk '$1 == $3' results/own.trec | grep -q .; then bad "no query finds itself" results/own.trec; else ok "no query finds itself"; fi
expect "unless asked for" 0 "$lodestone" eval run/model --beir own --output results --task kept --own-document keep
if awk '$1 == $3' results/kept.trec | grep -q .; then ok "then it does"; else bad "then it does" results/kept.trec; fi
cp -r beir blanks
sed -i 's/"d3"/"doc 3"/' blanks/corpus.jsonl
sed -i 's/\td3\t/\tdoc 3\t/' blanks/qrels/test.tsv
expect "ids with blanks without a run" 0 "$lodestone" eval run/model --beir blanks
refuses "ids with blanks in a run" 3 "an id with white space cannot stand in a TREC run" "$lodestone" eval run/model --beir blanks --output results

# ---- which of a folder's prompts passages get; a vocabulary that was cut ------------------------------------------------------
for prompts in '{"passage": "b c d e: ", "document": "a: "}' '{"document": "a: "}' '{"corpus": "b c: ", "passage": "a: "}' '{"passage": "a: "}'; do
  rm -rf prompted
  cp -r run/model prompted
  echo "{\"prompts\": $prompts}" > prompted/config_sentence_transformers.json
  expect "the prompts $prompts" 0 "$lodestone" eval prompted --beir beir --output "results/$((n = ${n:-0} + 1))" --task t
done
if cmp -s results/1/t.trec results/2/t.trec; then ok "document comes before passage"; else bad "document comes before passage"; fi
if cmp -s results/3/t.trec results/4/t.trec; then ok "passage comes before corpus"; else bad "passage comes before corpus"; fi
cp -r run/model cut
rm cut/tokenizer.json
sed -i '$d' cut/vocab.txt
expect "encode with a vocabulary that was cut" 0 "$lodestone" encode cut --input heldout.jsonl --field query --output cut.npy
says "it is told" "tokens may be missing; file=cut"

mv beir/qrels/test.tsv beir/qrels/dev.tsv
refuses "the default is not there" 3 "no judgements qrels/test.tsv; there are: dev" "$lodestone" eval run/model --beir beir

# ---- prompts as long as a text may be ----------------------------------------------------------------------------------------
for command in "encode run/model --input heldout.jsonl --field query --output out.npy --prompt" "eval run/model --pairs pairs.jsonl --query-prompt" \
               "eval run/model --rerank triples.jsonl --passage-prompt"; do
  refuses "$command" 2 "leave no room for a text" "$lodestone" $command "$prompt"
done
refuses "a reranker's prompts" 2 "a query of at most" "$lodestone" eval reranker/model --rerank triples.jsonl --query-prompt "$prompt"
if [ -e out.npy ]; then bad "nothing is written"; else ok "nothing is written"; fi
expect "a prompt that fits" 0 "$lodestone" encode run/model --input heldout.jsonl --field query --output out.npy --prompt "a b"
refuses "the same with shorter texts" 2 "give --max-len 5 or more" "$lodestone" encode run/model --input heldout.jsonl --field query --output out2.npy --prompt "a b" --max-len 4

# ---- texts of JSON lines -----------------------------------------------------------------------------------------------------
python3 -c '
import json
texts = [json.loads(line)["query"] for line in open("heldout.jsonl")]
open("lines.txt", "w").write("".join(t + "\n" for t in texts))
open("named.jsonl", "w").write("".join(json.dumps({"_id": str(i), "text": t}) + "\n" for i, t in enumerate(texts)))'
expect "texts one a line" 0 "$lodestone" encode run/model --input lines.txt --output lines.npy
expect "texts of JSON lines" 0 "$lodestone" encode run/model --input named.jsonl --output named.npy
expect "in a field of another name" 0 "$lodestone" encode run/model --input heldout.jsonl --field query --output field.npy
if cmp -s lines.npy named.npy && cmp -s lines.npy field.npy; then ok "have the same vectors"; else bad "have the same vectors"; fi
refuses "JSON lines without texts" 3 "the object has no field text; it has query" "$lodestone" encode run/model --input heldout.jsonl --output none.npy
cp named.jsonl odd.txt
refuses "JSON lines of another name" 3 "give --format jsonl" "$lodestone" encode run/model --input odd.txt --output none.npy
refuses "a field of lines" 2 "--field names a field of JSON lines" "$lodestone" encode run/model --input lines.txt --format text --field query --output none.npy

# ---- what is near is said by the folder: in eval, and of held-out rows while training -----------------------------------------
python3 - <<'PY'
import json, shutil
for name in ("cosine", "dot"):
    shutil.copytree("run/model", f"raw-{name}")
    modules = [m for m in json.load(open("run/model/modules.json")) if "Normalize" not in m["type"]]
    json.dump(modules, open(f"raw-{name}/modules.json", "w"))
    json.dump({"similarity_fn_name": name}, open(f"raw-{name}/config_sentence_transformers.json", "w"))
PY
expect "pack scored pairs" 0 "$lodestone" pack --tokenizer vocab --output scored pairs.jsonl
for name in cosine dot; do
  expect "evaluate by $name" 0 "$lodestone" eval raw-$name --pairs pairs.jsonl --output results --task raw-$name
  expect "train a folder of $name" 0 "$lodestone" train run.yaml data.train=scored data.heldout=scored loss.name=cosent model.config= model.vocab= model.folder=raw-$name \
    train.steps=1 train.output_dir=near-$name
done
if python3 - <<'PY'
import json
def first(name): return next(r["heldout_spearman"] for r in map(json.loads, open(f"near-{name}/metrics.jsonl")) if "heldout_spearman" in r)
for name in ("cosine", "dot"):
    evaluated = json.load(open(f"results/raw-{name}.json"))["scores"]["test"][0][f"{name}_spearman"]
    assert abs(first(name) - evaluated) < 1e-3, (name, first(name), evaluated)
assert abs(first("cosine") - first("dot")) > 1e-2, (first("cosine"), first("dot"))
PY
then ok "both correlate alike"; else bad "both correlate alike" near-dot/metrics.jsonl; fi
refuses "scored pairs as positives" 3 "set data.positive_score_min to the score from which a pair is a positive" "$lodestone" check run.yaml data.train=scored data.heldout= train.output_dir=near
expect "from a score on" 0 "$lodestone" check run.yaml data.train=scored data.heldout= train.output_dir=near data.positive_score_min=3
if grep -q "^  sources .*: 16 rows" out.log; then ok "those below are left out"; else bad "those below are left out" out.log; fi

# ---- rerankers give no vectors ---------------------------------------------------------------------------------------------
refuses "encode with a reranker" 2 "this is a reranker, which gives no vectors" "$lodestone" encode reranker/model --input heldout.jsonl --field query --output out3.npy
refuses "pairs for a reranker" 2 "this is a reranker, which gives no vectors" "$lodestone" eval reranker/model --pairs pairs.jsonl

# ---- correlations that do not exist ------------------------------------------------------------------------------------------
expect "scored pairs" 0 "$lodestone" eval run/model --pairs pairs.jsonl --output results
if grep -q '^pairs (test): 40 pairs,' out.log && grep -q '"pairs": 40' results/pairs.json; then ok "pairs are called pairs"; else bad "pairs are called pairs" out.log; fi
printf 'a cat,a dog,2.5\na car,a bus,3\na b,c d,1\n' > bare.csv
{ echo premise,hypothesis,label; cat bare.csv; } > headed.csv
refuses "a table without a header" 2 "name the columns, for example --columns" "$lodestone" eval run/model --pairs bare.csv
expect "with named columns" 0 "$lodestone" eval run/model --pairs bare.csv --columns sentence1,sentence2,score
refuses "a header that names other columns" 2 "the first line may be a header (premise, hypothesis, label)" "$lodestone" eval run/model --pairs headed.csv --columns sentence1,sentence2,score
expect "a header passed over" 0 "$lodestone" eval run/model --pairs headed.csv --columns sentence1,sentence2,score --header yes
if grep -q ': 3 pairs,' out.log; then ok "it is no pair"; else bad "it is no pair" out.log; fi
refuses "columns of a BEIR folder" 2 "--columns is for --pairs and --rerank" "$lodestone" eval run/model --beir beir --columns a,b
sed 's/^{/{"note": 1, "other_2": "b", /' pairs.jsonl > noted.jsonl
expect "pairs with other fields" 0 "$lodestone" eval run/model --pairs noted.jsonl
if grep -qx 'fields ignored: note other_2' out.log; then ok "they are named"; else bad "they are named" out.log; fi
sed 's/^{/{"note": 1, /' triples.jsonl > noted.jsonl
expect "lists with other fields" 0 "$lodestone" eval run/model --rerank noted.jsonl
if grep -qx 'fields ignored: note' out.log; then ok "they are named too"; else bad "they are named too" out.log; fi
refuses "constant scores" 3 "the score of all 40 pairs is 4" "$lodestone" eval run/model --pairs constant.jsonl
refuses "constant cosines" 6 "the cosine of all 4 pairs is" "$lodestone" eval run/model --pairs same.jsonl

# ---- what is missing, and where it is ----------------------------------------------------------------------------------------
refuses "encode with a run folder" 4 "do: give run/model" "$lodestone" encode run --input heldout.jsonl --field query --output out4.npy
refuses "eval of a run folder" 4 "do: give run/model" "$lodestone" eval run --pairs pairs.jsonl
refuses "train from a run folder" 4 "run/model" "$lodestone" train run.yaml data.heldout= train.output_dir=next model.config= model.vocab= model.folder=run
refuses "a reranker from one" 4 "run/model" "$lodestone" train reranker.yaml train.output_dir=next2 model.folder=run
refuses "a folder without a model" 4 "do: give a folder with config.json" "$lodestone" encode vocab --input heldout.jsonl --field query --output out4.npy
refuses "no config.json" 4 "; do: check its path" "$lodestone" train run.yaml data.heldout= train.output_dir=next3 model.config=nowhere.json
refuses "no texts" 3 "; do: check its path" "$lodestone" encode run/model --input nowhere.txt --output out4.npy

all_passed
