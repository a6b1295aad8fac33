#!/usr/bin/env bash
# Installs what is missing, builds the program and its tests (warnings are errors) and runs them.
#   test.sh [CTEST ARGUMENTS...]      for example: test.sh -L unit
set -euo pipefail
cd "$(dirname "$0")/.."
./launch/setup.sh
not_fetched=
for toolkit in ${CUDA_HOME:+"$CUDA_HOME"} /usr/local/cuda .cache/cuda; do   # nobody fetches a compiler for a test
  if [ -x "$toolkit/bin/nvcc" ]; then not_fetched=$(./launch/setup_cuda.sh --tests 2>&1 > /dev/null) || true; break; fi
done
cmake --preset test > /dev/null
cmake --build --preset test
code=0
ctest --preset test --no-tests=error -j "$(nproc)" "$@" || code=$?
echo "skipped, with reasons:"
awk '/: Skipped$/ { getline; print } sub(/^skipped: /, "") { print }' build/release/Testing/Temporary/LastTest.log | sort | uniq -c
[ -z "$not_fetched" ] || echo "      why not: $not_fetched"
exit $code
