#!/usr/bin/env bash
# Checks how long files and functions are: at most 400 lines a file of code, script or build, and 60 lines a C++ function. Functions of
# tests/ may be longer: a test tells its story in one place. size_test.sh BINARY SOURCE_DIR
set -euo pipefail
cd "$2"
files=$(find core comm losses data launch tests CMakeLists.txt -name '*.h' -o -name '*.cpp' -o -name '*.cu' -o -name '*.sh' -o -name '*.py' -o -name CMakeLists.txt | sort)
sources=$(grep -E '\.(h|cpp|cu)$' <<< "$files" | grep -v '^tests/')
failed=0

long_files=$(xargs wc -l <<< "$files" | awk '$2 != "total" && $1 > 400 { print "  " $2 ": " $1 }')
if [ -n "$long_files" ]; then printf 'files of more than 400 lines; make two of them:\n%s\n' "$long_files"; failed=1; fi

# Formatted text (.clang-format) shows what a brace closes: at the depth of the types that are open, "}" alone ends the function that the
# last line of that depth began; types, enumerations and initial values end with ";", namespaces with a comment.
long_functions() {
  xargs awk '
    FNR == 1 { types = 0 }
    {
      match($0, /^ */); depth = RLENGTH; line = substr($0, depth + 1)
      if (types > 0 && depth == 2 * (types - 1) && line ~ /^}.*;/) types--
      else if (depth != 2 * types) next
      else if (line == "}") { if (FNR - first + 1 > most) printf "  %s:%d: %d: %s\n", FILENAME, first, FNR - first + 1, name }
      else if (line ~ /^(struct|class|union) .*\{$/) types++
      else if (line !~ /^($|#|\/|})/) { first = FNR; name = line }
    }' most="$1"
}
found=$(long_functions 60 <<< "$sources")
if [ -n "$found" ]; then printf 'functions of more than 60 lines; name their parts:\n%s\n' "$found"; failed=1; fi

# That it sees functions at all.
count=$(long_functions 20 <<< "$sources" | wc -l)
if [ "$count" -lt 100 ]; then echo "only $count functions of more than 20 lines were found: is the tree formatted?"; failed=1; fi

[ "$failed" -eq 0 ] && echo "files have at most 400 lines, functions at most 60"
exit "$failed"
