# Sourced by the shell tests: a temporary folder to work in, counted expectations, and the tiny run of tiny_run.py.
# Needs $lodestone, the binary; $0's second argument is the source folder.
support=$2/tests/support
dir=$(mktemp -d)
trap '[ $BASHPID -ne $$ ] || rm -rf "$dir"' EXIT   # not in a child that a signal ends
cd "$dir" || exit 1
passed=0
failed=0

ok() { passed=$((passed + 1)); echo "ok    $1"; }
bad() { failed=$((failed + 1)); echo "FAIL  $1"; shift; for f in "$@"; do tail -n 5 "$f"; done; }
expect() {  # expect NAME CODE COMMAND...: the exit code is CODE
  local name=$1 code=$2
  shift 2
  "$@" > out.log 2> err.log
  local got=$?
  if [ $got -eq "$code" ]; then ok "$name"; else bad "$name (exit code $got, expected $code)" out.log err.log; fi
}
says() {  # says NAME TEXT: the last command's stderr has the text
  if grep -qF -- "$2" err.log; then ok "$1"; else bad "$1 (stderr lacks '$2')" err.log; fi
}
refuses() {  # refuses NAME CODE TEXT COMMAND...: the exit code is CODE, and stderr is one line that has TEXT
  local name=$1 code=$2 text=$3
  shift 3
  expect "$name" "$code" "$@"
  if [ "$(grep -c . err.log)" -eq 1 ]; then ok "$name: one line"; else bad "$name: one line" err.log; fi
  says "$name: '$text'" "$text"
}
mpi() { "$support/mpirun.sh" "$@"; }
background() {  # background COMMAND...: starts it as `pid`; out.log is its own from the first moment on, and nobody reads an earlier one
  rm -f out.log err.log
  "$@" > out.log 2> err.log &
  pid=$!
}
same() { if cmp -s "$2" "$3"; then ok "$1"; else bad "$1 ($2 and $3 differ)"; fi; }

all_passed() {  # the last line of a test: how many passed; fails when one failed
  echo "$passed passed, $failed failed"
  [ $failed -eq 0 ]
}
wait_until() {  # wait_until SECONDS COMMAND...: true as soon as the command is
  local end=$((SECONDS + $1))
  shift
  until "$@"; do
    [ $SECONDS -lt $end ] || return 1
    sleep 0.1
  done
}
await() {  # await PID: `code` is the exit code of a child, which is killed after a minute
  ( sleep 60 && kill -KILL "$1" ) > /dev/null 2>&1 &
  local guard=$!
  wait "$1"
  code=$?
  pkill -P $guard
  kill $guard 2> /dev/null   # where it has no sleep yet to be killed
  wait $guard 2> /dev/null
}

python3 "$support/tiny_run.py"
