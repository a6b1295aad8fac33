#!/usr/bin/env bash
# SIGKILL at random moments, to a rank, to all of them or to the launcher: the next start goes on from the newest checkpoint without a
# complaint, and in the end the weights are those of a run that was never killed, bit for bit.
#   kill_test.sh BINARY SOURCE_DIR [KILLS]      KILLS of each kind of run: 30, or $KILLS; $SEED chooses the moments
set -uo pipefail
lodestone=$1
kills=${3:-${KILLS:-30}}
RANDOM=${SEED:-7}
. "$2/tests/support/tiny_run.sh"

expect "pack" 0 "$lodestone" pack --tokenizer vocab --output corpus train.jsonl
expect "pack held-out" 0 "$lodestone" pack --tokenizer vocab --output heldout heldout.jsonl
endless=(train.steps=1000000 train.eval_steps=0 train.save_steps=3 train.logging_steps=1)

ranks_of() { pgrep -f "^$lodestone train run.yaml train.output_dir=$1 "; }
started() { [ "$(ranks_of "$1" | wc -l)" -eq "$2" ]; }
gone() { ! ranks_of "$1" > /dev/null; }
newest_of() { find "$1" -maxdepth 1 -name 'checkpoint-*' ! -name '*.*' 2> /dev/null | sed 's/.*checkpoint-//' | sort -n | tail -n 1; }
nap() { sleep "$(printf '%d.%03d' $(($1 / 1000)) $(($1 % 1000)))"; }   # nap MILLISECONDS
start() {  # start RUN RANKS KEY=VALUE...: in the background, as `pid`
  local run=$1 ranks=$2
  shift 2
  local command=("$lodestone" train run.yaml "train.output_dir=$run" "${endless[@]}" "$@")
  if [ "$ranks" -gt 1 ]; then command=("$support/mpirun.sh" "$ranks" "${command[@]}"); fi
  rm -f "$run.out" "$run.err"   # nobody finds a step of an earlier run
  "${command[@]}" > "$run.out" 2> "$run.err" &
  pid=$!
}
stop() { kill -USR1 $pid; await $pid; [ $code -eq 75 ] || bad "a run that is asked to stop saves (exit code $code)"; }
# The bytes of the parameters in a checkpoint of RUN, which the parts hold in order.
weights() {  # weights RUN STEP
  python3 - "$1/checkpoint-$2" <<'PY'
import glob, hashlib, json, struct, sys
tensors = {}
for part in sorted(glob.glob(sys.argv[1] + "/part-*.safetensors")):
    with open(part, "rb") as f:
        header = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
        base = f.tell()
        for name, about in header.items():
            if name == "__metadata__": continue
            f.seek(base + about["data_offsets"][0])
            vector, rest = name.split("/", 1)
            tensor, span = rest.rsplit("[", 1)
            tensors.setdefault((vector, tensor), []).append((int(span.split(":")[0]), f.read(about["data_offsets"][1] - about["data_offsets"][0])))
hashed = hashlib.sha256()
for key in sorted(tensors):
    hashed.update(repr(key).encode())
    for _, data in sorted(tensors[key]): hashed.update(data)
print(len(tensors), hashed.hexdigest())
PY
}

# kill_often RUN RANKS KEY=VALUE...: a fourth of the kills fall into the start, the others into training and its many saves.
kill_often() {
  local run=$1 ranks=$2 wrong=0 left=0 starts=0 n victim before newest
  shift 2
  for ((n = 0; n < kills; ++n)); do
    before=$(newest_of "$run")
    start "$run" "$ranks" "$@"
    wait_until 60 started "$run" "$ranks" || { bad "$run: the ranks start" "$run.out" "$run.err"; return; }
    if ((n % 4)); then wait_until 60 grep -qs '^step' "$run.out"; else starts=$((starts + 1)); fi
    nap $((RANDOM % 300))
    case $((RANDOM % 3)) in
      0) victim=$(ranks_of "$run" | shuf -n 1 --random-source=<(yes $n)) ;;
      1) victim=$(ranks_of "$run") ;;
      2) victim=$pid ;;
    esac
    # shellcheck disable=SC2086
    kill -KILL $victim 2> /dev/null
    wait $pid 2> /dev/null
    wait_until 30 gone "$run" || { left=$((left + 1)); pkill -KILL -f "^$lodestone train run.yaml train.output_dir=$run "; wait_until 10 gone "$run"; }
    newest=$(newest_of "$run")
    if { [ -n "$before" ] && grep -q '^step' "$run.out" && ! grep -q "resuming from .*checkpoint-$before$" "$run.out"; } ||
      grep -q 'warning: .*checkpoint-' "$run.err" || [ "${newest:-0}" -lt "${before:-0}" ]; then
      wrong=$((wrong + 1))
      echo "      kill $n: from checkpoint ${before:-none} to ${newest:-none}"
      grep -E 'warning|error|resuming' "$run.err" "$run.out" | head -n 3
    fi
  done
  if [ $wrong -eq 0 ]; then ok "$run: $kills of $kills kills ($starts in the start) lose nothing that was saved"; else bad "$run: $wrong of $kills kills went wrong"; fi
  if [ $left -eq 0 ]; then ok "$run: no rank outlives the others"; else bad "$run: ranks outlived the others $left times"; fi
  if [ -z "$newest" ]; then bad "$run: a checkpoint was saved"; return; fi
  start "$run" "$ranks" "$@"
  wait_until 60 grep -qs '^step' "$run.out"
  stop
  newest=$(newest_of "$run")
  start "$run-whole" "$ranks" "$@" train.save_total_limit=100000
  wait_until 300 test -e "$run-whole/checkpoint-$((newest / 3 * 3 + 3))"
  stop
  newest=$((newest / 3 * 3))
  local killed whole
  killed=$(weights "$run" $newest) whole=$(weights "$run-whole" $newest)
  if [ -n "$killed" ] && [ "$killed" = "$whole" ]; then
    ok "$run: the weights of step $newest are those of a run that was never killed"
  else
    bad "$run: the weights of step $newest differ from those of a run that was never killed"
  fi
  [ -z "$(find "$run" -name '*.tmp*')" ] && ok "$run: nothing half-written is left" || bad "$run: half-written files are left"
}
kill_often pairs-bf16 2 train.precision=bf16
kill_often small-f32 1 train.precision=f32

all_passed
