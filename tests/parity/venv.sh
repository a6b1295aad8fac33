#!/usr/bin/env bash
# Prints the Python that parity scripts run under: $LODESTONE_PYTHON if set, otherwise that of a virtual environment made here
# on first use (build/parity-venv; PyTorch takes about two minutes and 6 GB). CI proper needs none of this: it reads golden files.
set -euo pipefail
if [ -n "${LODESTONE_PYTHON:-}" ]; then
  echo "$LODESTONE_PYTHON"
  exit 0
fi
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
venv=${LODESTONE_VENV:-$root/build/parity-venv}
if [ ! -e "$venv/.complete" ]; then
  python3 -m venv "$venv" >&2
  "$venv/bin/pip" install --quiet --disable-pip-version-check \
    torch==2.15.0 transformers==5.23.0 sentence-transformers==6.2.0 safetensors==0.8.0 numpy==2.4.6 >&2
  touch "$venv/.complete"
fi
echo "$venv/bin/python"
