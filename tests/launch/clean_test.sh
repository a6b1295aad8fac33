#!/usr/bin/env bash
# Do `lodestone filter` and `lodestone dedup` keep and drop what docs/clean.md says, leave no half file, and refuse what they cannot do?
#   clean_test.sh BINARY SOURCE_DIR
set -uo pipefail
lodestone=$1
. "$2/tests/support/tiny_run.sh"

holds() {  # holds NAME FILE TEXT: the file is this text
  if [ "$(cat "$2")" = "$3" ]; then ok "$1"; else bad "$1" "$2"; fi
}
lacks() {  # lacks NAME FILE...: none of the files is there, and no remains of one
  local name=$1 found=
  shift
  for file; do found+=$(find . -maxdepth 1 -name "$file*"); done
  if [ -z "$found" ]; then ok "$name"; else bad "$name: $found"; fi
}
reported() { python3 -c 'import json, sys; r = json.load(open(sys.argv[1])); print(eval(sys.argv[2]))' "$1" "$2"; }

# ---- filter -----------------------------------------------------------------------------------------------------------
cat > scored.jsonl <<'ROWS'
{"query": "a", "pos": ["b"], "s": 0.3999, "source": "x"}
{"query":"c",  "pos":["d"], "s":0.4, "other": 1.50, "big": 12345678901234567890}
{"query": "e", "pos": ["f"], "s": 0.43, "source": "x"}
{"query": "g", "pos": ["h"], "s": 1}
ROWS
printf '{"query": "i", "pos": "j", "s": 2}' >> scored.jsonl
expect "filter by Conan's threshold" 0 "$lodestone" filter scored.jsonl --output conan.jsonl --score s --preset conan --dropped low.jsonl --report conan.json
tail -n +2 scored.jsonl > expected; echo >> expected
same "0.3999 is dropped and 0.4 kept, byte for byte" conan.jsonl expected
holds "dropped rows go into a side file" low.jsonl '{"reason":"s < 0.4","file":"scored.jsonl","line":1,"row":{"query": "a", "pos": ["b"], "s": 0.3999, "source": "x"}}'
[ "$(reported conan.json '[r["rows"], r["kept"], r["dropped"], r["sources"]["x"]["dropped"], r["sources"]["scored"]["kept"]]')" = "[5, 4, {'s < 0.4': 1}, {'s < 0.4': 1}, 3]" ] &&
  ok "counts by reason and source in the report" || bad "counts by reason and source in the report" conan.json
grep -q 'filter: 4 of 5 rows kept (80.00 %)' out.log && ok "counts are printed" || bad "counts are printed" out.log
expect "filter by BGE's threshold" 0 "$lodestone" filter scored.jsonl --output bge.jsonl.gz --score s --preset bge
gzip -dc bge.jsonl.gz > bge.jsonl
tail -n +2 expected > expected.bge
same "0.4 is dropped and 0.43 kept, by gzip" bge.jsonl expected.bge
expect "filter by another threshold" 0 "$lodestone" filter bge.jsonl.gz --output one.jsonl --score s --min 1
[ "$(grep -c . one.jsonl)" -eq 2 ] && ok "gzip is read" || bad "gzip is read" one.jsonl

cat > missing.jsonl <<'ROWS'
{"query": "a", "pos": ["b"], "s": 1}
{"query": "c", "pos": ["d"]}
ROWS
refuses "a row without the score" 3 "F30 the row has no field s; it has query, pos; file=missing.jsonl line=2 offset=37" "$lodestone" filter missing.jsonl --output bad.jsonl --score s --min 0.4
lacks "a refused filter leaves nothing" bad.jsonl
expect "rows without the score kept" 0 "$lodestone" filter missing.jsonl --output kept.jsonl --score s --min 0.4 --missing keep
same "rows without the score are kept on request" kept.jsonl missing.jsonl
expect "rows without the score dropped" 0 "$lodestone" filter missing.jsonl --output without.jsonl --score s --min 0.4 --missing drop --report without.json
[ "$(reported without.json 'r["dropped"]')" = "{'no s': 1, 's < 0.4': 0}" ] && ok "or dropped" || bad "or dropped" without.json

