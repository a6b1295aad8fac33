#!/usr/bin/env bash
# Installs what is missing, builds the release binary and runs the tests.
#   test.sh [CTEST ARGUMENTS...]      for example: test.sh -L unit
set -euo pipefail
cd "$(dirname "$0")/.."
./launch/setup.sh
cmake --preset release > /dev/null
cmake --build --preset release
code=0
ctest --preset release --no-tests=error -j "$(nproc)" "$@" || code=$?
echo "skipped, with reasons:"
awk '/: Skipped$/ { getline; print } sub(/^skipped: /, "") { print }' build/release/Testing/Temporary/LastTest.log | sort | uniq -c
exit $code
