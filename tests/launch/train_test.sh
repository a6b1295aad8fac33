#!/usr/bin/env bash
# The whole job on a tiny model: pack, check, train, stop, resume, evaluate, export, and the errors a user meets.
#   train_test.sh BINARY SOURCE_DIR
set -uo pipefail
lodestone=$1
support=$2/tests/support
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
passed=0
failed=0

ok() { passed=$((passed + 1)); echo "ok    $1"; }
bad() { failed=$((failed + 1)); echo "FAIL  $1"; shift; for f in "$@"; do tail -n 5 "$f"; done; }
expect() {  # expect NAME CODE COMMAND...: the exit code is CODE
  local name=$1 code=$2
  shift 2
  "$@" > out.log 2> err.log
  local got=$?
  if [ $got -eq "$code" ]; then ok "$name"; else bad "$name (exit code $got, expected $code)" out.log err.log; fi
}
says() {  # says NAME TEXT: the last command's stderr has the text
  if grep -qF -- "$2" err.log; then ok "$1"; else bad "$1 (stderr lacks '$2')" err.log; fi
}
mpi() { "$support/mpirun.sh" "$@"; }
same() { if cmp -s "$2" "$3"; then ok "$1"; else bad "$1 ($2 and $3 differ)"; fi; }

# ---- a vocabulary, a model shape and a corpus -------------------------------------------------------------------------
mkdir vocab
python3 - <<'PY'
import json, random
random.seed(7)
words = ["".join(random.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(random.randint(3, 7))) for _ in range(300)]
tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + sorted(set(words)) + list("abcdefghijklmnopqrstuvwxyz") + ["##" + c for c in "abcdefghijklmnopqrstuvwxyz"]
open("vocab/vocab.txt", "w").write("\n".join(tokens) + "\n")
json.dump({"do_lower_case": True, "tokenizer_class": "BertTokenizer"}, open("vocab/tokenizer_config.json", "w"))
json.dump({"model_type": "bert", "architectures": ["BertModel"], "vocab_size": len(tokens), "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
           "intermediate_size": 64, "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1,
           "max_position_embeddings": 64, "type_vocab_size": 2, "initializer_range": 0.05, "layer_norm_eps": 1e-12}, open("config.json", "w"))
def row(i):
    topic = random.sample(words, 6)
    return {"query": " ".join(topic[:3]), "pos": [" ".join(topic + random.sample(words, random.randint(1, 10)))], "source": "ab"[i % 2]}
open("train.jsonl", "w").write("".join(json.dumps(row(i)) + "\n" for i in range(400)))
open("heldout.jsonl", "w").write("".join(json.dumps(row(i)) + "\n" for i in range(40)))
PY
cat > run.yaml <<'YAML'
model: {config: config.json, vocab: vocab, pooling: mean}
data: {train: corpus, heldout: heldout, query_max_len: 32, passage_max_len: 32}
train: {output_dir: run, global_batch: 16, steps: 10, precision: f32, threads: 1, chunk_tokens: 128, logging_steps: 1, save_steps: 5, eval_steps: 5}
optim: {learning_rate: 1e-3}
YAML

expect "pack" 0 mpi 2 "$lodestone" pack --tokenizer vocab --output corpus train.jsonl
expect "pack held-out" 0 "$lodestone" pack --tokenizer vocab --output heldout heldout.jsonl
expect "check" 0 "$lodestone" check run.yaml --steps 3
if [ "$(grep -c '"step":' out.log)" -ge 3 ]; then ok "check prints the plan"; else bad "check prints the plan" out.log; fi

