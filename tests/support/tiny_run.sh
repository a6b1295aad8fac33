# Sourced by the shell tests: a temporary folder to work in, counted expectations, and a tiny model, corpus and configuration.
# Needs $lodestone, the binary; $0's second argument is the source folder.
support=$2/tests/support
dir=$(mktemp -d)
trap '[ $BASHPID -ne $$ ] || rm -rf "$dir"' EXIT   # not in a child that a signal ends
cd "$dir" || exit 1
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
refuses() {  # refuses NAME CODE TEXT COMMAND...: the exit code is CODE, and stderr is one line that has TEXT
  local name=$1 code=$2 text=$3
  shift 3
  expect "$name" "$code" "$@"
  if [ "$(grep -c . err.log)" -eq 1 ]; then ok "$name: one line"; else bad "$name: one line" err.log; fi
  says "$name: '$text'" "$text"
}
mpi() { "$support/mpirun.sh" "$@"; }
background() {  # background COMMAND...: starts it as `pid`; out.log is its own from the first moment on, and nobody reads an earlier one
  rm -f out.log err.log
  "$@" > out.log 2> err.log &
  pid=$!
}
same() { if cmp -s "$2" "$3"; then ok "$1"; else bad "$1 ($2 and $3 differ)"; fi; }

all_passed() {  # the last line of a test: how many passed; fails when one failed
  echo "$passed passed, $failed failed"
  [ $failed -eq 0 ]
}
wait_until() {  # wait_until SECONDS COMMAND...: true as soon as the command is
  local end=$((SECONDS + $1))
  shift
  until "$@"; do
    [ $SECONDS -lt $end ] || return 1
    sleep 0.1
  done
}
await() {  # await PID: `code` is the exit code of a child, which is killed after a minute
  ( sleep 60 && kill -KILL "$1" ) > /dev/null 2>&1 &
  local guard=$!
  wait "$1"
  code=$?
  pkill -P $guard
  kill $guard 2> /dev/null   # where it has no sleep yet to be killed
  wait $guard 2> /dev/null
}

# vocab/, config.json (2 layers of 32), train.jsonl (400 pairs), heldout.jsonl (40) and run.yaml (10 steps of 16 pairs, a checkpoint at 5).
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