# A row for each rule, which the rules of an earlier stage pass.
printf 'bad.example\n' > domains.txt
printf 'casino\nfree money\n' > words.txt
cat > rules.jsonl <<'ROWS'
{"text": "a plain text", "text_pos": "and its title", "s": 0.5, "toxic": 0.1, "fluent": 0.9}
{"text": "北京 casino", "text_pos": "t", "s": 0, "toxic": 1, "fluent": 0}
{"text": "one", "text_pos": " ", "s": 0}
{"text": "the same", "text_pos": "the same", "s": 0}
{"text": "t", "text_pos": "short", "s": 0}
{"text": "a text that is long", "text_pos": "short", "s": 0}
{"text": "a !?%$", "text_pos": "word", "s": 0}
{"text": "a 123456", "text_pos": "word", "s": 0}
{"text": "line\nline\nline", "text_pos": "word", "s": 0}
{"text": "at bad.example", "text_pos": "word", "s": 0, "toxic": 1, "fluent": 0}
{"text": "words", "text_pos": "word", "url": "https://www.bad.example/page", "s": 0}
{"text": "Get FREE money", "text_pos": "word", "s": 0}
{"text": "words", "text_pos": "word", "s": 0, "toxic": 0.51, "fluent": 0}
{"text": "words", "text_pos": "word", "s": 0, "toxic": 0.5, "fluent": 0.19}
{"text": "words", "text_pos": "word", "toxic": 0.5, "fluent": 0.2, "s": 0.3999}
ROWS
expect "filter by all rules" 0 "$lodestone" filter rules.jsonl --output passed.jsonl --score s --min 0.4 --at-least fluent:0.2 --at-most toxic:0.5 \
  --blocked-words words.txt --blocked-domains domains.txt --url-field url --max-repeated-lines 0.5 --max-digits 0.6 --max-special 0.6 --max-chars 18 \
  --min-chars 2 --rules same_texts,empty --script latin:0.8 --report rules.json --dropped rules-out.jsonl
same "the row that passes all rules is kept" passed.jsonl <(head -n 1 rules.jsonl)
python3 - > reasons <<'PY'
import json
print([json.loads(line)["reason"] for line in open("rules-out.jsonl")])
PY
holds "planted rows are dropped for their reasons, in the order of stages" reasons \
  "['script', 'script', 'same_texts', 'min_chars', 'max_chars', 'max_special', 'max_digits', 'max_repeated_lines', 'blocked_domain', 'blocked_domain', 'blocked_word', 'toxic > 0.5', 'fluent < 0.2', 's < 0.4']"
expect "a rule by itself" 0 "$lodestone" filter rules.jsonl --output filled.jsonl --rules empty --report filled.json
[ "$(reported filled.json 'r["dropped"]')" = "{'empty': 1}" ] && ok "empty texts are dropped" || bad "empty texts are dropped" filled.json

# ---- dedup ------------------------------------------------------------------------------------------------------------
python3 - <<'PY'
import json, random
random.seed(3)
words = [f"word{i}" for i in range(500)]
def row(i, text, **more): return json.dumps({"query": f"query {i}", "pos": [text]} | more) + "\n"
texts = [" ".join(random.sample(words, 60)) for _ in range(400)]
a = [row(i, text, source="a") for i, text in enumerate(texts)]
again = [row(i, texts[i], neg=["other"], source="b") for i in range(0, 400, 10)]                  # the same pair, another row
near = [row(i, texts[i].rsplit(" ", 1)[0] + " changed") for i in range(5, 400, 10)]               # one word of 62: 57 of 59 shingles
apart = [row(i, " ".join(texts[i].split()[:30] + random.sample(words, 30))) for i in range(3, 400, 10)]   # half of them
open("a.jsonl", "w").writelines(a + again[:20])
open("b.jsonl", "w").writelines(again[20:] + near + apart)
open("expected.exact", "w").writelines(a + near + apart)
open("expected.near", "w").writelines(a + apart)
open("expected.b", "w").writelines(apart)
PY
expect "dedup" 0 "$lodestone" dedup a.jsonl b.jsonl --output exact.jsonl --report exact.json
same "duplicates across files are dropped once, and the first one stays" exact.jsonl expected.exact
[ "$(reported exact.json '[r["dropped"], r["sources"]["b"]["kept"], r["state_bytes"] > 0]')" = "[{'duplicate': 40}, 80, True]" ] &&
  ok "duplicates are counted by source" || bad "duplicates are counted by source" exact.json
expect "dedup near" 0 "$lodestone" dedup a.jsonl b.jsonl --output near.jsonl --near 0.8 --dropped near-out.jsonl --report near.json
same "planted near-duplicates are dropped, and what is half the same is kept" near.jsonl expected.near
grep -q '"reason":"near_duplicate","file":"b.jsonl","line":21,"like":6,"jaccard":0.9661016949152542,"row":{"query": "query 5"' near-out.jsonl &&
  ok "a near-duplicate says which row it is like" || bad "a near-duplicate says which row it is like" near-out.jsonl
