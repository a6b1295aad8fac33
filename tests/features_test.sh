#!/usr/bin/env bash
# Checks that every test named in docs/features.md exists, and that every feature has one or says that it is not done.
# features_test.sh BINARY SOURCE_DIR
set -euo pipefail
cd "$2"
table=docs/features.md
failed=0
complain() { printf '%s\n' "$1"; failed=1; }

known=$(grep -rhoE --include='*_test.cpp' '^(TEST|TEST_F|TEST_P|TYPED_TEST)\([A-Za-z0-9_]+, *[A-Za-z0-9_]+\)' tests | sed -E 's/^[A-Z_]+\(([A-Za-z0-9_]+), *([A-Za-z0-9_]+)\)/\1.\2/' | sort)

# Every name between backticks is a test, a script's check, a file or a plain word of the text; the first three must exist.
named=0
while IFS= read -r name; do
  case $name in
    Suite.Name | x_test.sh:\ NAME) ;;   # how the table explains itself
    *_test.sh:\ *)
      named=$((named + 1))
      script=tests/launch/${name%%: *} check=${name#*: }
      if ! [ -f "$script" ]; then complain "$table names the script $script, which does not exist"
      elif ! grep -qF -- "\"$check\"" "$script"; then complain "$table: $script has no check \"$check\""; fi ;;
    */*) [ -e "$name" ] || case $name in *'*'* | *FOLDER*) ;; */x_test.sh) ;; *) complain "$table names $name, which does not exist" ;; esac ;;
    [A-Z]*.[A-Z]*)
      named=$((named + 1))
      grep -qxF -- "$name" <<< "$known" || complain "$table names the test $name, which does not exist" ;;
  esac
done < <(grep -oE '`[^`]+`' "$table" | tr -d '\`' | sort -u)
[ "$named" -gt 150 ] || complain "$table: only $named names of tests were found"

# Every feature has a line, once, with a test or the words "not done".
ids=$(echo X{1..12} C{1..11} C13 B{1..11} B13 B14 B15 B16 L1 L2 L{4..8} L11 L12 G{1..8})
for id in $ids; do
  line=$(grep -E "^\| $id \|" "$table" || true)
  if [ "$(grep -c . <<< "$line")" -ne 1 ]; then complain "$table has not one line for $id"
  elif ! grep -qE '`[A-Z][A-Za-z0-9_]*\.[A-Z]|not done' <<< "$line" && ! grep -qF '_test.sh: ' <<< "$line"; then complain "$table: $id has no test and does not say \"not done\""; fi
done

[ "$failed" -eq 0 ] && echo "$named tests are named, and all exist"
exit "$failed"
