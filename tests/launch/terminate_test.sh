#!/usr/bin/env bash
# SIGTERM to mpirun while it trains, again and again, in and between saves: nothing is torn, the last checkpoint holds, the same
# command goes on from it, and the losses are those of a run that nobody disturbed.
#   terminate_test.sh BINARY SOURCE_DIR
set -uo pipefail
lodestone=$1
. "$2/tests/support/tiny_run.sh"

expect "pack" 0 "$lodestone" pack --tokenizer vocab --output corpus train.jsonl
expect "pack held-out" 0 "$lodestone" pack --tokenizer vocab --output heldout heldout.jsonl
train=("$support/mpirun.sh" 2 "$lodestone" train run.yaml train.steps=1000000 train.eval_steps=0)
newest() { find torn -maxdepth 1 -name 'checkpoint-*' ! -name '*.*' 2> /dev/null | sed 's/.*checkpoint-//' | sort -n | tail -n 1; }
newer_than() { [ "$(newest)" != "$1" ]; }
no_rank_left() { ! pgrep -f "$lodestone train run.yaml .*train.output_dir=torn" > /dev/null; }
resumed() {  # resumed STEP: the run of out.log and err.log began there, from an undamaged checkpoint
  if [ -z "$1" ] || grep -q "resuming from .*checkpoint-$1$" out.log; then ok "it began from step ${1:-0}"; else bad "it goes on from checkpoint-$1" out.log err.log; fi
  if grep -q 'warning: .*checkpoint-' err.log; then bad "no checkpoint is damaged" err.log; else ok "no checkpoint is damaged"; fi
}

# Saving most of the time. Of itself mpirun gives the ranks a second's notice; with 0 they die wherever they are.
for notice_s in 0 0 1; do
  before=$(newest)
  background env OMPI_MCA_odls_base_sigkill_timeout=$notice_s "${train[@]}" train.output_dir=torn train.save_steps=1
  mpirun=$pid
  wait_until 60 newer_than "$before" || bad "training saves" out.log err.log
  sleep 0.0$((RANDOM % 10))
  kill -TERM $mpirun
  wait $mpirun
  code=$?
  if [ $code -ne 0 ] && wait_until 10 no_rank_left; then ok "SIGTERM to mpirun ends all ranks"; else bad "SIGTERM to mpirun (exit code $code)" out.log err.log; fi
  resumed "$before"
done
before=$(newest)
rm out.log
background "${train[@]}" train.output_dir=torn train.save_steps=0
mpirun=$pid
started() { grep -qs '^step' out.log; }
wait_until 60 started
kill -USR1 $mpirun
wait $mpirun
code=$?
if [ $code -eq 75 ]; then ok "SIGUSR1 to mpirun: all save and exit with 75"; else bad "SIGUSR1 to mpirun (exit code $code, expected 75)" out.log err.log; fi
resumed "$before"
if [ -z "$(find torn -name '*.tmp*')" ]; then ok "nothing half-written is left"; else bad "nothing half-written is left"; ls torn; fi

# ---- undisturbed, up to the same step ----------------------------------------------------------------------------------
losses() { grep '"loss"' "$1/metrics.jsonl" 2> /dev/null | sed 's/,"pairs_per_s".*//'; }
losses torn > torn.txt
steps=$(wc -l < torn.txt)
past() { [ "$(losses whole | wc -l)" -ge "$steps" ]; }
background "${train[@]}" train.output_dir=whole train.save_steps=0
mpirun=$pid
wait_until 120 past
kill -USR1 $mpirun
wait $mpirun
losses whole | head -n "$steps" > whole.txt
same "$steps steps have the losses of a run that nobody disturbed, each recorded once" torn.txt whole.txt

all_passed
