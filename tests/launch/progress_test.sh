#!/usr/bin/env bash
# What a terminal shows: the line of progress fits 80 and 100 columns and a terminal that does not know its width, alone and under mpirun; nothing
# that is no longer true stays on the screen; warnings and errors stand in rows of their own; an error that all ranks share is one line,
# without lines of mpirun. progress_test.sh BINARY SOURCE_DIR
set -uo pipefail
lodestone=$(realpath "$1")
source_dir=$(realpath "$2")
. "$source_dir/tests/support/tiny_run.sh"

expect "pack" 0 "$lodestone" pack --tokenizer vocab --output corpus train.jsonl
expect "pack the held-out rows" 0 "$lodestone" pack --tokenizer vocab --output heldout heldout.jsonl
python3 -c "print('\n'.join(f'text number {i}' for i in range(5000)))" > texts.txt
on_terminal() {  # on_terminal COLUMNS COMMAND...: what it shows goes into seen.json
  local columns=$1
  shift
  python3 "$support/terminal.py" "$columns" "$@" > seen.json
}
shows() {  # shows NAME CONDITION: of code, screen, lines, wrapped (see terminal.py); progress: the rows with the line of progress
  if python3 - "$2" <<'PY'
import json, re, sys
seen = json.load(open("seen.json"))
is_progress = lambda row: re.search(r"\b\w+ \d+/\d+ ", row + " ") is not None
undone = lambda row: is_progress(row) and len(set(re.search(r"(\d+)/(\d+)", row).groups())) == 2
progress = [row for row in seen["lines"] if is_progress(row)]
stale = [row for row in seen["screen"] if undone(row)]
sys.exit(0 if eval(sys.argv[1], {**seen, "progress": progress, "stale": stale, "undone": undone, "is_progress": is_progress}) else 1)
PY
  then ok "$1"; else bad "$1: not $2"; python3 -m json.tool seen.json; fi
}
fits() {  # fits NAME WIDTH: the line was drawn, fits, and nothing is left of it before the work was done
  shows "$1: it ends well" "code == 0"
  shows "$1: the line is drawn" "len(progress) > 3 and any(undone(row) for row in progress)"
  shows "$1: it fits" "not any(is_progress(row) for row in wrapped) and max(map(len, progress)) < $2"
  shows "$1: nothing stale stays" "stale == []"
}

run=("$lodestone" train run.yaml data.heldout=)   # what is printed besides may be longer than a row
for width in 80 100 0; do
  on_terminal $width "${run[@]}" train.output_dir=alone$width
  fits "train, $width columns" $((width == 0 ? 80 : width))
  on_terminal $width "$support/mpirun.sh" 2 "${run[@]}" train.output_dir=two$width
  fits "train with two ranks, $width columns" $((width == 0 ? 80 : width))
done
on_terminal 100 "${run[@]}" train.output_dir=wide
shows "at 100 columns it has the figures" "any('left' in row and 'pairs/s' in row for row in progress)"
on_terminal 30 "${run[@]}" train.output_dir=tiny
fits "train, 30 columns" 30

# ---- warnings and errors while the line stands ------------------------------------------------------------------------------------------
small=(bash -c 'ulimit -f 16; exec "$@"' small)   # 16 KiB a file: no checkpoint fits
on_terminal 80 "${small[@]}" "${run[@]}" train.output_dir=full train.logging_steps=1
shows "a warning has its own row" "any(row.startswith('warning: checkpoint of step 5 could not be saved') for row in screen)"
shows "an error has its own row" "code == 5 and any(row.startswith('error: ') for row in screen)"
shows "nothing stale stays above them" "stale == []"
TRANSPORTS=self,tcp on_terminal 80 "$support/mpirun.sh" 2 "${small[@]}" "${run[@]}" train.output_dir=full2   # shared memory would be a larger file
shows "with two ranks: a warning has its own row" "any(row.startswith('warning: checkpoint of step 5 could not be saved') for row in screen)"
shows "with two ranks: an error has its own row" "code == 5 and any(row.startswith('error: ') for row in screen)"
shows "with two ranks: nothing stale stays" "stale == []"

# ---- elsewhere: plain lines ------------------------------------------------------------------------------------------------------------------
expect "train into a file" 0 "${run[@]}" train.output_dir=file
if grep -q $'\033' out.log err.log; then bad "no codes of terminals in a file" out.log; else ok "no codes of terminals in a file"; fi
if [ "$(grep -c '^step [0-9]*/10  loss .*tokens/s  left ' out.log)" -eq 10 ]; then ok "a line each step"; else bad "a line each step" out.log; fi

# ---- an error that all ranks share ----------------------------------------------------------------------------------------------------------
alone() {  # alone NAME CODE TEXT COMMAND...: the code, and one line on stderr and stdout together, which has the text
  local name=$1
  refuses "$@"
  if [ -s out.log ]; then bad "$name: nothing else" out.log; else ok "$name: nothing else"; fi
}
alone "a wrong key, three ranks" 2 "error: config" mpi 3 "$lodestone" train run.yaml train.stepz=1
alone "no such file, two ranks" 2 "error: config cannot be read" mpi 2 "$lodestone" train nothing.yaml
alone "a wrong command, three ranks" 2 "error: usage 'trian' is not a command" mpi 3 "$lodestone" trian run.yaml
alone "a wrong key, one rank" 2 "error: config" mpi 1 "$lodestone" train run.yaml train.stepz=1
alone "an error of rank 0" 2 "error: F26 this run is finished" mpi 2 "$lodestone" train run.yaml data.heldout= train.output_dir=file
all_passed
