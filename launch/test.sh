#!/usr/bin/env bash
# Installs what is missing, builds the release binary and runs the tests.
#   test.sh [CTEST ARGUMENTS...]      for example: test.sh -L unit
set -euo pipefail
cd "$(dirname "$0")/.."
./launch/setup.sh
cmake --preset release > /dev/null
cmake --build --preset release
exec ctest --preset release --no-tests=error -j "$(nproc)" "$@"
