#!/usr/bin/env bash
# Stop signals at random moments, from the first line of main() on: every run saves and exits with 75, and every checkpoint verifies at the
# next start. Then what a second signal does, and the signals that are failed writes or lost files instead.
#   stop_test.sh BINARY SOURCE_DIR [STOPS]      STOPS of each kind of run: 30, or $STOPS
set -uo pipefail
lodestone=$1
stops=${3:-${STOPS:-30}}
. "$2/tests/support/tiny_run.sh"

expect "pack" 0 "$lodestone" pack --tokenizer vocab --output corpus train.jsonl
expect "pack held-out" 0 "$lodestone" pack --tokenizer vocab --output heldout heldout.jsonl
endless=(train.steps=1000000 train.eval_steps=0 train.save_steps=0 train.logging_steps=1)

# ---- looking at a process --------------------------------------------------------------------------------------------
stop_mask=$(((1 << 0) | (1 << 1) | (1 << 9) | (1 << 11) | (1 << 14) | (1 << 23)))   # HUP INT USR1 USR2 TERM XCPU
mask() { awk -v field="$1:" '$1 == field {print $2}' "$2" 2> /dev/null; }            # mask FIELD STATUS_FILE: in hexadecimal
blocks() { local m; m=$(mask SigBlk "/proc/$1/status"); [ -n "$m" ] && [ $((16#$m & stop_mask)) -eq $stop_mask ]; }
ranks_of() { pgrep -f "^$lodestone train run.yaml train.output_dir=$1 "; }
all_block() {  # all_block RUN RANKS: as many ranks are there and have come to main()
  local pids rank
  mapfile -t pids < <(ranks_of "$1")
  [ ${#pids[@]} -eq "$2" ] || return 1
  for rank in "${pids[@]}"; do blocks "$rank" || return 1; done
}
spin_until() {  # spin_until SECONDS COMMAND...: without naps, so that a start can be hit anywhere
  local end=$((SECONDS + $1))
  shift
  until "$@"; do [ $SECONDS -lt $end ] || return 1; done
}
nap() { sleep "$(printf '%d.%03d' $(($1 / 1000)) $(($1 % 1000)))"; }   # nap MILLISECONDS

# ---- stops at random moments -----------------------------------------------------------------------------------------
# stop_often RUN RANKS KEY=VALUE...: the same run, stopped and started again. Half of the signals fall into the start, half into training.
stop_often() {
  local run=$1 ranks=$2 wrong=0 damaged=0 early=0 pid code signal target newest before=
  shift 2
  for ((n = 0; n < stops; ++n)); do
    local command=("$lodestone" train run.yaml "train.output_dir=$run" "${endless[@]}" "$@")
    if [ "$ranks" -gt 1 ]; then command=("$support/mpirun.sh" "$ranks" "${command[@]}"); fi
    rm -f "$run.out" "$run.err"   # nobody finds a step of an earlier run
    "${command[@]}" > "$run.out" 2> "$run.err" &
    pid=$!
    spin_until 60 all_block "$run" "$ranks" || { bad "$run: the ranks start" "$run.out" "$run.err"; return; }
    if ((n % 2)); then wait_until 60 grep -qs '^step' "$run.out"; fi
    nap $((RANDOM % 300))
    signal=$(shuf -n 1 -e TERM INT USR1 USR2 HUP XCPU)
    target=$(ranks_of "$run" | shuf -n 1)
    # What mpirun passes on, though not while it starts: a signal that comes too early is lost in it.
    if ((ranks > 1 && n % 2 && RANDOM % 2)); then signal=USR$((1 + RANDOM % 2)) target=$pid; fi
    kill -"$signal" "$target"
    await $pid
    newest=$(find "$run" -maxdepth 1 -name 'checkpoint-*' ! -name '*.*' | sed 's/.*checkpoint-//' | sort -n | tail -n 1)
    if [ $code -ne 75 ] || [ -z "$newest" ] || grep -q '^error' "$run.err"; then
      wrong=$((wrong + 1))
      echo "      stop $n: SIG$signal to $([ "$target" = $pid ] && echo the launcher || echo a rank), exit code $code"
      grep -v '^--' "$run.err" | head -n 3
    fi
    if [ -n "$before" ] && ! grep -q "resuming from .*checkpoint-$before$" "$run.out"; then damaged=$((damaged + 1)); fi
    grep -q 'warning: .*checkpoint-' "$run.err" && damaged=$((damaged + 1))
    [ "$newest" = "$before" ] && early=$((early + 1))
    before=$newest
  done
  if [ $wrong -eq 0 ]; then ok "$run: $stops of $stops stops exit with 75 and a checkpoint ($early before a step)"; else bad "$run: $wrong of $stops stops went wrong"; fi
  if [ $damaged -eq 0 ]; then ok "$run: every checkpoint verifies at the next start"; else bad "$run: $damaged checkpoints do not verify"; fi
}
stop_often pairs-bf16 2 train.precision=bf16
stop_often small-f32 1 train.precision=f32

# ---- no thread of a training process can be interrupted ----------------------------------------------------------------
background "$support/mpirun.sh" 2 "$lodestone" train run.yaml train.output_dir=threads "${endless[@]}"
wait_until 60 grep -qs '^step' out.log
unblocked=0 caught=0 threads=0
for task in $(ranks_of threads | sed 's,.*,/proc/&/task/*,'); do
  threads=$((threads + 1))
  [ $((16#$(mask SigBlk "$task/status") & stop_mask)) -eq $stop_mask ] || unblocked=$((unblocked + 1))
  [ $((16#$(mask SigCgt "$task/status") & stop_mask)) -eq 0 ] || caught=$((caught + 1))
done
kill -USR1 $pid
await $pid
# One thread of each rank waits for them, which the system shows as not blocked.
if [ $threads -ge 6 ] && [ $unblocked -eq 2 ]; then ok "of $threads threads of two ranks two take stop signals"; else bad "$unblocked of $threads threads of two ranks take stop signals"; fi
if [ $caught -eq 0 ]; then ok "no stop signal has a handler"; else bad "stop signals have handlers in $caught threads"; fi

# ---- a second signal -----------------------------------------------------------------------------------------------------
background "$lodestone" train run.yaml train.output_dir=second "${endless[@]}" train.eval_steps=1 data.heldout=corpus
wait_until 60 grep -qs '^step' out.log
kill -STOP $pid                              # both arrive before the step under way can end
kill -USR1 $pid
kill -TERM $pid
begin=$(date +%s%N)
kill -CONT $pid
await $pid
took_ms=$((($(date +%s%N) - begin) / 1000000))
if [ $code -eq 76 ]; then ok "a second signal: exit code 76"; else bad "a second signal (exit code $code, expected 76)" err.log; fi
if [ $took_ms -lt 2000 ]; then ok "within two seconds"; else bad "a second signal took $took_ms ms"; fi
if [ "$(grep -c . err.log)" -eq 1 ] && grep -q '^error: F49 SIG.* after SIG.*: ended without saving; .*do: ' err.log; then ok "one line says so"; else bad "one line says so" err.log; fi
if grep -q '"exit_code": 76' second/status.json && grep -q '"failed"' second/status.json; then ok "status.json says so"; else bad "status.json says so" second/status.json; fi

# ---- signals that are something else -------------------------------------------------------------------------------------
background nohup "$lodestone" train run.yaml train.output_dir=nohup "${endless[@]}"
wait_until 60 grep -qs '^step' out.log
kill -HUP $pid
nap 300
if kill -0 $pid 2> /dev/null && ! grep -q stopped out.log; then ok "nohup: SIGHUP is ignored"; else bad "nohup: SIGHUP is ignored" out.log; fi
kill -TERM $pid
await $pid
if [ $code -eq 75 ]; then ok "nohup: SIGTERM saves"; else bad "nohup: SIGTERM saves (exit code $code)" err.log; fi
"$lodestone" train run.yaml train.output_dir=pipe train.steps=40 2> err.log | head -n 1 > /dev/null
code=${PIPESTATUS[0]}
if [ "$code" -eq 0 ]; then ok "training goes on when nobody reads its output any more"; else bad "a closed output (exit code $code)" err.log; fi
limited() { (ulimit -f 60 && exec "$lodestone" train run.yaml train.output_dir=limited); }
expect "a limit of file sizes is a failed write" 5 limited
says "it is named" "error: F19"
if grep -q '"exit_code": 5' limited/status.json; then ok "status.json has it"; else bad "status.json has it" limited/status.json; fi

# ---- checkpoints that cannot be written --------------------------------------------------------------------------------
# full_stop STEPS_BEFORE SAYS: of two ranks one can write no large file any more, behind some step, when they are asked to stop.
full_stop() {
  local pid rank
  background "$support/mpirun.sh" 2 "$lodestone" train run.yaml train.output_dir=full "${endless[@]}"
  wait_until 60 grep -qs '^step' out.log
  for rank in $(ranks_of full); do
    if grep -qzx OMPI_COMM_WORLD_RANK=1 "/proc/$rank/environ"; then prlimit --pid "$rank" --fsize=60000; fi
  done
  kill -USR1 $pid
  await $pid
  if [ $code -eq 5 ]; then ok "a stop that cannot save: exit code 5"; else bad "a stop that cannot save (exit code $code, expected 5)" out.log err.log; fi
  if grep -q 'checkpoint saved' out.log; then bad "nothing says that it was saved" out.log; else ok "nothing says that it was saved"; fi
  if [ "$(grep -c '^error: F19 stopped, but the checkpoint of step .*part-00001.safetensors rank=1.*do: ' err.log)" -eq 1 ] && ! grep -q '^warning' err.log; then
    ok "one line says so"
  else
    bad "one line says so" err.log
  fi
  if grep -q '"failed"' full/status.json && grep -q '"exit_code": 5' full/status.json; then ok "status.json says that it failed"; else bad "status.json says that it failed" full/status.json; fi
  says "the last good checkpoint is named: $1" "$1"
  if [ -z "$(find full -name '*.tmp')" ]; then ok "nothing half-written is left"; else bad "nothing half-written is left"; ls full; fi
}
full_stop "there is no earlier one"
background "$lodestone" train run.yaml train.output_dir=full "${endless[@]}"
wait_until 60 grep -qs '^step' out.log
kill -TERM $pid
await $pid
newest=$(find full -maxdepth 1 -name 'checkpoint-*' | sed 's/.*checkpoint-//')
if [ $code -eq 75 ] && [ -n "$newest" ]; then ok "with room the same command begins anew, and saves"; else bad "the same command saves with room (exit code $code)" err.log; fi
full_stop "the last good one is checkpoint-$newest; "
says "and that it goes on from there" "it goes on from step $newest"
ended() { (ulimit -f 200 && exec "$lodestone" train run.yaml "train.output_dir=ended$1" "train.save_steps=$1"); }   # KiB: enough for the model
for every in 0 4; do
  expect "a run whose last checkpoint cannot be saved ends, saving every $every steps" 0 ended $every
  says "and says so" "warning: checkpoint of step 10 could not be saved (F19 cannot write: "
  says "and what comes next" "training has ended, and the model is written without it"
  if [ -e ended$every/model/model.safetensors ] && grep -q '"finished"' ended$every/status.json; then ok "the model is there"; else bad "the model is there" ended$every/status.json; fi
done
expect "a third checkpoint that cannot be saved, before the last" 5 ended 2
says "ends the run" "error: F19 3 checkpoints in a row could not be saved; checkpoint of step 6 could not be saved"
background "$lodestone" bench --precision f32 --threads 1 --pairs 64 --steps 1000
spin_until 60 blocks $pid
nap 300
kill -TERM $pid
await $pid
if [ $code -eq 143 ]; then ok "a command that has nothing to save ends as any program would"; else bad "SIGTERM to bench (exit code $code, expected 143)" err.log; fi

# ---- a shard that is cut short while it is read --------------------------------------------------------------------------
cp -r corpus cut-corpus
background "$lodestone" train run.yaml train.output_dir=cut "${endless[@]}" data.train=cut-corpus
wait_until 60 grep -qs '^step 3/' out.log
truncate -s 8192 cut-corpus/shard-*.h5
await $pid
if [ $code -eq 3 ]; then ok "a shard cut short: exit code 3"; else bad "a shard cut short (exit code $code, expected 3)" err.log; fi
if [ "$(grep -c . err.log)" -eq 1 ] && grep -q '^error: F36 .*shard-000000-000.h5.*do: ' err.log; then ok "the file is named"; else bad "the file is named" err.log; fi

all_passed
