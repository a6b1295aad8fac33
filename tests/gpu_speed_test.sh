#!/usr/bin/env bash
# tests/peers/gpu_speed.py on the CPU, by its tiny setting: ours is measured, and a peer is, or says why not. With torch where LODESTONE_PYTHON
# or the scripts' environment has it.   gpu_speed_test.sh BINARY SOURCE_DIR
set -uo pipefail
lodestone=$1
. "$2/tests/support/tiny_run.sh"
speed="$2/tests/peers/gpu_speed.py"
judge() {  # judge NAME CONDITION: a Python expression of the figures `b`
  if python3 -c "import json; b = json.load(open('peers.json')); exit(not ($2))"; then ok "$1"; else bad "$1" peers.json err.log; fi
}
printf '#!/bin/sh\nexec python3 -S -I "$@"\n' > no_packages
chmod +x no_packages
LODESTONE_PYTHON=./no_packages expect "without torch" 0 python3 -B "$speed" "$lodestone" --tiny --output peers.json
judge "without torch: ours is measured in each of its turns, before, between and after" "len(b['lodestone']['step_s']) == 1 + b['turns_asked_for'] and b['lodestone']['tokens_per_s'] > 0"
judge "without torch: peers are not measured, with the reason" "all(b[p].startswith('not measured: there is no torch in ') for p in ('stock', 'tuned')) and not [k for k in b if 'ours_over' in k]"
expect "a device that is not there is said" 1 python3 -B "$speed" "$lodestone" --device cuda --model minilm --lengths short --pairs 2 --steps 1
says "with the program's own reason" "built without CUDA"

python=${LODESTONE_PYTHON:-$2/.cache/venv/bin/python}
if ! "$python" -c 'import torch, transformers' 2> /dev/null; then echo "skipped: peers: no torch in $python"; all_passed; exit; fi
LODESTONE_PYTHON=$python expect "with torch" 0 python3 -B "$speed" "$lodestone" --tiny --output peers.json
judge "the tuned peer gives BertModel's vectors and is measured on the same tokens" "b['tuned']['padded_tokens'] >= b['tokens'] and abs(b['tuned']['tokens_per_s'] * b['tuned']['median_s'] / b['tokens'] - 1) < 1e-9"
judge "ratios are those of medians" "abs(b['ours_over_tuned'] * b['lodestone']['median_s'] / b['tuned']['median_s'] - 1) < 1e-9"
if "$python" -c 'import sentence_transformers' 2> /dev/null; then
  judge "stock pads all queries to the longest, and passages" "b['stock']['padded_tokens'] == sum(sum(n) * max(l) for w in ('queries', 'passages') for l, n in [zip(*[map(int, p.split(':')) for p in b['lengths_of_' + w].split()])])"
else
  judge "stock says what it lacks" "b['stock'].startswith('not measured: there is no sentence_transformers')"
fi
all_passed