grep -q '1 - (1 - 0.8^6)^21 = 0.9983' out.log && ok "the probability of finding a pair is printed" || bad "the probability of finding a pair is printed" out.log
gzip -k b.jsonl
expect "dedup into a folder" 0 "$lodestone" dedup a.jsonl b.jsonl.gz --output folder --near 0.8
gzip -dc folder/b.jsonl.gz > folder.b
same "a folder has a file for each input" folder.b expected.b
same "and the first file's rows" folder/a.jsonl <(head -n 400 a.jsonl)
expect "dedup of one's own output" 0 "$lodestone" dedup near.jsonl --output again.jsonl --near 0.8
same "nothing is left to be dropped" again.jsonl near.jsonl

# ---- refusals -----------------------------------------------------------------------------------------------------------
filter() { "$lodestone" filter "$@"; }
dedup() { "$lodestone" dedup "$@"; }
by=(--score s --min 0.4)
refuses "a file that is not there" 2 "missing no such file; file=none.jsonl" filter none.jsonl --output bad.jsonl "${by[@]}"
refuses "no threshold" 2 "--score FIELD and --min X, or --preset, belong together" filter scored.jsonl --output bad.jsonl --score s
refuses "a threshold that is no number" 2 "--min is much, not a number;" filter scored.jsonl --output bad.jsonl --score s --min much
refuses "a threshold that is not finite" 2 "--min is nan, not a number" filter scored.jsonl --output bad.jsonl --score s --min nan
refuses "no rule" 2 "no rule is given" filter scored.jsonl --output bad.jsonl
refuses "no output" 2 "--output is missing" filter scored.jsonl "${by[@]}"
refuses "the output is the input" 2 "the output is an input; file=./scored.jsonl" filter scored.jsonl --output ./scored.jsonl "${by[@]}"
refuses "the output exists" 2 "exists the output exists; file=a.jsonl" filter scored.jsonl --output a.jsonl "${by[@]}"
refuses "two outputs of one name" 2 "two outputs have this name" filter scored.jsonl --output bad.jsonl --dropped bad.jsonl "${by[@]}"
refuses "a script that is not known" 2 "--script names klingon, not one of han, kana" filter scored.jsonl --output bad.jsonl --script klingon:0.5
refuses "a share above 1" 2 "--max-digits is 2, not a number from 0 to 1" filter scored.jsonl --output bad.jsonl --max-digits 2
refuses "a field that holds no number" 3 "F30 not a number; field=query file=scored.jsonl line=1" filter scored.jsonl --output bad.jsonl --score query --min 0
refuses "rows without texts" 3 "F30 the row names no query; file=near-out.jsonl line=1 offset=0" dedup near-out.jsonl --output bad.jsonl
refuses "a field that is not there" 3 "F30 the row has no field doc; it has query, pos, s, source; file=scored.jsonl line=1" dedup scored.jsonl --output bad.jsonl --fields query,doc
refuses "a threshold for near-duplicates" 2 "--near is 0.1, not a number from 0.3 to 1" dedup a.jsonl --output bad.jsonl --near 0.1
refuses "two inputs of one name" 2 "two inputs have this name, and the output is a folder" dedup a.jsonl folder/a.jsonl --output bad
refuses "several ranks" 2 "it works in one process: start it without mpirun" mpi 2 "$lodestone" dedup a.jsonl --output bad.jsonl
refuses "a table" 2 "format this is no file of JSON lines; file=table.csv" bash -c "cp a.jsonl table.csv; exec '$lodestone' dedup table.csv --output bad.jsonl"
refuses "a block list that is not there" 3 "file=none.txt" filter scored.jsonl --output bad.jsonl --blocked-words none.txt
refuses "a folder that cannot be written" 5 "F21 cannot create" dedup a.jsonl --output nowhere/bad.jsonl
: > empty.jsonl
refuses "no rows" 3 "F39 the inputs hold no rows; file=empty.jsonl" dedup empty.jsonl --output bad.jsonl
{ head -n 3 a.jsonl; echo '{"query": '; tail -n 3 a.jsonl; } > broken.jsonl
refuses "a row that is no JSON" 3 "F30 not valid JSON; file=broken.jsonl line=4" dedup broken.jsonl --output bad.jsonl
expect "bad rows dropped" 0 "$lodestone" dedup broken.jsonl --output mended.jsonl --on-bad-row skip:1 --dropped broken-out.jsonl
same "bad rows are dropped on request" mended.jsonl <(head -n 3 a.jsonl; tail -n 3 a.jsonl)
grep -q '"reason":"bad_row","file":"broken.jsonl","line":4,"error":"F30 not valid JSON","text":' broken-out.jsonl && ok "and put aside" || bad "and put aside" broken-out.jsonl
for i in $(seq 200); do sed "s/\"query \([0-9]*\)\"/\"query $i \1\"/; s/\"word/\"number$i word/" a.jsonl; done > many.jsonl
limited() { ( trap '' XFSZ; ulimit -f 2000; "$@" ) }
refuses "a full disk" 5 "F19 cannot write: File too large; file=" limited "$lodestone" dedup many.jsonl --output bad.jsonl
refuses "a full disk of shingles" 5 "F19 cannot write shingles into the folder: File too large; file=." limited "$lodestone" dedup many.jsonl --output bad.jsonl.gz --near 1
lacks "refused commands leave nothing" bad shingles

