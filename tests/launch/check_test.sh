#!/usr/bin/env bash
# lodestone check: the plan as JSON lines, the report, and the errors that training would meet.
#   check_test.sh BINARY SOURCE_DIR
set -uo pipefail
lodestone=$1
support=$2/tests/support
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
passed=0
failed=0

ok() { passed=$((passed + 1)); echo "ok    $1"; }
bad() { failed=$((failed + 1)); echo "FAIL  $1"; tail -n 5 out.log err.log; }
expect() {  # expect NAME CODE ARGUMENT...: lodestone check run.yaml ARGUMENT... ends with CODE
  local name=$1 code=$2
  shift 2
  "$lodestone" check run.yaml "$@" > out.log 2> err.log
  local got=$?
  if [ $got -eq "$code" ]; then ok "$name"; else bad "$name (exit code $got, expected $code)"; fi
}
says() { if grep -qF -- "$2" "$3"; then ok "$1"; else bad "$1 ('$2' is missing)"; fi; }

mkdir vocab
python3 - <<'PY'
import json
letters = "abcdefghijklmnopqrstuvwxyz"
tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ":"] + list(letters) + ["##" + c for c in letters]
open("vocab/vocab.txt", "w").write("\n".join(tokens) + "\n")
json.dump({"do_lower_case": True, "tokenizer_class": "BertTokenizer"}, open("vocab/tokenizer_config.json", "w"))
json.dump({"model_type": "bert", "architectures": ["BertModel"], "vocab_size": len(tokens), "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
           "intermediate_size": 64, "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1,
           "max_position_embeddings": 64, "type_vocab_size": 2, "initializer_range": 0.05, "layer_norm_eps": 1e-12}, open("config.json", "w"))
def row(i, source):  # queries of 3 tokens, passages of 5
    return json.dumps({"query": "a b " + letters[i % 26], "pos": ["c d e f " + letters[i % 26]], "source": source}) + "\n"
open("train.jsonl", "w").write("".join(row(i, "ab"[i % 2]) for i in range(100)) + "".join(row(i, "small") for i in range(5)) + "".join(row(i, "tiny") for i in range(7)))
PY
cat > run.yaml <<'YAML'
model: {config: config.json, vocab: vocab}
data: {train: corpus, query_max_len: 32, passage_max_len: 32, small_sources: merge}
train: {output_dir: new/run, global_batch: 10, steps: 30, precision: f32, threads: 1}
YAML
"$lodestone" pack --tokenizer vocab --output corpus train.jsonl > out.log 2> err.log || bad "pack"

expect "a good configuration" 0
says "negatives per query" "9 negatives per query" out.log
says "tokens per step" "120 per step" out.log
says "merged sources" "other: 12 rows" out.log
says "resolved configuration" "learning_rate" out.log
if [ -e new ]; then bad "checking makes no folder"; else ok "checking makes no folder"; fi

expect "plan" 0 --steps 40
cp out.log plan.jsonl
if python3 - <<'PY'
import json
steps = [json.loads(line) for line in open("plan.jsonl")]
assert [s["step"] for s in steps] == list(range(30)), "the plan has 30 steps"
seen = {}
for s in steps:
    (part,) = s["parts"]
    assert part["task"] == "retrieval" and len(set(part["rows"])) == 10
    epoch = seen.setdefault((part["source"], part["epoch"]), [])
    assert not set(epoch) & set(part["rows"]), "a row twice in an epoch"
    epoch += part["rows"]
assert {source for source, _ in seen} == {"a", "b", "other"}
PY
then ok "the plan is 30 homogeneous steps"; else bad "the plan is 30 homogeneous steps"; fi
expect "mixed batches" 0 --steps 2 data.batching=mixed data.small_sources=refuse
says "they are of all sources" '"source":"all"' out.log
"$support/mpirun.sh" 3 "$lodestone" check run.yaml --steps 40 > out.log 2> err.log
if cmp -s out.log plan.jsonl; then ok "3 ranks have the same plan"; else bad "3 ranks have the same plan"; fi
expect "explicit ranks" 0 --ranks 4 loss.negatives_cross_device=false
says "negatives of one rank" "1 to 2 negatives per query" out.log

expect "a source of half batches" 0 --ranks 2 data.rules.a.match=a data.rules.a.half_batch=true
says "whose queries have fewer negatives" "5 queries x 1 passage over all ranks, 4 negatives per query: a" out.log
says "than the others" "10 queries x 1 passage over all ranks, 9 negatives per query: b, other" out.log
expect "a source without any negatives" 2 data.rules.b.match=b data.rules.b.use_inbatch_neg=false
says "is named" "queries of the source b are compared with nothing: its groups are of 1 passage, and it has no in-batch negatives" err.log
expect "one query a rank, and no other rank's passages" 2 --ranks 10 loss.negatives_cross_device=false
says "leave nothing to compare" "no other query's passages are candidates" err.log
expect "one query a rank among all passages" 0 --ranks 10

expect "small sources" 2 data.small_sources=refuse
says "they are named" "small (5 rows), tiny (7 rows)" err.log
expect "negatives that do not exist" 3 data.train_group_size=2
says "the row is named" "row=" err.log
expect "a prompt that ends inside a word" 2 data.query_prompt=find
says "the prompt is named" '"find"' err.log
expect "a prompt that ends with punctuation" 0 data.query_prompt=find:
expect "more ranks than rows" 2 --ranks 11
expect "a run folder below a file" 5 train.output_dir=run.yaml/run
expect "a run folder where nothing can be made" 5 train.output_dir=/proc/run
says "is found out by writing" "F21 the run folder cannot be written" err.log
expect "longer texts than the model's" 2 data.query_max_len=65
expect "no such corpus" 3 data.train=nowhere
expect "a number of steps that is none" 2 --steps x

python3 - <<'PY'
import json
open("known.jsonl", "w").write("".join(json.dumps({"query": "a b c", "pos": [f"c d {'xyz'[i % 3]}"], "neg": [f"c d {'xyz'[i % 3]}", "e f g"]}) + "\n" for i in range(20)))
PY
"$lodestone" pack --tokenizer vocab --output known known.jsonl > out.log 2> err.log || bad "pack"
expect "positives among the negatives" 0 data.train=known data.train_group_size=2 train.steps=2
says "are counted" "in 20 rows a positive stands among the negatives; 20 negatives are left out" out.log
expect "mining in a run of one epoch" 0 data.train=known data.train_group_size=2 train.steps=2 data.select_negative=window mining.negatives=1 mining.every=1
says "says that no score can fall" "mining replaces nothing: no row is trained on twice" out.log
says "and that no list goes on" "no row has more than 1 to choose from, and replacing needs 11" out.log

# What a large GPU keeps is more than the step memory of a CPU: 84 GiB of activations, of which nothing is touched here.
if "$lodestone" check --without-data --ranks 1 "$2/configs/gte-pretrain.yaml" device=cpu train.step_memory_mb=200000 train.keep_activations_mb=130000 > out.log 2> err.log; then
  says "memory beyond 64 GiB is found" "4096 of 4096 chunks kept" out.log
else
  bad "memory beyond 64 GiB is found"
fi

echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
