#!/usr/bin/env bash
# Installs what Lodestone needs from Debian's packages, and says why. Safe to run again: does nothing when all is there.
#   setup.sh              what building, running and testing need
#   setup.sh --cuda       and what the CUDA backend needs beside: launch/setup_cuda.sh
set -euo pipefail
cuda=false
case ${1:-} in
  '') ;;
  --cuda) cuda=true ;;
  *) echo "error: usage '$1' is no argument of setup.sh; do: setup.sh [--cuda]" >&2; exit 2 ;;
esac

packages=(
  "g++|compiles C++20"
  "cmake|configures the build"
  "ninja-build|runs the build"
  "libopenmpi-dev|MPI: ranks and collectives"
  "openmpi-bin|mpirun"
  "libdnnl-dev|oneDNN: matrix products on the CPU"
  "libhdf5-dev|HDF5: the packed corpus"
  "libyaml-cpp-dev|reads configurations"
  "nlohmann-json3-dev|reads and writes JSON"
  "libutf8proc-dev|Unicode tables of the tokenizer"
  "libsimdjson-dev|reads JSON lines"
  "libxxhash-dev|checksums"
  "zlib1g-dev|reads gzip"
  "libgtest-dev|the tests"
  "patchelf|launch/bundle.sh"
  "procps|the tests: send signals to ranks"
  "python3|prepares the demo's data, draws its picture"
  "python3-pip|fetches the demo's starting weights"
  "python3-venv|the environments of the scripts under tests/parity and tests/peers"
  "ca-certificates|fetches them safely"
)

missing=()
for entry in "${packages[@]}"; do
  name=${entry%%|*}
  if ! dpkg-query -W -f='${Status}' "$name" 2>/dev/null | grep -q 'install ok installed'; then
    missing+=("$name")
    echo "setup: $name is missing (${entry#*|})"
  fi
done
if [ ${#missing[@]} -eq 0 ]; then
  echo "setup: everything is installed"
else
  sudo=()
  if [ "$(id -u)" -ne 0 ]; then sudo=(sudo); fi
  echo "setup: installing ${missing[*]}"
  "${sudo[@]}" apt-get update -q=2
  DEBIAN_FRONTEND=noninteractive "${sudo[@]}" apt-get install -y -q=2 --no-install-recommends "${missing[@]}" > /dev/null
  echo "setup: done"
fi
if $cuda; then exec "$(dirname "$0")/setup_cuda.sh"; fi