# ---- train; resume gives the same bits -------------------------------------------------------------------------------
expect "train on 2 ranks" 0 mpi 2 "$lodestone" train run.yaml train.output_dir=whole
expect "a finished run is refused" 2 mpi 2 "$lodestone" train run.yaml train.output_dir=whole
expect "train alone" 0 "$lodestone" train run.yaml train.output_dir=alone
# The same run, killed after its checkpoint at step 5 and started again.
mkdir -p cut && cp -r whole/checkpoint-5 whole/config.yaml cut/ && grep -E '"step":[0-5],' whole/metrics.jsonl > cut/metrics.jsonl
expect "resume on 2 ranks" 0 mpi 2 "$lodestone" train run.yaml train.output_dir=cut
same "5 + resume + 5 steps give the same weights as 10" whole/model/model.safetensors cut/model/model.safetensors
mkdir -p other && cp -r whole/checkpoint-5 whole/config.yaml other/
expect "resume on 3 ranks" 0 mpi 3 "$lodestone" train run.yaml train.output_dir=other
mkdir -p changed && cp -r whole/checkpoint-5 whole/config.yaml changed/
expect "a checkpoint of another configuration is refused" 4 "$lodestone" train run.yaml train.output_dir=changed optim.learning_rate=2e-3
says "the difference is named" "optim.learning_rate"

# ---- signals -----------------------------------------------------------------------------------------------------------
"$support/mpirun.sh" 2 "$lodestone" train run.yaml train.output_dir=stopped train.steps=100000 train.save_steps=0 train.eval_steps=0 > out.log 2> err.log &
for _ in $(seq 100); do [ -s stopped/metrics.jsonl ] && break; sleep 0.2; done
pkill -USR1 -n -f "$lodestone train run.yaml train.output_dir=stopped" || true
wait $!
code=$?
if [ $code -eq 75 ]; then ok "SIGUSR1 to one rank: all save and exit with 75"; else bad "SIGUSR1 to one rank (exit code $code)" out.log err.log; fi
if ls stopped/checkpoint-* > /dev/null 2>&1; then ok "its checkpoint is there"; else bad "its checkpoint is there" err.log; fi
if grep -q '"stopped"' stopped/status.json; then ok "status.json says stopped"; else bad "status.json says stopped" stopped/status.json; fi

# ---- the model afterwards ----------------------------------------------------------------------------------------------
expect "export a checkpoint" 0 "$lodestone" export whole/checkpoint-5 --output exported
printf 'one text\nanother text\n' > texts.txt
expect "encode" 0 "$lodestone" encode whole/model --input texts.txt --output out.npy
[ -s out.npy ] && ok "encode wrote embeddings" || bad "encode wrote embeddings" err.log
expect "encode to HDF5" 0 "$lodestone" encode whole/model --input texts.txt --output out.h5
[ -s out.h5 ] && ok "encode wrote an HDF5 file" || bad "encode wrote an HDF5 file" err.log
expect "encode to another form" 2 "$lodestone" encode whole/model --input texts.txt --output out.csv

# ---- errors ------------------------------------------------------------------------------------------------------------
expect "unknown key" 2 "$lodestone" train run.yaml train.stepz=3
says "the nearest key is named" "did you mean train.steps?"
expect "unknown command" 2 "$lodestone" trian run.yaml
says "the nearest command is named" "did you mean train?"
expect "no configuration" 2 "$lodestone" train
expect "more ranks than rows" 2 mpi 3 "$lodestone" train run.yaml train.output_dir=few train.global_batch=2
says "allowed ranks are named" "start 1 to 2 ranks"
expect "missing corpus" 3 "$lodestone" train run.yaml train.output_dir=nocorpus data.train=nowhere
printf '{"query": "a", "pos": ["b"]}\n{"query": "a", "pos": ["b"}\n' > broken.jsonl
expect "broken JSONL" 3 mpi 2 "$lodestone" pack --tokenizer vocab --output broken broken.jsonl
says "file and row are named" "broken.jsonl"
if [ -e broken ]; then bad "nothing half-written is left"; else ok "nothing half-written is left"; fi
touch file
expect "run folder is a file" 5 "$lodestone" train run.yaml train.output_dir=file
expect "version" 0 "$lodestone" --version
expect "help" 0 "$lodestone" --help
expect "train help" 0 "$lodestone" train --help

echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
