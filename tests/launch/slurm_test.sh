#!/usr/bin/env bash
# Training under a real Slurm: srun gives the bits of mpirun; signals, time limit, preemption and scancel save and the same job goes
# on; a rank that fails ends the others; srun without PMIx is refused. Starts a cluster of its own, one node, in a temporary folder.
#   slurm_test.sh BINARY SOURCE_DIR
# Exit code 77 (skipped) without Slurm: apt-get install slurmctld slurmd slurm-client munge
set -uo pipefail
lodestone=$(realpath "$1")
source_dir=$(realpath "$2")
for program in slurmctld slurmd srun sbatch munged; do
  PATH=$PATH:/usr/sbin command -v $program > /dev/null || { echo "skipped: $program is not installed (slurmctld slurmd slurm-client munge)"; exit 77; }
done
. "$source_dir/tests/support/tiny_run.sh"

# ---- a cluster: one node of four slots, two partitions, no cgroups, no accounting ---------------------------------------
export PATH=$PATH:/usr/sbin SLURM_CONF=$dir/slurm.conf LODESTONE=$lodestone
end_cluster() {
  scancel --quiet --user="$(id -un)" 2> /dev/null
  wait_until 20 no_jobs
  for name in slurmd slurmctld munged; do [ -s "$dir/$name.pid" ] && kill "$(cat "$dir/$name.pid")" 2> /dev/null; done
  wait_until 10 no_daemons
  rm -rf "$dir"
}
no_jobs() { [ -z "$(squeue --noheader 2> /dev/null)" ]; }
no_daemons() { ! kill -0 "$(cat slurmd.pid 2> /dev/null || echo none)" 2> /dev/null && ! kill -0 "$(cat slurmctld.pid 2> /dev/null || echo none)" 2> /dev/null; }
trap '[ $BASHPID -ne $$ ] || end_cluster' EXIT
host=$(hostname -s)
port=$((20000 + $$ % 20000))
mkdir state spool munge
chmod 755 . munge
head -c 128 /dev/urandom > munge/key
chmod 600 munge/key
cat > slurm.conf <<CONF
ClusterName=lodestone-test
SlurmctldHost=$host(127.0.0.1)
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
SlurmctldPort=$port
SlurmdPort=$((port + 1))
AuthInfo=socket=$dir/munge/socket,cred_expire=10
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd.pid
SlurmctldLogFile=$dir/slurmctld.log
SlurmdLogFile=$dir/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=2,bf_interval=2
SlurmdParameters=config_overrides
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=5
NodeName=$host NodeAddr=127.0.0.1 CPUs=4
PartitionName=low Nodes=ALL Default=YES PriorityTier=1 GraceTime=20
PartitionName=high Nodes=ALL PriorityTier=2
CONF
munged --force --key-file="$dir/munge/key" --socket="$dir/munge/socket" --pid-file="$dir/munged.pid" --log-file="$dir/munge/log" --seed-file="$dir/munge/seed"
slurmctld -i
slurmd
idle() { [ "$(sinfo --noheader --partition=low --format=%t 2> /dev/null)" = idle ]; }
wait_until 60 idle || { bad "the cluster starts" slurmctld.log slurmd.log; exit 1; }
srun --mpi=list 2>&1 | grep -q pmix || { echo "skipped: this Slurm has no PMIx plug-in"; exit 77; }

expect "pack" 0 "$lodestone" pack --tokenizer vocab --output corpus train.jsonl
expect "pack held-out" 0 "$lodestone" pack --tokenizer vocab --output heldout heldout.jsonl
slurm() { srun --mpi=pmix --job-name=test -n 2 "$@"; }
long=(train.steps=1000000 train.save_steps=0 train.eval_steps=0)
records() { grep '"loss"' "$1/metrics.jsonl" 2> /dev/null | sed 's/"pairs_per_s".*//'; }
trains() { [ "$(records "$1" | wc -l)" -gt "${2:-0}" ]; }
job_id() { squeue --noheader --name=test --format=%i; }
no_rank_left() { ! pgrep -f "$lodestone train run.yaml train.output_dir=$1" > /dev/null; }

