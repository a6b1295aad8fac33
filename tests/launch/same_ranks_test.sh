#!/usr/bin/env bash
# Ranks that were not started alike: another program, configuration, model, weights, tokenizer or corpus of one rank is one line, before a step.
#   same_ranks_test.sh BINARY SOURCE_DIR
set -uo pipefail
lodestone=$1
. "$2/tests/support/tiny_run.sh"

expect "pack" 0 "$lodestone" pack --tokenizer vocab --output corpus train.jsonl
expect "pack held-out rows" 0 "$lodestone" pack --tokenizer vocab --output heldout heldout.jsonl
expect "train a model to start from" 0 "$lodestone" train run.yaml train.output_dir=first train.steps=2 train.save_steps=0
cp -r first/model warm

# Each rank works in a folder of its own, and everything is named by way of it, so that one name may be two things: what lies in host-1 is
# changed, host-0 is what the others have.
own=/proc/self/cwd
for host in host-0 host-1; do
  mkdir $host
  cp -r vocab config.json corpus heldout run.yaml warm $host/
done
cat > rank.sh <<'SH'
#!/usr/bin/env bash
if [ "$OMPI_COMM_WORLD_RANK" = 1 ]; then cd host-1 && exec "${CHANGED_PROGRAM:-$PROGRAM}" "$@"; fi
cd host-0 && exec "$PROGRAM" "$@"
SH
chmod +x rank.sh
export PROGRAM=$lodestone
start() {
  mpi 3 ./rank.sh train run.yaml train.output_dir="$dir/run" model.config=$own/config.json model.vocab=$own/vocab data.train=$own/corpus data.heldout=$own/heldout "$@"
}
differ() {  # differ NAME TEXT OVERRIDE...: the start is refused in one line that names rank 1 and has TEXT; nothing is written
  local name=$1 text=$2
  shift 2
  expect "$name" 2 start "$@"
  if [ "$(grep -c '^error: ' err.log)" -eq 1 ]; then ok "$name: one line"; else bad "$name: one line" err.log; fi
  says "$name: '$text'" "error: F12 rank 1 of 3 differs from most in the $text"
  says "$name: rank and host" "; rank=1 host=$(hostname)"
  if ls -d run/checkpoint-* > /dev/null 2>&1; then bad "$name: no step was made"; else ok "$name: no step was made"; fi
}

python3 - "$lodestone" <<'PY'
import sys
program = bytearray(open(sys.argv[1], "rb").read())
at = program.find(b"Trains the model that the configuration describes")   # a text of its help
program[at] ^= 32
open("changed", "wb").write(program)
PY
chmod +x changed
CHANGED_PROGRAM=$dir/changed differ "another program" "program: checksum of the file is "
CHANGED_PROGRAM=$dir/changed expect "another program, in any command" 2 mpi 3 ./rank.sh encode warm --input run.yaml --output "$dir/out.npy"
says "it is named" "differs from most in the program"

changed() { sed "$1" "host-0/$2" > "host-1/$2"; }
restored() { rm -rf "host-1/$1"; cp -r "host-0/$1" "host-1/$1"; }
changed 's/learning_rate: 1e-3/learning_rate: 2e-3/' run.yaml
differ "another configuration" "configuration: optim.learning_rate is 0.002 on rank 1, 0.001 on rank 0"
restored run.yaml
changed 's/"hidden_dropout_prob": 0.1/"hidden_dropout_prob": 0.3/' config.json
differ "another config.json" "model: hidden_dropout_prob is 0.3 on rank 1, 0.1 on rank 0"
restored config.json
changed 's/^##z$/##zz/' vocab/vocab.txt
differ "another vocabulary" "tokenizer;"
restored vocab
python3 - <<'PY'
import struct
weights = bytearray(open("host-1/warm/model.safetensors", "rb").read())
weights[-4:] = struct.pack("<f", 0.25)
open("host-1/warm/model.safetensors", "wb").write(weights)
PY
differ "other weights" "starting weights: params/" model.folder=$own/warm model.config= model.vocab=
encode() { mpi 3 ./rank.sh encode warm --input texts.txt --output "$dir/out.npy"; }
for host in host-0 host-1; do printf 'one text\nanother\nand one more\n' > $host/texts.txt; done
expect "encode with other weights" 2 encode
says "they are named" "error: F12 rank 1 of 3 differs from most in the weights: params/"
cp host-0/warm/model.safetensors host-1/warm/
python3 - <<'PY'
import json
path = "host-1/warm/config_sentence_transformers.json"
settings = json.load(open(path))
settings["prompts"] = {"query": "ask: "}
json.dump(settings, open(path, "w"))
PY
expect "encode with other prompts" 2 encode
says "the prompt is named" "error: F12 rank 1 of 3 differs from most in the model: prompt query is ask:  on rank 1, missing on rank 0"
restored warm
changed 's/another/a different one/' texts.txt
expect "encode other texts" 2 encode
says "they are named as well" "error: F12 rank 1 of 3 differs from most in the texts;"
restored texts.txt
if [ -e out.npy ]; then bad "no file was written"; else ok "no file was written"; fi
expect "encode alike" 0 encode
cp train.jsonl host-0/rows.jsonl
head -n 20 train.jsonl > host-1/rows.jsonl
expect "pack other rows" 2 mpi 3 ./rank.sh pack --tokenizer vocab --output "$dir/uneven" $own/rows.jsonl
says "they are named" "error: F12 rank 1 of 3 differs from most in the inputs: unit 0"
(tail -n +2 train.jsonl; head -n 1 train.jsonl) > turned.jsonl
rm -rf host-1/corpus
expect "pack the same rows in another order" 0 "$lodestone" pack --tokenizer vocab --output host-1/corpus turned.jsonl
differ "another corpus" "corpus of data.train;"
restored corpus
rm -rf host-1/heldout
cp -r corpus host-1/heldout
differ "other held-out rows" "corpus of data.heldout;"
restored heldout
expect "alike they train" 0 start

all_passed
