#!/usr/bin/env bash
# The end of a run says what happened, whatever ends it: ranks that hang, die, are suspended or never start, a stdout that takes nothing, a
# system without threads. Exit code, one line, status.json, and what lies in /dev/shm afterwards.  end_test.sh BINARY SOURCE_DIR
set -uo pipefail
lodestone=$1
. "$2/tests/support/tiny_run.sh"

expect "pack" 0 "$lodestone" pack --tokenizer vocab --output corpus train.jsonl
expect "pack held-out" 0 "$lodestone" pack --tokenizer vocab --output heldout heldout.jsonl
endless=(train.steps=1000000 train.eval_steps=0 train.save_steps=0 train.logging_steps=1)

# ---- jobs in the background --------------------------------------------------------------------------------------------
launch() {  # launch RUN RANKS COMMAND...: `pid` is the launcher
  local run=$1 ranks=$2
  shift 2
  "$support/mpirun.sh" "$ranks" "$@" > "$run.out" 2> "$run.err" &
  pid=$!
}
train() { launch "$1" 2 "$lodestone" train run.yaml "train.output_dir=$1" "${endless[@]}" "${@:2}"; }   # train RUN KEY=VALUE...
rank_of() {  # rank_of RUN RANK: the process
  local process
  for process in $(pgrep -f "^$lodestone train run.yaml train.output_dir=$1 "); do
    if grep -qzx "OMPI_COMM_WORLD_RANK=$2" "/proc/$process/environ"; then echo "$process"; fi
  done
}
trains() { wait_until 60 grep -qs '^step 2/' "$1.out" || bad "$1: it trains" "$1.out" "$1.err"; }
ends_with() { if [ "$code" -eq "$2" ]; then ok "$1: exit code $2"; else bad "$1 (exit code $code, expected $2)" "$1.err"; fi; }
one_line() {  # one_line RUN PATTERN: the only error line of the job
  if [ "$(grep -c '^error' "$1.err")" -eq 1 ] && grep -q "^error: $2" "$1.err"; then ok "$1: one line says why"; else bad "$1: one line says why" "$1.err"; fi
}
recorded() {  # recorded RUN CODE: status.json holds that line and this code
  if python3 - "$1" "$2" <<'PY'
import json, sys
status = json.load(open(sys.argv[1] + "/status.json"))
line = next(l for l in open(sys.argv[1] + ".err", errors="replace") if l.startswith("error"))
same = lambda text: text.split(";")[0].split(" after ")[0]
sys.exit(not (status["state"] == "failed" and status["exit_code"] == int(sys.argv[2]) and status["step"] >= 2 and same(status["error"]) == same(line.strip())))
PY
  then ok "$1: status.json says the same"; else bad "$1: status.json says the same" "$1/status.json" "$1.err"; fi
}

# ---- ranks that never answer from the start on: found within ten seconds, meanwhile the rest goes on ----------------------
cat > late.sh <<'SH'
[ "$OMPI_COMM_WORLD_RANK" -ne "$1" ] || kill -STOP $$
shift
exec "$@"
SH
launch never 3 bash late.sh 0 "$lodestone" train run.yaml train.output_dir=never train.timeout_s=2
never=$pid
train midway train.timeout_s=2
midway=$pid
runs() { [ -n "$(rank_of "$1" "$2")" ]; }
wait_until 60 runs midway 1
sleep "0.$((RANDOM % 4))"
kill -STOP "$(rank_of midway 1)"

# ---- a rank that hangs -----------------------------------------------------------------------------------------------------
train hung train.timeout_s=2
trains hung
kill -STOP "$(rank_of hung 1)"
await $pid
ends_with hung 7
one_line hung 'F06 .* has not ended after [0-9]* s: rank 1 '
recorded hung 7

# ---- ranks that are killed, the one that keeps the folder among them -------------------------------------------------------
for rank in 0 1; do
  train killed$rank
  trains killed$rank
  kill -KILL "$(rank_of killed$rank $rank)"
  await $pid
  ends_with killed$rank 137
  one_line killed$rank "F01 rank $rank has ended without a word: .*; rank=$((1 - rank)) host=.*; do: "
  recorded killed$rank 7
done

# ---- a launcher that ends the others by signals does not change what is said, though one was noted already ---------------------
train noted
trains noted
kill -STOP "$(rank_of noted 1)"   # so that the other one waits, and does not save
sleep 0.3
kill -USR1 "$(rank_of noted 0)"
kill -KILL "$(rank_of noted 1)"
await $pid
one_line noted 'F01 rank 1 has ended without a word'
recorded noted 7

