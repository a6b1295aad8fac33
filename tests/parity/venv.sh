#!/usr/bin/env bash
# Prints the Python that a parity or peer script runs under:  "$(tests/parity/venv.sh PACKAGE==VERSION...)" script.py
# LODESTONE_PYTHON (an interpreter) or LODESTONE_VENV (a virtual environment) is taken as it is. Otherwise the environment
# .cache/venv of the repository is made, and the packages named are installed there once; without names those of the model
# scripts, PyTorch among them: two minutes and 6 GB. CI proper needs none of this: it reads golden files.
set -euo pipefail
fail() { echo "error: resource $1; do: $2" >&2; exit 9; }
if [ -n "${LODESTONE_PYTHON:-}" ]; then
  echo "$LODESTONE_PYTHON"
  exit 0
fi
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
if [ -n "${LODESTONE_VENV:-}" ]; then
  [ -x "$LODESTONE_VENV/bin/python" ] || fail "LODESTONE_VENV=$LODESTONE_VENV holds no bin/python" "name a virtual environment, or unset it"
  echo "$LODESTONE_VENV/bin/python"
  exit 0
fi
[ $# -gt 0 ] || set -- torch==2.15.0 transformers==5.23.0 sentence-transformers==6.2.0 safetensors==0.8.0 numpy==2.4.6 h5py==3.16.0
venv=$root/.cache/venv
mkdir -p "$root/.cache"
exec 9>"$root/.cache/venv.lock"
flock 9   # scripts started side by side install one after the other
[ -x "$venv/bin/pip" ] || python3 -m venv "$venv" >&2 || fail "python3 cannot make a virtual environment" "install python3-venv"
touch "$venv/installed"
for package in "$@"; do
  grep -qxF "$package" "$venv/installed" && continue
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$package" >&2 ||
    fail "pip could not install $package" "check the network, or set LODESTONE_VENV"
  echo "$package" >> "$venv/installed"
done
echo "$venv/bin/python"