# ---- srun --mpi=pmix -------------------------------------------------------------------------------------------------------
expect "train under mpirun" 0 mpi 2 "$lodestone" train run.yaml train.output_dir=mpirun
expect "train under srun" 0 slurm "$lodestone" train run.yaml train.output_dir=srun
same "srun and mpirun give the same weights" srun/model/model.safetensors mpirun/model/model.safetensors
records srun > srun.txt; records mpirun > mpirun.txt
same "and the same losses, step by step" srun.txt mpirun.txt
expect "srun without PMIx is refused" 2 srun --mpi=none -n 2 "$lodestone" train run.yaml train.output_dir=copies
says "in a line that says what to do" "error: launcher srun started 2 processes that do not know of each other"
if [ "$(grep -c '^error' err.log)" -eq 1 ]; then ok "printed once"; else bad "printed once" err.log; fi
expect "an error that all ranks share" 2 slurm "$lodestone" train run.yaml train.stepz=1
sed -i '/^srun: job .* \(queued and waiting for\|has been allocated\) resources$/d' err.log   # where the job before it is still being cleared away
if [ "$(grep -c '^error: config' err.log)" -eq 1 ] && [ "$(wc -l < err.log)" -eq 2 ] && [ "$(grep -c '^srun: error: .*Exited with exit code 2$' err.log)" -eq 1 ]; then
  ok "is one line, and one of srun"; else bad "is one line, and one of srun" err.log; fi
expect "an error of one rank ends all with its code" 2 slurm sh -c '[ $SLURM_PROCID = 0 ] || cd /; exec "$0" "$@"' "$lodestone" train run.yaml train.output_dir=one
says "and with its message" "error: config cannot be read: No such file or directory; file=run.yaml rank=1"
background slurm "$lodestone" train run.yaml train.output_dir=killed "${long[@]}"
wait_until 60 trains killed
pkill -KILL -n -f "$lodestone train run.yaml train.output_dir=killed"
wait "$pid"
code=$?
if [ $code -eq 137 ] && wait_until 10 no_rank_left killed; then ok "a killed rank ends all with 137"; else bad "a killed rank (exit code $code, expected 137)" out.log err.log; fi

# ---- signals through Slurm -------------------------------------------------------------------------------------------------
last=0
for signal in TERM USR1; do   # the second run goes on from the checkpoint of the first
  background slurm "$lodestone" train run.yaml train.output_dir=signals "${long[@]}"
  wait_until 60 trains signals "$last"
  scancel --signal=$signal "$(job_id)"
  wait "$pid"
  code=$?
  if [ $code -eq 75 ]; then ok "scancel --signal=$signal: all save and exit with 75"; else bad "scancel --signal=$signal (exit code $code, expected 75)" out.log err.log; fi
  if [ "$last" -eq 0 ] || grep -q "resuming from .*checkpoint-$last$" out.log; then ok "checkpoint before: $last"; else bad "it goes on from checkpoint-$last" out.log err.log; fi
  last=$(records signals | wc -l)
  if [ -d "signals/checkpoint-$last" ]; then ok "checkpoint after: $last"; else bad "checkpoint after the last step, $last"; ls signals; fi
done

# ---- launch/slurm.sh: preempted, at its time limit, cancelled ----------------------------------------------------------------
job=$(sbatch --parsable --cpus-per-task=1 --time=1 --signal=USR1@30 --output=job.log "$source_dir/launch/slurm.sh" run.yaml train.output_dir=batch "${long[@]}")
state() { scontrol show job "$job" | sed -n 's/.*JobState=\([A-Z]*\).*/\1/p'; }
wait_until 60 trains batch && ok "the batch job trains" || bad "the batch job trains" job.log slurmctld.log
sbatch --parsable --partition=high --ntasks=4 --time=1 --output=/dev/null --wrap "sleep 1" > /dev/null
for reason in preempted "at its time limit"; do
  count=$(grep -c 'checkpoint saved' job.log)
  saved_again() { [ "$(grep -c 'checkpoint saved' job.log)" -gt "$count" ]; }
  if wait_until 90 saved_again; then ok "$reason, it saves"; else bad "$reason, it saves" job.log slurmctld.log; fi
  last=$(records batch | wc -l)
  if wait_until 120 trains batch "$last" && grep -q "resuming from .*checkpoint-$last$" job.log; then
    ok "queued again, it goes on from checkpoint-$last"
  else
    bad "queued again, it goes on from checkpoint-$last" job.log slurmctld.log
  fi
done
scancel "$job"
ended() { case $(state) in CANCELLED | COMPLETED | FAILED | TIMEOUT) return 0 ;; *) return 1 ;; esac; }
if wait_until 60 ended && [ "$(state)" = CANCELLED ]; then ok "cancelled, it is not queued again"; else bad "cancelled, it is not queued again ($(state))" job.log; fi
last=$(records batch | wc -l)
if [ -d "batch/checkpoint-$last" ]; then ok "and has saved"; else bad "and has saved checkpoint-$last" job.log; fi
records batch | grep -o '"step":[0-9]*' | cut -d: -f2 > steps.txt
seq "$(wc -l < steps.txt)" > expected.txt
same "every step was recorded once" steps.txt expected.txt

all_passed
