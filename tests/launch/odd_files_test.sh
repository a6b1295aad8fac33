#!/usr/bin/env bash
# Two jobs at once, and files that are none: FIFOs, loops of links, names that are too long or no UTF-8, files of others.
#   odd_files_test.sh BINARY SOURCE_DIR
set -uo pipefail
lodestone=$1
. "$2/tests/support/tiny_run.sh"

pack=("$lodestone" pack --tokenizer vocab)
expect "pack" 0 "${pack[@]}" --output corpus train.jsonl
expect "pack the held-out rows" 0 "${pack[@]}" --output heldout heldout.jsonl

# ---- inputs of pack -----------------------------------------------------------------------------------------------------------
ln -s loop2 loop1; ln -s loop1 loop2
mkfifo fifo.jsonl
long=$(printf 'a%.0s' $(seq 300))
refuses "a loop of links" 2 "missing Too many levels of symbolic links; file=loop1" "${pack[@]}" --output c --format jsonl loop1
refuses "a name that is too long" 2 "missing File name too long" "${pack[@]}" --output c "$long.jsonl"
refuses "an output whose name is too long" 2 "missing File name too long" "${pack[@]}" --output "$long" train.jsonl
refuses "a tokenizer behind a loop" 2 "missing Too many levels of symbolic links" "$lodestone" pack --tokenizer loop1 --output c train.jsonl
refuses "a FIFO" 2 "missing this is not a regular file; file=fifo.jsonl" timeout 10 "${pack[@]}" --output c fifo.jsonl
latin=$(printf 'latin\xe9')
sed 's/, "source": "[ab]"//' heldout.jsonl > "$latin.jsonl"
expect "a name that is no UTF-8" 0 "${pack[@]}" --output latin "$latin.jsonl"
if python3 -c 'import json; assert json.load(open("latin/manifest.json"))["inputs"][0]["file"] == "latin\\xe9.jsonl"'; then
  ok "it is recorded as text"; else bad "it is recorded as text" latin/manifest.json; fi
mkdir "$latin" && cp heldout.jsonl "$latin/" && echo '{"query": 1}' >> "$latin/heldout.jsonl"
mv "$latin/heldout.jsonl" "$latin/$latin.jsonl"
expect "a bad row in it is left out" 0 "${pack[@]}" --output latin2 --on-bad-row skip:1 "$latin"
refuses "a bad row in it is refused" 3 'latin\xe9.jsonl line=41' "${pack[@]}" --output latin3 "$latin"

# ---- a folder for work under way that holds somebody's files -----------------------------------------------------------------------
mkdir taken.partial && echo mine > taken.partial/notes.txt
refuses "files of others in OUTPUT.partial" 2 "exists the folder for work under way holds what no pack wrote: notes.txt" "${pack[@]}" --output taken train.jsonl
if [ "$(ls taken.partial)" = notes.txt ]; then ok "they stay"; else bad "they stay"; fi
mkdir left.partial && touch left.partial/{lock,failed,manifest.json,shard-000000-000.h5}
expect "what a killed pack left is removed" 0 "${pack[@]}" --output left train.jsonl
if [ -e left.partial ] || [ -e left/lock ] || [ -e left/failed ]; then bad "nothing of it stays"; else ok "nothing of it stays"; fi

# ---- two packs of one output: one makes it, the other is told so, and nothing of either stays ------------------------------------------
for turn in 1 2 3 4 5 6 7 8; do
  rm -rf both
  "${pack[@]}" --output both train.jsonl > out1 2> err1 & first=$!
  "${pack[@]}" --output both heldout.jsonl > out2 2> err2; code2=$?
  wait $first; code1=$?
  rows=$(python3 -c 'import json; print(json.load(open("both/manifest.json"))["rows"])')
  case "$code1 $code2 $rows" in
    "0 5 400" | "0 2 400") loser=err2 ;;
    "5 0 40" | "2 0 40") loser=err1 ;;
    *) bad "two packs at once: codes $code1 and $code2, $rows rows" err1 err2; break ;;
  esac
  grep -qE '^error: (F27 another job|exists the output)' $loser || { bad "the loser says why" $loser; break; }
  [ ! -e both.partial ] && [ "$(ls both | grep -cv '^shard-\|^manifest.json$')" -eq 0 ] || { bad "nothing stays"; break; }
  [ $turn -ne 8 ] || ok "of two packs one makes the output"
