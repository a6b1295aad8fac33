#!/usr/bin/env bash
# What a run on a GPU says when the GPU fails it, on doubles that fail on demand (tests/cuda/doubles/runtime.h): one line, the documented exit
# code, no hang, on one rank and on two.   cuda_faults_test.sh BINARY SOURCE_DIR
set -uo pipefail
lodestone=$1
library=cuda
. "$2/tests/support/emulated_run.sh"

shape=(data.heldout= train.steps=2 train.save_steps=2 train.global_batch=8 device=cuda)
number=0
on_gpu() {  # on_gpu RANKS [NAME=VALUE ...]: a run of its own with these in the environment; 124 where it does not end
  local start=()
  [ "$1" -gt 1 ] && start=("$support/mpirun.sh" "$1")
  shift
  number=$((number + 1))
  env "LD_LIBRARY_PATH=$emulated" "$@" timeout 120 "${start[@]}" "$lodestone" train run.yaml "${shape[@]}" "train.output_dir=run$number"
}

with_little() {  # with_little RANKS CHUNK: a step of 24 pairs a rank with 1.5 MiB of step memory, where 512 MiB are left to libraries and 32 are cuBLASLt's
  local shape=("${shape[@]}" train.steps=1 "train.global_batch=$((24 * $1))" "train.chunk_tokens=$2" train.keep_activations_mb=0)
  on_gpu "$1" LODESTONE_DOUBLE_MEMORY_MB=546
}

for ranks in 1 2; do
  echo "on $ranks"
  refuses "no driver" 2 "there is no NVIDIA driver, or one that is older than this CUDA" on_gpu $ranks LODESTONE_DOUBLE_FAIL=cudaGetDeviceCount:0:35
  refuses "no GPU" 2 "there is no GPU that CUDA sees" on_gpu $ranks LODESTONE_DOUBLE_FAIL=cudaGetDeviceCount:0:100
  refuses "no memory for the parameters" 9 "for=the parameters" on_gpu $ranks LODESTONE_DOUBLE_FAIL=cudaMalloc:1:2
  refuses "too little step memory" 9 "step memory is used up: " with_little $ranks 1024
  says "the chunk that fits is named" "set train.chunk_tokens to "
  refuses "a kernel that reads what is not there" 9 "cudaErrorIllegalAddress" on_gpu $ranks LODESTONE_DOUBLE_FAIL=cudaStreamSynchronize:20:700
  says "the operations are named with their shapes" "the last ones: "
  refuses "a kernel that does not start" 9 "the launch of a kernel" on_gpu $ranks LODESTONE_DOUBLE_FAIL=cudaLaunchKernelExC:100:719
  refuses "a product that does not start" 9 "the product of " on_gpu $ranks LODESTONE_DOUBLE_FAIL=cublasLtMatmul:10:719
  refuses "a copy that fails" 9 "cudaErrorIllegalAddress" on_gpu $ranks LODESTONE_DOUBLE_FAIL=cudaMemcpyAsync:12:700
done

# Ranks whose parts of a batch differ, each of which may say its own chunk.
uneven() {
  local shape=("${shape[@]}" train.steps=1 train.global_batch=49 train.chunk_tokens=1024 train.keep_activations_mb=0)
  on_gpu 2 LODESTONE_DOUBLE_MEMORY_MB=546
}
expect "too little step memory for uneven parts" 9 uneven
says "the chunk that fits is named there too" "set train.chunk_tokens to "
if grep -q "error: internal" err.log; then bad "and nothing else" err.log; else ok "and nothing else"; fi

# What has a size of its own comes before step memory, which takes of what is left.
refuses "no memory for the gradients" 9 "for=the gradients" on_gpu 1 LODESTONE_DOUBLE_FAIL=cudaMalloc:2:2
refuses "no memory for the moments" 9 "for=the optimizer's moments" on_gpu 1 LODESTONE_DOUBLE_FAIL=cudaMalloc:3:2
refuses "no step memory" 9 "for=step memory" on_gpu 1 LODESTONE_DOUBLE_FAIL=cudaMalloc:5:2

# The chunk that is named is the largest, by rows as products take them: 64 at a time.
refuses "too large chunks" 9 "set train.chunk_tokens to " with_little 1 1024
chunk=$(sed -n 's/.*set train.chunk_tokens to \([0-9]*\) or less.*/\1/p' err.log)
expect "with chunks of $chunk tokens it runs" 0 with_little 1 "$chunk"
expect "with 64 more it does not" 9 with_little 1 $((chunk + 64))

# One rank's GPU fails, and the other waits for it.
printf '#!/bin/sh\n[ "$OMPI_COMM_WORLD_RANK" = 1 ] && export LODESTONE_DOUBLE_FAIL=cudaStreamSynchronize:20:700\nexec "$@"\n' > on_one.sh
chmod +x on_one.sh
on_one() { LD_LIBRARY_PATH=$emulated timeout 120 "$support/mpirun.sh" 2 ./on_one.sh "$lodestone" train run.yaml "${shape[@]}" train.output_dir=one; }
refuses "the GPU of one rank of two" 9 "cudaErrorIllegalAddress" on_one
says "the rank is named" "rank=1"
all_passed
