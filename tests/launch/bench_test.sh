#!/usr/bin/env bash
# lodestone bench: what it counts is what it should be - tokens, allocations, page faults, memory. Times are not judged.
#   bench_test.sh BINARY SOURCE_DIR
set -uo pipefail
lodestone=$1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
passed=0
failed=0

check() {  # check NAME CONDITION: a Python expression of the figures `b`
  if python3 -c "import json; b = json.load(open('out.json')); exit(not ($2))"; then
    passed=$((passed + 1))
    echo "ok    $1"
  else
    failed=$((failed + 1))
    echo "FAIL  $1"
    cat out.json
  fi
}

"$lodestone" bench --precision f32 --threads 1 --lengths short --pairs 16 --steps 1 > out.json
check "a warm step allocates nothing and touches no new page" "b['allocations_per_step'] == 0 and b['page_faults_per_step'] < 50"
cp out.json alone.json

"$2/tests/support/mpirun.sh" 3 "$lodestone" bench --precision f32 --threads 1 --lengths short --pairs 16 --steps 1 > out.json
check "ranks share the tokens of the batch" "b['ranks'] == 3 and b['tokens'] == json.load(open('alone.json'))['tokens']"
check "a warm step of several ranks allocates nothing" "b['allocations_per_step'] == 0"

"$lodestone" bench --precision f32 --threads 2 --lengths short --chunk-tokens 128 --pairs 64 --memory 512 > out.json
check "step memory beyond the counted vectors is flat from 64 to 512 pairs" "0.95 < b['ratio'] < 1.05"

echo "$passed passed, $failed failed"
exit $((failed > 0))
