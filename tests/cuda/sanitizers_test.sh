#!/usr/bin/env bash
# The emulated GPU under address and undefined-behaviour sanitizers: kernels, streams and doubles (cuda_tests), every operation, the encoder and
# layers (core.cuda), and ten steps of training. Builds what these need of preset dev in BUILD first.   sanitizers_test.sh SOURCE_DIR BUILD
set -euo pipefail
cd "$1"
cmake --preset dev -B "$2" > /dev/null
cmake --build "$2" --target cuda_sanitized
export ASAN_OPTIONS=detect_leaks=0 LD_LIBRARY_PATH=$2/emulated   # the sanitizer's dlopen does not look where the caller's own would
ctest --test-dir "$2" --output-on-failure --no-tests=error -j "$(nproc)" -R '^core\.cuda$|^Cuda(Doubles|Streams|Attention|Launches)\.'

set +e
lodestone=$2/lodestone library=cuda
set -- "$lodestone" "$1"
. "$2/tests/support/emulated_run.sh"
train() { timeout 900 "${@:2}" "$lodestone" train run.yaml data.heldout= train.global_batch=8 device=cuda "train.output_dir=$1"; }
expect "ten steps" 0 train one
expect "ten steps on 2 ranks that share the GPU" 0 train two "$support/mpirun.sh" 2
all_passed