# ---- ends by signals ------------------------------------------------------------------------------------------------------
remains() { compgen -G 'killed.jsonl.*.lodestone.tmp' > /dev/null; }
for signal in TERM INT KILL; do
  rm -f killed.jsonl.*   # what the one before left
  background "$lodestone" dedup many.jsonl many.jsonl many.jsonl --output killed.jsonl --near 1 --dropped killed-out.jsonl --report killed.json
  wait_until 30 remains || bad "a temporary before $signal" err.log
  kill -$signal $pid
  await $pid
  [ $code -eq $((128 + $(kill -l $signal))) ] && ok "SIG$signal ends it as any program" || bad "SIG$signal ends it as any program (exit code $code)" err.log
  ls killed.jsonl killed-out.jsonl killed.json > found 2> /dev/null && bad "SIG$signal leaves no file under its name" found || ok "SIG$signal leaves no file under its name"
done
expect "after the kills" 0 "$lodestone" dedup a.jsonl --output killed.jsonl --near 0.8 --dropped killed-out.jsonl
[ "$(find . -maxdepth 1 -name '*.tmp' | wc -l)" -eq 0 ] && ok "the next start removes what kills left" || bad "the next start removes what kills left: $(ls)"

# ---- docs/clean.md, as it stands -----------------------------------------------------------------------------------------
mkdir bin guide
ln -s "$lodestone" bin/lodestone
expect "pack" 0 "$lodestone" pack --tokenizer vocab --output corpus train.jsonl
expect "train" 0 "$lodestone" train run.yaml data.heldout= train.steps=2 train.save_steps=0
ln -s ../run/model guide/MODEL
python3 - <<'PY'
import gzip, json
pairs = [{"text": r["query"], "text_pos": r["pos"][0], "source": f"part{i % 3}"} for i, r in enumerate(map(json.loads, open("train.jsonl")))][:300]
planted = [{"text": "", "text_pos": "b"}, {"text": "北京", "text_pos": "北京市"}]
with gzip.open("guide/pairs.jsonl.gz", "wt") as out: out.writelines(json.dumps(r) + "\n" for r in pairs + planted + pairs[:10])
open("guide/older.jsonl", "w").writelines(json.dumps(r) + "\n" for r in pairs[:5] + [{"text": "a casino text", "text_pos": "at bad.example"}])
PY
cp domains.txt words.txt guide
awk '/^```sh$/ { inside = 1; next } /^```$/ { inside = 0 } inside' "$2/docs/clean.md" > guide/commands.sh
run_guide() { ( cd guide && PATH="$dir/bin:$PATH" bash -e commands.sh ); }
expect "the commands of docs/clean.md" 0 run_guide
[ "$(grep -c . guide/commands.sh)" -gt 20 ] && [ -s guide/clean.jsonl ] && [ -d guide/corpus ] && ok "they make a corpus" || bad "they make a corpus" err.log
[ "$(reported guide/ruled.json 'r["dropped"]["script"]'), $(reported guide/unique.json 'r["dropped"]["duplicate"] >= 15'), $(grep -c blocked guide/unsafe.jsonl)" = "2, True, 1" ] &&
  ok "and drop what was planted" || bad "and drop what was planted" guide/ruled.json guide/unique.json guide/unsafe.jsonl

all_passed
