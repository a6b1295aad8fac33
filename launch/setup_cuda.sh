#!/usr/bin/env bash
# What building the CUDA backend needs, at pinned versions, into .cache/cuda of this clone, laid out like a toolkit. What a CUDA 13 toolkit has
# that is there already (CUDA_HOME, /usr/local/cuda) is taken from there, the disassembler never: its text is what a test reads.
#   setup_cuda.sh                 all: 1.1 GB to download where there is no toolkit, 1.6 GB on the disk
#   setup_cuda.sh --tests         only what tests read beside a toolkit: cuobjdump, nvdisasm, the headers of cuDNN's frontend: 17 MB
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
pinned=$root/.cache/cuda
fail() { echo "error: resource $1; do: $2" >&2; exit 9; }

# Whether a folder holds the compiler, headers and runtime of CUDA 13.
is_toolkit() { [ -x "$1/bin/nvcc" ] && grep -qE 'define CUDART_VERSION +13' "$1/include/cuda_runtime_api.h" 2> /dev/null; }

toolkit=
for folder in ${CUDA_HOME:+"$CUDA_HOME"} /usr/local/cuda; do
  if is_toolkit "$folder"; then toolkit=$folder; break; fi
done
has() { [ -n "$toolkit" ] && compgen -G "$toolkit/$1" > /dev/null; }   # has PATTERN: a file of the toolkit
has_cudnn() {   # headers of cuDNN 9, from 9.19 on
  has include/cudnn_version.h && awk '$2 == "CUDNN_MAJOR" { major = $3 } $2 == "CUDNN_MINOR" { minor = $3 } END { exit !(major == 9 && minor >= 19) }' "$toolkit/include/cudnn_version.h"
}

packages=()
case ${1:-} in
  '')
    if [ -z "$toolkit" ]; then   # the compiler and what it reads come from one place
      packages+=(nvidia-cuda-nvcc==13.0.88 nvidia-nvvm==13.0.88 nvidia-cuda-crt==13.0.88 nvidia-cuda-runtime==13.0.96 nvidia-cuda-cccl==13.0.85)
    fi
    if ! { has include/cublasLt.h && has 'lib*/libcublasLt.so'; }; then packages+=(nvidia-cublas==13.1.0.3); fi
    if ! { has include/nccl.h && has 'lib*/libnccl.so'; }; then packages+=(nvidia-nccl-cu13==2.28.9); fi
    if ! { has_cudnn && has 'lib*/libcudnn.so'; }; then packages+=(nvidia-cudnn-cu13==9.19.0.56); fi
    if ! has 'lib*/libnvrtc.so'; then packages+=(nvidia-cuda-nvrtc==13.0.88); fi ;;
  --tests) ;;
  *) echo "error: usage '$1' is no argument of setup_cuda.sh; do: setup_cuda.sh [--tests]" >&2; exit 2 ;;
esac
packages+=(nvidia-cuda-cuobjdump==13.2.51 nvidia-cuda-nvdisasm==13.2.51)   # the first of PyPI; they read what CUDA 13.0 compiles
packages+=(nvidia-cudnn-frontend==1.32.0)   # headers: no toolkit has them

mkdir -p "$pinned"
exec 9> "$pinned/lock"
flock 9
touch "$pinned/installed"
for package in "${packages[@]}"; do
  if grep -qxF "$package" "$pinned/installed"; then continue; fi
  echo "setup: fetching $package"
  wheel=$(mktemp -d "$pinned/wheel.XXXXXX")
  trap 'rm -rf "$wheel"' EXIT
  said=$(python3 -m pip install --quiet --disable-pip-version-check --no-deps --no-warn-script-location --target "$wheel" "$package" 2>&1) ||
    fail "pip could not fetch $package: $(tail -n 1 <<< "$said")" "check the network"
  for folder in "$wheel"/nvidia/*/; do [ ! -d "$folder" ] || cp -r --link --force "$folder". "$pinned"; done
  if [ -d "$wheel/include" ]; then cp -r --link --force "$wheel/include" "$pinned"; fi
  rm -rf "$wheel"
  echo "$package" >> "$pinned/installed"
done

# The names that a linker and nvcc look for.
if [ -d "$pinned/lib" ]; then ln -sfn lib "$pinned/lib64"; fi
for library in "$pinned"/lib/*.so.*; do
  if [ -e "$library" ]; then ln -sf "${library##*/}" "${library%%.so.*}.so"; fi
done
echo "setup: CUDA from ${toolkit:+$toolkit, and from }PyPI in .cache/cuda: ${packages[*]}"
