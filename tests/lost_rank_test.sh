#!/usr/bin/env bash
# One of three ranks stops, dies, throws or aborts: the job must end in time, with the right code and words, and leave nothing
# behind. Only our own words are looked for: under load mpirun may fail to print its own. lost_rank_test.sh BINARY SOURCE_DIR
set -uo pipefail
program=$(dirname "$1")/comm_mpi_tests
output=$(mktemp) begin=$(mktemp)
trap 'rm -f "$output" "$begin"' EXIT
failed=0

# expect FAULT CODE PATTERN
expect() {
  local start=$SECONDS code
  timeout -k 5 40 "$2/tests/support/mpirun.sh" 3 "$program" --gtest_also_run_disabled_tests --gtest_filter="Fault.DISABLED_$1" >"$output" 2>&1
  code=$?
  if [ "$code" -ne "$3" ] || ! grep -qE "$4" "$output" || [ $((SECONDS - start)) -gt 30 ]; then
    printf '%s: code %s after %s s, expected %s and "%s"; it said:\n' "$1" "$code" $((SECONDS - start)) "$3" "$4"
    cat "$output"
    failed=1
  fi
  if [ "$(grep -c 'error: F0[16]' "$output")" -gt 1 ]; then
    printf '%s: more than one rank reported it:\n' "$1"
    cat "$output"
    failed=1
  fi
}

expect StoppedRank "$2" 7 'error: F06 all_reduce of 8 bytes \(collective [0-9]+\) has not ended after [0-9]+ s: rank 2 shows no sign of life for [0-9]+ s; rank=[01] host='
# A GPU that waits for the others by NCCL, on the doubles of tests/cuda: the host asks, and the watchdog looks at it.
emulated=$(dirname "$1")/emulated
if [ -e "$emulated/liblodestone_nccl.so" ]; then
  LD_LIBRARY_PATH=$emulated LODESTONE_DOUBLE_GPUS=3 LODESTONE_DOUBLE_EXECUTION=late \
    expect StoppedRankByNccl "$2" 7 'error: F06 all_reduce of 8 bytes \(collective [0-9]+\) has not ended after [0-9]+ s: rank 2 shows no sign of life for [0-9]+ s; rank=[01] host='
fi
expect KilledRank "$2" 137 'error: F01 rank 2 has ended without a word: .*; rank=[01] host='
expect ThrowingRank "$2" 134 'injected'
expect AbortingRank "$2" 3 'error: injected'
if grep -q 'F01' "$output"; then
  printf 'a rank that says itself why it ends is called lost:\n'
  cat "$output"
  failed=1
fi

left=$(find /dev/shm -maxdepth 1 -type f -name 'lodestone-[0-9]*-*' -newer "$begin" -mmin +0.05 2>/dev/null)   # neither others' nor those of a job that starts now
[ -z "$left" ] || { echo "left in /dev/shm: $left"; failed=1; }
[ "$failed" -eq 0 ] && echo "a stopped, killed, throwing or aborting rank ends the job with its code"
exit "$failed"
