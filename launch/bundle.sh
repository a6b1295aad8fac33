#!/usr/bin/env bash
# Makes one file that runs on another machine, of a C library as new as this one's or newer: the program, the tests that gpu_check.sh runs,
# the CUDA backend, and all libraries of theirs but CUDA's and the C library's. It needs bash and python3 there, and for a GPU the
# driver, cudart and cuBLASLt (launch/with_cuda.sh finds them).
#   bundle.sh [OUT.tar.gz]                    builds first (nvcc, preset cuda); default: build/bundle/lodestone.tar.gz
#   bundle.sh --emulated BUILD OUT.tar.gz     of what BUILD, a build folder with tests, holds: the backend on an emulated GPU (tests/cuda)
# There: tar -xzf lodestone.tar.gz && lodestone/launch/gpu_check.sh check
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
most_mb=60
refuse() { echo "error: usage $1; do: $2" >&2; exit 2; }
for program in patchelf strip mpirun; do
  command -v $program > /dev/null || refuse "$program is not there" "./launch/setup.sh"
done

case "${1:-}" in
  -h | --help) sed -n '2,8s/^# \{0,1\}//p' "$0"; exit 0 ;;
  --emulated)
    [ $# -eq 3 ] || refuse "--emulated takes two arguments" "bundle.sh --emulated BUILD OUT.tar.gz"
    build=$2 out=$3 backend=$2/emulated/liblodestone_cuda.so
    [ -e "$backend" ] || refuse "$backend is not there" "build with preset test, where CUDA's headers and cuBLASLt are"
    beside=()
    for library in nccl cudnn; do [ ! -e "$build/emulated/liblodestone_$library.so" ] || beside+=("lodestone_$library"); done ;;
  -*) refuse "'$1' is no option" "bundle.sh --help" ;;
  *)
    [ $# -le 1 ] || refuse "one file is made" "bundle.sh OUT.tar.gz"
    out=${1:-$root/build/bundle/lodestone.tar.gz}
    cd "$root"
    cmake --preset test > /dev/null
    cmake --build --preset test --target lodestone core_tests losses_tests
    cmake --preset cuda > /dev/null
    targets=(lodestone_cuda)
    grep -qE '^NCCL_(LIBRARY|INCLUDE):.*NOTFOUND' build/cuda/CMakeCache.txt || targets+=(lodestone_nccl)
    ! grep -q '^build lodestone_cudnn:' build/cuda/build.ninja || targets+=(lodestone_cudnn)
    cmake --build --preset cuda --target "${targets[@]}"
    beside=("${targets[@]:1}")   # what an earlier build left there is not taken
    cd "$OLDPWD"
    build=$root/build/release backend=$root/build/cuda/liblodestone_cuda.so ;;
esac

mkdir -p "$(dirname "$out")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
to=$work/lodestone
mkdir -p "$to"/{bin,lib/lodestone,launch,docs,tests/golden,tests/peers,tests/support}
cp "$build"/{lodestone,core_tests,losses_tests} "$to/bin/"
cp "$backend" "$to/lib/lodestone/"
for library in "${beside[@]}"; do cp "$(dirname "$backend")/lib$library.so" "$to/lib/lodestone/"; done
cp "$root"/launch/{gpu_check.sh,gpu_check.py,gpu_bench.py,gpu_report.py,gpu_suites.txt,with_cuda.sh} "$to/launch/"
cp "$root"/tests/golden/{*.json,*.safetensors} "$to/tests/golden/"
cp "$root/tests/support/tiny_run.py" "$to/tests/support/"
cp "$root"/tests/peers/gpu_{speed,peers}.py "$to/tests/peers/"
cp "$root"/{README.md,LICENSE} "$to/"
cp "$root"/docs/cuda.md "$to/docs/"

# Open MPI finds what is its own below OPAL_PREFIX, at the same places as below its prefix here. It starts ranks on its own host: left out are
# transports and launchers of clusters, which would bring their own libraries or, where there is no ssh, refuse to start.
mpi_path() { ompi_info --path "$1" --parsable | cut -d: -f3; }
mpi_prefix=$(mpi_path prefix) plugins=$(mpi_path pkglibdir) words=$(mpi_path pkgdatadir)
there() { echo "$to/${1#"$mpi_prefix"/}"; }
mkdir -p "$(there "$plugins")" "$(there "$words")"
find "$plugins" -name 'mca_*.so' | grep -vE '_(ucx|ofi|psm2?|openib|flux|slurm|gridengine|jsm|rsh)\.so|mca_(memheap|scoll|spml|sshmem)_' | xargs cp -Lt "$(there "$plugins")"
cp "$words"/*.txt "$(there "$words")/"
cp -L "$(command -v mpirun)" "$to/bin/mpirun"
cp -L "$(command -v orted)" "$to/bin/orted"

# What all of them load: the C library's own parts must be those of the kernel's loader there, and CUDA's those of the driver. The
# backend lies in its folder, where NCCL's library finds it loaded.
system='^(ld-linux.*|libc|libm|libpthread|libdl|librt|libresolv|libutil|libnss_.*)\.so'
cuda='^lib(lodestone_cuda|cuda|cudart|cublas|cublasLt|cudnn.*|nccl|nvrtc.*)\.so'
mapfile -t ours < <(find "$to" -type f \( -path '*/bin/*' -o -name '*.so' \))
ldd "${ours[@]}" 2> /dev/null | awk '$2 == "=>" && $3 ~ /^\// { print $3 }' | sort -u | while read -r library; do
  [[ $(basename "$library") =~ $system || $(basename "$library") =~ $cuda ]] || cp -L "$library" "$to/lib/"
done

# Everything finds them from where it lies itself, before what LD_LIBRARY_PATH has.
find "$to" -type f \( -path '*/bin/*' -o -name '*.so*' \) | while read -r file; do
  strip --strip-unneeded "$file"
  patchelf --force-rpath --set-rpath "\$ORIGIN/$(realpath --relative-to="$(dirname "$file")" "$to/lib")" "$file"
done

tar -C "$work" --sort=name --owner=0 --group=0 --numeric-owner -czf "$out" lodestone
megabytes=$(($(stat -c %s "$out") / 1000000 + 1))
[ $megabytes -le $most_mb ] || { echo "error: bundle $out has $megabytes MB; do: leave out what is not needed, at most $most_mb MB" >&2; exit 10; }
echo "$out: $megabytes MB, $(find "$to/lib" -maxdepth 1 -name '*.so*' | wc -l) libraries, C library $(getconf GNU_LIBC_VERSION | cut -d' ' -f2) or newer"
