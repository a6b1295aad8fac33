#!/usr/bin/env bash
# Does `lodestone pack` give the same corpus on any number of ranks, and leave nothing behind when it fails? pack_test.sh BINARY SOURCE_DIR
set -euo pipefail
binary=$1
mpi="$2/tests/support/mpirun.sh"
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
failed=0
complain() { echo "pack_test: $*" >&2; failed=1; }

mkdir model
{
  printf '%s\n' '[PAD]' '[UNK]' '[CLS]' '[SEP]' '[MASK]' a red green blue stone rock answer to what is
  for digit in 0 1 2 3 4 5 6 7 8 9; do printf '%s\n##%s\n' "$digit" "$digit"; done
} > model/vocab.txt
echo '{"do_lower_case": true}' > model/tokenizer_config.json

# Rows in two files, one of them gzip, and a table: several units for every number of ranks.
row='{"query": "what is a red stone %d", "pos": ["answer to %d"], "neg": ["blue rock %d"], "source": "colour%d"}\n'
for i in $(seq 1 12000); do printf "$row" "$i" "$((i * 7))" "$((i * 3))" "$((i % 4))"; done > big.jsonl
head -n 1000 big.jsonl | gzip > small.jsonl.gz
{ echo 'sentence1,sentence2,score'; for i in $(seq 1 500); do echo "a red stone $i,\"a green, green rock $i\",$((i % 6)).5"; done; } > pairs.csv
for ranks in 1 2 3 4; do
  "$mpi" "$ranks" "$binary" pack --tokenizer model --output "c$ranks" --unit-mib 1 big.jsonl small.jsonl.gz pairs.csv > "out$ranks"
  cmp -s c1/manifest.json "c$ranks/manifest.json" || complain "the manifest of $ranks ranks is another"
  diff -rq c1 "c$ranks" || complain "the shards of $ranks ranks are others"
done
grep -q '^packed 13500 rows ' out3 || complain "no count of rows: $(head -1 out3)"
grep -q 'duplicate rows: 1000;' out3 || complain "no count of duplicates"
[ "$(ls c1 | wc -l)" -ge 5 ] || complain "too few shards: $(ls c1)"

# expect NAME CODE PATTERN COMMAND...: the command fails with this code and one error line like this, and leaves no folder.
expect() {
  local name=$1 code=$2 pattern=$3 got=0
  shift 3
  "$@" > stdout 2> stderr || got=$?
  [ "$got" -eq "$code" ] || complain "$name: exit code $got, not $code: $(head -3 stderr)"
  [ "$(grep -c '^error: ' stderr)" -eq 1 ] || complain "$name: $(grep -c '^error: ' stderr) error lines"
  grep -qE "$pattern" stderr || complain "$name: $(grep '^error: ' stderr || head -3 stderr)"
  [ ! -e bad ] && [ ! -e bad.partial ] || complain "$name: left something behind"
  rm -rf bad bad.partial
}
pack() { "$binary" pack --tokenizer model --output bad "$@"; }

cp big.jsonl broken.jsonl
echo '{"query": "what", "pos": [}' >> broken.jsonl
tail -c 500010 big.jsonl >> broken.jsonl          # starts in the middle of a row: a second bad one
bad='error: F30 not valid JSON; .*file=broken.jsonl line=12001 offset=[0-9]+ .*; do: correct the row'
expect "bad row" 3 "$bad" pack broken.jsonl
expect "bad row on one of three ranks" 3 "$bad" "$mpi" 3 "$binary" pack --tokenizer model --output bad --unit-mib 1 broken.jsonl
expect "more bad rows than allowed" 3 "F30 not valid JSON.*line=12002" "$mpi" 2 "$binary" pack --tokenizer model --output bad --unit-mib 1 --on-bad-row skip:1 broken.jsonl
pack --on-bad-row skip:2 broken.jsonl > stdout || complain "skip:2 failed"
grep -q 'bad rows left out: 2' stdout || complain "skip:2: $(cat stdout)"
rm -rf bad
head -c 4000 small.jsonl.gz > cut.jsonl.gz
expect "truncated gzip" 3 'error: F33 the gzip file is truncated; file=cut.jsonl.gz offset=4000' pack cut.jsonl.gz
: > empty.jsonl
expect "empty file" 3 'error: F32 the file is empty; file=empty.jsonl' pack empty.jsonl
expect "missing file" 2 'error: missing no such file or folder; file=none.jsonl' pack none.jsonl
expect "missing tokenizer" 2 '^error: ' "$binary" pack --tokenizer nowhere --output bad big.jsonl
expect "unknown option" 2 'error: usage pack: unknown option --fast' pack --fast 1 big.jsonl
expect "no input" 2 'error: usage pack: no input is given' pack
expect "bad policy" 2 'error: usage pack: --on-bad-row is fail or skip:N with N up to 1000000, not maybe' pack --on-bad-row maybe big.jsonl
expect "existing corpus" 2 'error: exists the output is a packed corpus already; file=c1' "$binary" pack --tokenizer model --output c1 big.jsonl
cmp -s c1/manifest.json c2/manifest.json || complain "a refused pack changed the corpus"
full() { (trap '' XFSZ; ulimit -f 100; pack big.jsonl); }
expect "disk full" 5 'error: F19 cannot write: File too large; file=bad.partial/shard-000000-000.h5' full

# A pack that is killed leaves a folder that the next one takes over.
mkdir bad.partial
echo rubbish > bad.partial/shard-000009-000.h5
pack small.jsonl.gz > stdout
[ "$(ls bad)" = "$(printf 'manifest.json\nshard-000000-000.h5')" ] || complain "taking over: $(ls bad)"
"$binary" pack --help | grep -q '^usage: lodestone pack' || complain "no usage text"
exit $failed
