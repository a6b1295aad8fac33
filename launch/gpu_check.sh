#!/usr/bin/env bash
# Looks at the GPU of this machine, each time in less than ten minutes, and writes one JSON report.
#   gpu_check.sh properties [--report FILE]           GPUs, libraries and their versions
#   gpu_check.sh check [--report FILE] [--quick]      whether what is computed is right: operations, layers, losses, training, sanitizers
#   gpu_check.sh bench [--report FILE] [--quick]      how fast it trains: steps and operations beside what the
#                                                     device does at most, and beside PyTorch where Python has it
# Prints a line an item. Exit codes: 0 all passed; 1 something failed; 2 wrong arguments; 3 nothing failed, but something was not run;
# 77 there is no GPU that can be used. --quick: what an emulated GPU (tests/cuda) can do in that time; what it leaves out was not run.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
refuse() { echo "error: usage $1; do: $2" >&2; exit 2; }
case "${1:-}" in
  properties | check | bench) ;;
  -h | --help) sed -n '2,8s/^# \{0,1\}//p' "$0"; exit 0 ;;
  *) refuse "'${1:-}' is not properties, check or bench" "gpu_check.sh --help" ;;
esac
command -v python3 > /dev/null || refuse "python3 is not there" "install it, or put it on the PATH"
exec "$here/with_cuda.sh" python3 -B "$here/gpu_check.py" "$@"