# ---- two signals before there is anything to save ------------------------------------------------------------------------------
cat > stopped.sh <<'SH'
[ "$OMPI_COMM_WORLD_RANK" -ne 1 ] || kill -STOP $$
exec "$@"
SH
launch twice 2 bash stopped.sh "$lodestone" train run.yaml train.output_dir=twice "${endless[@]}"
waits() { [ -n "$(rank_of twice 0)" ] && grep -qs '^State:.*sleeping' "/proc/$(rank_of twice 0)/status"; }
wait_until 60 waits
sleep 1
kill -TERM "$(rank_of twice 0)"
sleep 0.3
kill -TERM "$(rank_of twice 0)"
await $pid
ends_with twice 76
one_line twice 'F49 SIGTERM after SIGTERM: ended without saving'

# ---- a job that is suspended for longer than its ranks may wait ------------------------------------------------------------
train paused train.timeout_s=2
trains paused
ranks=("$(rank_of paused 0)" "$(rank_of paused 1)")
for ((n = 0; n < 3; ++n)); do   # wherever they are: in a step, or waiting
  kill -STOP "${ranks[@]}"
  sleep 3
  kill -CONT "${ranks[@]}"
  sleep 0.3
done
kill -USR1 $pid
await $pid
ends_with paused 75
if grep -q '"stopped"' paused/status.json && ! grep -q '^error' paused.err; then ok "paused: it went on"; else bad "paused: it went on" paused.err; fi

# ---- nothing is left in /dev/shm when everything is killed, and an orderly end misses nothing ------------------------------
segments() { grep -ho '/dev/shm/vader_segment[^ ]*' "/proc/$1/maps" | sort -u; }
train slain
trains slain
ranks=("$(rank_of slain 0)" "$(rank_of slain 1)")
mapfile -t files < <(segments "${ranks[0]}")
kill -KILL $pid "${ranks[@]}"
await $pid
left=$(ls -d "${files[@]}" 2> /dev/null)
if [ ${#files[@]} -eq 2 ] && [ -z "$left" ]; then ok "slain: no segment of MPI is left"; else bad "slain: ${#files[@]} segments of MPI, left: $left"; fi
for ranks in 1 2; do
  expect "an orderly end of $ranks under mpirun" 0 mpi $ranks "$lodestone" train run.yaml train.output_dir=whole$ranks
  if [ -s err.log ]; then bad "says nothing more" err.log; else ok "says nothing more"; fi
done

# ---- a stdout that takes nothing ---------------------------------------------------------------------------------------------
into_full() { "$lodestone" "$@" > /dev/full; }
into_nothing() { "$lodestone" "$@" >&-; }
expect "training into a full stdout" 0 into_full train run.yaml train.output_dir=full
says "it is reported" "warning: not all that was printed could be written"
expect "training into a closed stdout" 0 into_nothing train run.yaml train.output_dir=closed
says "it is reported" "warning: not all that was printed could be written"
if [ "$(grep -rl 'held out after step' closed full | wc -l)" -eq 0 ] && cmp -s closed/model/model.safetensors full/model/model.safetensors; then ok "no file got what was printed"; else bad "no file got what was printed"; fi
refuses "check into a full stdout" 5 "error: F19 not all that was printed could be written" into_full check run.yaml
refuses "versions into a full stdout" 5 "error: F19 not all that was printed could be written" into_full --version
refuses "help into a closed stdout" 5 "error: F19 not all that was printed could be written" into_nothing --help
until_closed() { "$lodestone" check run.yaml | true; return "${PIPESTATUS[0]}"; }
expect "a reader who wants no more is no failure" 0 until_closed

# ---- no thread to be had for signals -----------------------------------------------------------------------------------------
threadless() { (ulimit -s 8000000 && ulimit -v 4000000 && exec "$lodestone" --version); }
refuses "no thread at the start" 9 "error: F15 no thread can be started" threadless

# ---- the ranks that never answered ---------------------------------------------------------------------------------------------
await $never
ends_with never 7
one_line never 'F06 the start of MPI has not ended after 10 s: .*; rank=[12] host=.*; do: '
await $midway
ends_with midway 7
one_line midway 'F06 .* has not ended after [0-9]* s: '

all_passed
