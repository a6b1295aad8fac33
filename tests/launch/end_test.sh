#!/usr/bin/env bash
# The end of a run says what happened, whatever ends it: a stdout that takes nothing, a system without threads.  end_test.sh BINARY SOURCE_DIR
set -uo pipefail
lodestone=$1
. "$2/tests/support/tiny_run.sh"

expect "pack" 0 "$lodestone" pack --tokenizer vocab --output corpus train.jsonl
expect "pack held-out" 0 "$lodestone" pack --tokenizer vocab --output heldout heldout.jsonl

# ---- a stdout that takes nothing ---------------------------------------------------------------------------------------------
into_full() { "$lodestone" "$@" > /dev/full; }
into_nothing() { "$lodestone" "$@" >&-; }
expect "training into a full stdout" 0 into_full train run.yaml train.output_dir=full
says "it is reported" "warning: not all that was printed could be written"
expect "training into a closed stdout" 0 into_nothing train run.yaml train.output_dir=closed
says "it is reported" "warning: not all that was printed could be written"
if [ "$(grep -rl 'held out after step' closed full | wc -l)" -eq 0 ] && cmp -s closed/model/model.safetensors full/model/model.safetensors; then ok "no file got what was printed"; else bad "no file got what was printed"; fi
refuses "check into a full stdout" 5 "error: F19 not all that was printed could be written" into_full check run.yaml
refuses "versions into a full stdout" 5 "error: F19 not all that was printed could be written" into_full --version
refuses "help into a closed stdout" 5 "error: F19 not all that was printed could be written" into_nothing --help
until_closed() { "$lodestone" check run.yaml | true; return "${PIPESTATUS[0]}"; }
expect "a reader who wants no more is no failure" 0 until_closed

# ---- no thread to be had for signals -----------------------------------------------------------------------------------------
threadless() { (ulimit -s 8000000 && ulimit -v 4000000 && exec "$lodestone" --version); }
refuses "no thread at the start" 9 "error: F15 no thread can be started" threadless

all_passed
