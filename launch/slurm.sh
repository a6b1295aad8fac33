#!/usr/bin/env bash
# Trains under Slurm and goes on after time limits and preemption. Copy it, adapt the #SBATCH lines, and submit:
#   LODESTONE=build/release/lodestone sbatch launch/slurm.sh CONFIG.yaml [MORE.yaml ...] [key.path=value ...]
#SBATCH --job-name=lodestone
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=2
#SBATCH --cpus-per-task=4
#SBATCH --time=24:00:00
#SBATCH --signal=USR1@300         # five minutes before the limit all ranks save and exit with 75
#SBATCH --requeue
#SBATCH --open-mode=append        # one log over all starts of the job
#SBATCH --output=%x-%j.log
set -uo pipefail

program=${LODESTONE:-lodestone}
refuse() { echo "error: usage $1; do: $2" >&2; exit 2; }
command -v "$program" > /dev/null ||
  refuse "the program '$program' is not there" "build it (README.md), and give its path as LODESTONE=PATH"
[ -n "${SLURM_JOB_ID:-}" ] || refuse "this is no Slurm job" "submit the script: sbatch $0 CONFIG.yaml"

# srun reads no --cpus-per-task from the job since Slurm 22.05; a rank that fails must end the others.
srun --mpi=pmix --kill-on-bad-exit=1 --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" "$program" train "$@"
code=$?
if [ $code -eq 75 ]; then   # stopped early, checkpoint saved: the same job again goes on from it
  scontrol requeue "$SLURM_JOB_ID"
fi
exit $code
