#!/usr/bin/env bash
# Does the build take a cuDNN whose library and headers lie in one folder and are new enough?   find_cudnn_test.sh BINARY SOURCE_DIR
set -uo pipefail
finder=$2/cmake/find_cudnn.cmake
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
failed=0
root() {  # root NAME MAJOR MINOR [library]
  mkdir -p "$dir/$1"/{include,lib}
  : > "$dir/$1/include/cudnn.h"
  printf '#define CUDNN_MAJOR %s\n#define CUDNN_MINOR %s\n#define CUDNN_PATCHLEVEL 0\n' "$2" "$3" > "$dir/$1/include/cudnn_version.h"
  [ $# -lt 4 ] || : > "$dir/$1/lib/libcudnn.so"
}
root old 9 10 library
root headers 9 20
root whole 9 21 library
root next 10 0 library
finds() {  # finds WANTED ROOT...: "VERSION INCLUDE LIBRARY" below $dir; what the system has counts as nothing
  local wanted=$1 roots=()
  shift
  for name in "$@"; do roots+=("$dir/$name"); done
  cat > "$dir/find.cmake" << CMAKE
set(CMAKE_FIND_LIBRARY_PREFIXES lib)
set(CMAKE_FIND_LIBRARY_SUFFIXES .so)
include($finder)
find_cudnn(${roots[*]})
message("found \${CUDNN_VERSION} \${CUDNN_INCLUDE} \${CUDNN_LIBRARY};seen\${CUDNN_SEEN}")
CMAKE
  said=$(cmake -P "$dir/find.cmake" 2>&1)
  found=$(grep -o '^found [^;]*' <<< "$said" | sed "s|^found ||; s|$dir/||g; s|/ | |g")
  case $found in *" /"*) found="  " ;; esac
  if [ "$found" = "$wanted" ]; then echo "ok $*: '$wanted'"; else echo "FAILED $*: '$said' instead of '$wanted'"; failed=1; fi
}
finds "9.21 whole/include whole/lib/libcudnn.so" whole old
finds "9.21 whole/include whole/lib/libcudnn.so" old headers next whole
finds "  " old headers next
for words in "version 9.10 in $dir/old" "headers without a library in $dir/headers" "version 10.0 in $dir/next"; do
  if grep -qF "$words" <<< "$said"; then echo "ok it says: $words"; else echo "FAILED it does not say: $words: $said"; failed=1; fi
done
exit $failed
