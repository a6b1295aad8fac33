#!/usr/bin/env bash
# Runs a program under mpirun with more ranks than cores allowed: mpirun.sh RANKS PROGRAM [ARGUMENTS...]
# TRANSPORTS: how ranks of this host reach each other (self,vader: shared memory).
set -euo pipefail
ranks=$1
shift
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMP_NUM_THREADS=1
exec mpirun --oversubscribe --bind-to none --mca mpi_yield_when_idle 1 --mca btl "${TRANSPORTS:-self,vader}" -np "$ranks" "$@"
