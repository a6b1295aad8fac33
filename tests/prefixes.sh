#!/usr/bin/env bash
# Builds without root: unpacks Debian's packages of each library under a prefix of its own, builds there by CMAKE_PREFIX_PATH alone, checks that
# every header and library comes from its prefix, installs, and runs the installed program from elsewhere. MPI is the machine's: mpicc on
# the PATH. Takes a build (optimised little: it is about what is found). Needs Debian 12's package sources.
#   tests/prefixes.sh [FOLDER [CMAKE_ARGUMENTS...]]       FOLDER: where to work, and what to keep; else a temporary one
set -euo pipefail
source_dir=$(realpath "$(dirname "$0")/..")
if [ $# -gt 0 ]; then mkdir -p "$1"; dir=$(realpath "$1"); shift; else dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT; fi
cd "$dir"
fail() { echo "error: $*" >&2; exit 1; }

# A library, its packages, the header that must come from its prefix, and its soname there. aec and sz: what Debian's HDF5 needs itself.
libraries=(
  "dnnl|libdnnl-dev libdnnl2|oneapi/dnnl/dnnl.h|libdnnl.so.2"
  "hdf5|libhdf5-dev libhdf5-103-1|hdf5.h|libhdf5_serial.so.103"
  "sz|libsz2||libsz.so.2"
  "aec|libaec0||libaec.so.0"
  "yaml-cpp|libyaml-cpp-dev libyaml-cpp0.7|yaml-cpp/yaml.h|libyaml-cpp.so.0.7"
  "json|nlohmann-json3-dev|nlohmann/json.hpp|"
  "utf8proc|libutf8proc-dev libutf8proc2|utf8proc.h|libutf8proc.so.2"
  "simdjson|libsimdjson-dev libsimdjson14|simdjson.h|libsimdjson.so.14"
  "xxhash|libxxhash-dev libxxhash0|xxhash.h|libxxhash.so.0"
  "zlib|zlib1g-dev zlib1g|zlib.h|libz.so.1"
)
prefixes=
for entry in "${libraries[@]}"; do
  IFS='|' read -r name packages _ _ <<< "$entry"
  prefix=$dir/prefix/$name
  if [ ! -d "$prefix" ]; then
    rm -rf debs && mkdir debs
    # shellcheck disable=SC2086
    (cd debs && apt-get download -q=2 -o APT::Sandbox::User=root $packages) || fail "the packages of $name could not be fetched"
    mkdir -p "$prefix"
    for package in debs/*.deb; do dpkg -x "$package" "$prefix"; done
    if [ -d "$prefix/lib" ]; then cp -a "$prefix/lib/." "$prefix/usr/lib/" && rm -r "$prefix/lib"; fi   # Debian takes /lib for /usr/lib
    find "$prefix" -type l -lname '/lib/*' | while read -r link; do ln -sf "$prefix/usr$(readlink "$link")" "$link"; done
  fi
  prefixes+="$prefix/usr;"
done
echo "unpacked: ${#libraries[@]} libraries, each under its own prefix"

# CMake looks nowhere but below the prefixes: what is not found there is missing.
cmake -S "$source_dir" -B build -G Ninja -DCMAKE_BUILD_TYPE=Debug -DCMAKE_INSTALL_PREFIX="$dir/installed" "-DCMAKE_PREFIX_PATH=$prefixes" \
  -DCMAKE_FIND_USE_CMAKE_SYSTEM_PATH=OFF -DCMAKE_FIND_USE_SYSTEM_ENVIRONMENT_PATH=OFF -DMPI_C_COMPILER="$(command -v mpicc)" \
  -DCMAKE_MAKE_PROGRAM="$(command -v ninja)" -DCMAKE_C_COMPILER="$(command -v cc)" -DCMAKE_CXX_COMPILER="$(command -v c++)" "$@" > configure.log 2>&1 ||
  { cat configure.log; fail "it cannot be configured"; }
cmake --build build
ninja -C build -t deps > dependencies.txt   # every header that was read
for entry in "${libraries[@]}"; do
  IFS='|' read -r name _ header _ <<< "$entry"
  [ -n "$header" ] || continue
  grep -q "prefix/$name/usr/include/.*$header\$" dependencies.txt || fail "no $header of prefix/$name was read"
  if grep -E "^ +/usr/(local/)?include/(hdf5/serial/)?$header\$" dependencies.txt; then fail "$header of the system was read"; fi
done
echo "headers: each from its prefix, none from the system"

cmake --install build > /dev/null
cd /
unset LD_LIBRARY_PATH
ldd "$dir/installed/bin/lodestone" > "$dir/ldd.txt"
for entry in "${libraries[@]}"; do
  IFS='|' read -r name _ _ soname <<< "$entry"
  [ -z "$soname" ] || grep -q "$soname => $dir/prefix/$name/" "$dir/ldd.txt" || { grep "$soname" "$dir/ldd.txt"; fail "$soname does not come from prefix/$name"; }
done
echo "libraries: each from its prefix, also those that a library needs"
"$dir/installed/bin/lodestone" --version
"$dir/installed/bin/lodestone" check "$dir/installed/share/lodestone/configs/conan-finetune.yaml" --without-data > /dev/null
"$source_dir/tests/build_test.sh" "$dir/build/lodestone" "$source_dir"
echo "built below prefixes, installed, and run from elsewhere"
