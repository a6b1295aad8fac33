#!/usr/bin/env bash
# Runs a command with CUDA's libraries, wherever this machine has them (a toolkit, or Python's nvidia-* packages), and with the programs of
# this folder: of the bundle (launch/bundle.sh), or of build/. Says on stderr what it found where.
#   with_cuda.sh COMMAND [ARGUMENTS...]      for example: with_cuda.sh mpirun -np 2 lodestone train run.yaml device=cuda
set -euo pipefail
shopt -s nullglob
[ $# -gt 0 ] || { sed -n '2,4s/^# \{0,1\}//p' "$0" >&2; exit 2; }
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

libraries=(libcudart.so.13 libcublasLt.so.13 libcudnn.so.9 libnvrtc.so.13 libnccl.so.2)
IFS=: read -ra given <<< "${LD_LIBRARY_PATH:-}"
mapfile -t packages <<< "$(python3 -c 'import sys; print("\n".join(p for p in sys.path if p))' 2> /dev/null)"
folders=(${given[@]+"${given[@]}"})
for toolkit in "${CUDA_HOME:-}" "${CUDA_PATH:-}" /usr/local/cuda /usr/local/cuda-13* "$root/.cache/cuda"; do
  [ -z "$toolkit" ] || folders+=("$toolkit/lib64" "$toolkit/targets/x86_64-linux/lib" "$toolkit/lib")
done
for site in "${packages[@]}"; do [ -z "$site" ] || folders+=("$site"/nvidia/*/lib); done

path=${LD_LIBRARY_PATH:-} missing=
add() { case ":$path:" in *":$1:"*) ;; *) path=${path:+$path:}$1 ;; esac; }
for library in "${libraries[@]}"; do
  found=
  for folder in ${folders[@]+"${folders[@]}"}; do
    if [ -e "$folder/$library" ]; then found=$folder; break; fi
  done
  if [ -n "$found" ]; then
    add "$found"
    echo "cuda: $library in $found" >&2
  else
    missing="$missing $library"
  fi
done
[ -z "$missing" ] || echo "cuda: no$missing in LD_LIBRARY_PATH, a toolkit (CUDA_HOME, /usr/local/cuda) or Python's nvidia packages" >&2

if [ -x "$root/bin/lodestone" ]; then   # a bundle has its own Open MPI
  export PATH="$root/bin:$PATH" OPAL_PREFIX="$root"
else
  export PATH="$root/build/release:$PATH"
  [ ! -e "$root/build/cuda/liblodestone_cuda.so" ] || add "$root/build/cuda"
fi
export LD_LIBRARY_PATH="$path"
exec "$@"