done

# ---- two runs of one folder ------------------------------------------------------------------------------------------------------
for turn in 1 2 3 4 5 6; do
  rm -rf race
  "$lodestone" train run.yaml train.output_dir=race > out1 2> err1 & first=$!
  "$lodestone" train run.yaml train.output_dir=race > out2 2> err2; code2=$?
  wait $first; code1=$?
  loser=err2; [ $code1 -eq 0 ] || loser=err1
  if [ $((code1 + code2)) -ne 5 ] && [ $((code1 + code2)) -ne 2 ]; then bad "two runs at once: codes $code1 and $code2" err1 err2; break; fi
  grep -qE '^error: (F27 another job|F26 this run is finished)' $loser || { bad "the second run says why" $loser; break; }
  [ $turn -ne 6 ] || ok "of two runs one trains"
done

# ---- two exports of one folder -----------------------------------------------------------------------------------------------------
for turn in 1 2 3 4; do
  rm -rf out
  "$lodestone" export race/model --output out --threads 1 > out1 2> err1 & first=$!
  "$lodestone" export race/model --output out --threads 1 > out2 2> err2; code2=$?
  wait $first; code1=$?
  [ $((code1 + code2)) -eq 2 ] && [ $((code1 * code2)) -eq 0 ] || { bad "two exports at once: codes $code1 and $code2" err1 err2; break; }
  cat err1 err2 | grep -q '^error: exists the output folder exists already' || { bad "the second export says why" err1 err2; break; }
  cmp -s out/model.safetensors race/model/model.safetensors && [ "$(echo out*.tmp)" = 'out*.tmp' ] || { bad "one export is whole, nothing of the other stays"; break; }
  [ $turn -ne 4 ] || ok "of two exports one makes the folder"
done

# ---- FIFOs and files of others in a run folder ----------------------------------------------------------------------------------------
expect "train" 0 "$lodestone" train run.yaml
rm -r run/model run/checkpoint-10/manifest.json && mkfifo run/checkpoint-10/manifest.json
mkdir run/checkpoint--1 run/checkpoint-best.tmp && echo mine | tee run/checkpoint--1/notes > run/checkpoint-best.tmp/notes
printf '{"step": "ten"}\n[]\n{"step": 1e999}\n' >> run/metrics.jsonl
expect "a FIFO in a checkpoint" 0 timeout 60 "$lodestone" train run.yaml train.output_dir=run
says "is passed over with a word" "warning: the checkpoint of step 10 is not used"
if grep -qE 'ten|1e999' run/metrics.jsonl; then bad "lines that are no records are left out" run/metrics.jsonl; else ok "lines that are no records are left out"; fi
if [ -e run/checkpoint--1/notes ] && [ -e run/checkpoint-best.tmp/notes ]; then ok "files of others stay"; else bad "files of others stay"; fi
rm -r run/model run/metrics.jsonl && mkfifo run/metrics.jsonl
refuses "a FIFO for metrics" 5 "F21 the metrics file is no regular file; file=$dir/run/metrics.jsonl" timeout 20 "$lodestone" train run.yaml train.output_dir=run
refuses "a FIFO for a configuration" 2 "config cannot be read" timeout 20 "$lodestone" check fifo.jsonl

# ---- descriptors: every place where the last one may be missing says so ------------------------------------------------------------------
few() {  # few LIMIT RANKS: training with so few descriptors succeeds, or ends with code 9 and one line that names the limit
  rm -rf tight
  mpi "$2" bash -c "ulimit -n $1; exec '$lodestone' train run.yaml train.output_dir=tight" > out.log 2> err.log
  local code=$?
  if [ $code -eq 0 ] || { [ $code -eq 9 ] && [ "$(grep -c "^error: F15 no descriptors are left: the limit is $1;" err.log)" -eq 1 ]; }; then
    ok "$2 ranks, $1 descriptors"
  else
    bad "$2 ranks, $1 descriptors (exit code $code)" err.log
  fi
}
for limit in 16 17 18 19; do few $limit 2; done
all_passed
