#!/usr/bin/env bash
# Every objective from packing to an exported folder on a tiny model: tasks in one step, grouped and colocated; mined negatives and
# their resume; RetroMAE and the encoder it leaves; a reranker.
#   objectives_test.sh BINARY SOURCE_DIR
set -uo pipefail
lodestone=$1
. "$2/tests/support/tiny_run.sh"

python3 - <<'PY'
import json, random
random.seed(11)
words = [w for w in open("vocab/vocab.txt").read().split() if len(w) > 2 and not w.startswith(("##", "["))]
def text(n): return " ".join(random.sample(words, n))
def triple(i):
    topic = text(4)
    return {"query": topic, "pos": [topic + " " + text(3)], "neg": [text(2) + " " + topic.split()[k % 4] + " " + text(2) for k in range(24)], "source": "ab"[i % 2]}
def pair(i):
    a = random.sample(words, 8); k = random.randint(0, 8)
    return {"sentence1": " ".join(a), "sentence2": " ".join(a[:k] + random.sample(words, 8 - k)), "score": k / 8}
def write(name, rows): open(name, "w").write("".join(json.dumps(r) + "\n" for r in rows))
write("triples.jsonl", [triple(i) for i in range(120)])
write("pairs.jsonl", [pair(i) for i in range(200)])
graded = [{**t, "neg": t["neg"][:2], "teacher_scores": [1.0, 0.4, 0.2]} for t in map(triple, range(20))]
write("graded.jsonl", graded * 6)   # six rows of the same positive
write("texts.jsonl", [{"text": text(random.randint(3, 14))} for _ in range(200)])
PY
for name in triples pairs texts graded; do expect "pack $name" 0 "$lodestone" pack --tokenizer vocab --output "packed-$name" "$name.jsonl"; done

# ---- two tasks in every step, in both layouts -----------------------------------------------------------------------------
cat > tasks.yaml <<'YAML'
model: {config: config.json, vocab: vocab, pooling: mean, dropout: 0.1, head: 24}
data: {query_max_len: 24, passage_max_len: 24}
schedule: {mix: joint, groups: 1}
tasks:
  retrieval:
    global_batch: 6
    ranks: 2
    data: {train: packed-triples, heldout: packed-triples, train_group_size: 5, select_negative: window}
    loss: {name: cbb, temperature: 0.05, mrl_dims: [8, 24]}
    mining: {negatives: 4, every: 3}
  sts:
    global_batch: 16
    ranks: 1
    weight: 0.8
    data: {train: packed-pairs, heldout: packed-pairs}
    loss: {name: cosent, mrl_dims: [8, 24]}
train: {output_dir: run, steps: 8, precision: f64, threads: 1, chunk_tokens: 200, logging_steps: 1, save_steps: 4, eval_steps: 4, eval_rows: 60}
optim: {learning_rate: 2e-3, zero: true, loss_scale: dynamic}
YAML
expect "colocated on 1 rank" 0 "$lodestone" train tasks.yaml train.output_dir=colocated
expect "grouped on 3 ranks" 0 mpi 3 "$lodestone" train tasks.yaml train.output_dir=grouped schedule.layout=grouped
expect "grouped on 4 ranks, one left over" 0 mpi 4 "$lodestone" train tasks.yaml train.output_dir=leftover schedule.layout=grouped
expect "grouped needs ranks for a group" 2 mpi 2 "$lodestone" train tasks.yaml train.output_dir=few schedule.layout=grouped
says "colocated is named as the way out" "colocated"
if python3 - colocated grouped leftover <<'PY'
import json, sys
def losses(run):
    return [(r["step"], r["loss"], r["loss/retrieval"], r["loss/sts"]) for r in map(json.loads, open(f"{run}/metrics.jsonl")) if "loss/sts" in r]
def mined(run):
    return [(r["step"], r["mining_checked"], r["mining_replaced"]) for r in map(json.loads, open(f"{run}/metrics.jsonl")) if "mining_checked" in r]
first = losses(sys.argv[1])
assert len(first) == 8 and all(abs(total - (a + 0.8 * b)) < 1e-6 for _, total, a, b in first), "a step's loss is the weighted sum"
for other in sys.argv[2:]:
    for x, y in zip(first, losses(other), strict=True):
        assert all(abs(p - q) <= 1e-8 * max(1, abs(p)) for p, q in zip(x, y)), (other, x, y)   # metrics have 9 digits
    tokens = [r["rank_tokens"] for r in map(json.loads, open(f"{other}/metrics.jsonl")) if "rank_tokens" in r]
    assert all(len(t) == {"grouped": 3, "leftover": 4}[other] and min(t) > 0 for t in tokens), (other, tokens)
    assert mined(other) == mined(sys.argv[1]) and len(mined(other)) == 2, (mined(other), mined(sys.argv[1]))
PY
then ok "losses and replacements do not depend on layout and ranks"; else bad "losses and replacements do not depend on layout and ranks"; fi
three_groups() {  # three_groups RANKS FOLDER LAYOUT: a group has two ranks
  expect "three groups, $3 on $1" 0 mpi "$1" "$lodestone" train tasks.yaml train.output_dir="$2" schedule.layout="$3" schedule.groups=3 tasks.retrieval.ranks=1 train.steps=9 \
    train.save_steps=0 train.eval_steps=0 tasks.retrieval.mining.mean_ratio=1 tasks.retrieval.mining.mean_limit=2
}
three_groups 1 groups1 colocated
three_groups 2 groups2 grouped
if grep -q "^  groups  *3, 1 at a time$" out.log; then ok "the table says how many at a time"; else bad "the table says how many at a time" out.log; fi
three_groups 3 groups3 grouped
three_groups 4 groups4 grouped
if grep -q "^  groups  *3, 2 at a time$" out.log; then ok "two on four ranks"; else bad "two on four ranks" out.log; fi
if python3 - <<'PY'
import json
def records(ranks, *keys):
    return [[r[k] for k in ("step", *keys)] for r in map(json.loads, open(f"groups{ranks}/metrics.jsonl")) if keys[0] in r]
one = records(1, "loss/sts", "loss/retrieval", "loss", "grad_norm")
checks = records(1, "mining_checked", "mining_replaced")
assert len(one) == 9 and len(checks) == 3 and checks[-1][-1] > 0, (one, checks)
for ranks in (2, 3, 4):
    for x, y in zip(one, records(ranks, "loss/sts", "loss/retrieval", "loss", "grad_norm"), strict=True):
        assert all(abs(p - q) <= 1e-8 * max(1, abs(p)) for p, q in zip(x, y)), (ranks, x, y)   # metrics have 9 digits
    assert records(ranks, "mining_checked", "mining_replaced") == checks, ranks
PY
then ok "more groups than the ranks hold at once have the same losses and replacements"; else bad "more groups than the ranks hold at once have the same losses and replacements" groups4/metrics.jsonl; fi
mkdir -p cut && cp -r colocated/checkpoint-4 colocated/config.yaml cut/ && grep -E '"step":[0-4],' colocated/metrics.jsonl > cut/metrics.jsonl
expect "resume, with mining's state" 0 "$lodestone" train tasks.yaml train.output_dir=cut
same "4 + resume + 4 steps give the same weights as 8" colocated/model/model.safetensors cut/model/model.safetensors
mkdir -p moved && cp -r colocated/checkpoint-4 colocated/config.yaml moved/
expect "resume on 3 ranks, grouped" 0 mpi 3 "$lodestone" train tasks.yaml train.output_dir=moved schedule.layout=grouped
expect "negatives mined anew" 0 mpi 2 "$lodestone" train tasks.yaml train.output_dir=remined tasks.retrieval.mining.refill=remine tasks.retrieval.mining.mean_ratio=1 \
  tasks.retrieval.global_batch=60
if grep -q '"mining_replaced":[1-9]' remined/metrics.jsonl; then ok "some were replaced"; else bad "some were replaced" remined/metrics.jsonl; fi
expect "a metric that nothing gives is refused before training" 2 mpi 2 "$lodestone" train tasks.yaml train.output_dir=judged train.metric=heldout_mrr_at_10
says "those that there are, are named" "heldout_spearman/sts"
if grep -q '"loss"' judged/metrics.jsonl; then bad "nothing was trained" judged/metrics.jsonl; else ok "nothing was trained"; fi
expect "a metric is followed from the first to the last step" 0 mpi 2 "$lodestone" train tasks.yaml train.output_dir=judged train.metric=heldout_spearman/sts
if grep -q '"heldout_loss":' judged/metrics.jsonl; then ok "tasks together have a loss"; else bad "tasks together have a loss" judged/metrics.jsonl; fi
if grep -q "^heldout_spearman/sts: [0-9.-]* after step 0, [0-9.-]* after step 8$" out.log; then ok "it is printed at the end"; else bad "it is printed at the end" out.log; fi
if grep -q "| packed-pairs | heldout_spearman/sts |" judged/model/README.md; then ok "and stands in the model card"; else bad "and stands in the model card" judged/model/README.md; fi
for ranks in 1 2 3 4; do
  expect "negatives probed, on $ranks ranks" 0 mpi $ranks "$lodestone" train tasks.yaml train.output_dir=probed$ranks train.save_steps=0 tasks.retrieval.mining.probe=50 tasks.retrieval.mining.mean_ratio=1 \
    tasks.retrieval.mining.mean_limit=2
done
if python3 - <<'PY'
import json
def mined(ranks):
    return [(r["step"], r["mining_checked"], r["mining_replaced"]) for r in map(json.loads, open(f"probed{ranks}/metrics.jsonl")) if "mining_checked" in r]
one = mined(1)
assert len(one) == 2 and all(checked >= 50 for _, checked, _ in one) and one[1][2] > 0, one
assert all(mined(ranks) == one for ranks in (2, 3, 4)), [mined(ranks) for ranks in (1, 2, 3, 4)]
PY
then ok "probed rows are judged, and replaced the same on any number of ranks"; else bad "probed rows are judged, and replaced the same on any number of ranks" probed1/metrics.jsonl; fi
expect "one task a step" 0 mpi 2 "$lodestone" train tasks.yaml train.output_dir=deck schedule.mix=deck tasks.retrieval.share=3
expect "scored pairs for InfoNCE's rows" 3 "$lodestone" train tasks.yaml train.output_dir=wrong tasks.sts.data.train=packed-triples tasks.sts.data.heldout=packed-triples
says "missing scores are named" "score"

# ---- false negatives of a distilled batch ----------------------------------------------------------------------------------
distil() { mpi 2 "$lodestone" train run.yaml data.train=packed-graded data.heldout= data.batching=mixed data.train_group_size=3 train.steps=2 train.save_steps=0 \
  loss.name=stabilised_distillation "$@"; }
expect "distillation with false negatives masked" 0 distil loss.mask_false_negatives=true train.output_dir=masked
expect "and with them kept" 0 distil train.output_dir=kept
if grep -q '"masked_candidates":[1-9]' masked/metrics.jsonl && ! grep -q masked_candidates kept/metrics.jsonl; then ok "masked candidates are counted"; else bad "masked candidates are counted" masked/metrics.jsonl; fi

# ---- a source with groups of its own ---------------------------------------------------------------------------------------
grouped() { mpi "$1" "$lodestone" train run.yaml data.train=packed-triples data.heldout=packed-triples data.train_group_size=5 data.rules.few.match=a data.rules.few.group_size=2 \
  train.precision=f64 train.save_steps=0 train.output_dir=few"$1"; }
expect "groups of 2 and of 5, on 1 rank" 0 grouped 1
if grep -q "16 queries x 2 passages over all ranks, 31 negatives per query: a" out.log && grep -q "16 queries x 5 passages over all ranks, 79 negatives per query: b" out.log
then ok "the table names both"; else bad "the table names both" out.log; fi
expect "the same on 3 ranks" 0 grouped 3
if python3 -c '
import json
one, three = ([r["loss"] for r in map(json.loads, open(f"few{n}/metrics.jsonl")) if "loss" in r] for n in (1, 3))
assert len(one) == 10 and all(abs(a - b) <= 1e-8 * a for a, b in zip(one, three, strict=True)), (one, three)
'; then ok "with the same losses"; else bad "with the same losses" few1/metrics.jsonl; fi

# ---- held-out rows of a source without in-batch negatives: two of them, on up to three ranks --------------------------------------
grep -F '"source": "b"' triples.jsonl | head -n 11 > held.jsonl
grep -F '"source": "a"' triples.jsonl | head -n 2 >> held.jsonl
expect "pack held" 0 "$lodestone" pack --tokenizer vocab --output packed-held held.jsonl
apart() { mpi "$1" "$lodestone" train run.yaml data.train=packed-triples data.heldout=packed-held data.train_group_size=3 data.rules.apart.match=a data.rules.apart.use_inbatch_neg=false \
  train.precision=f64 train.steps=2 train.save_steps=0 train.output_dir=apart"$1"; }
expect "a batch of their own, on 1 rank" 0 apart 1
expect "and on 3 ranks, one without any" 0 apart 3
if python3 -c '
import json
one, three = ([r for r in map(json.loads, open(f"apart{n}/metrics.jsonl")) if "heldout_loss" in r] for n in (1, 3))
assert len(one) >= 2 and one[0]["heldout_rows"] == 13
for a, b in zip(one, three, strict=True):
    for key in ("heldout_loss", "heldout_mrr_at_10", "heldout_recall_at_1"): assert abs(a[key] - b[key]) <= 1e-8 * max(1, a[key]), (a, b)
'; then ok "with the same figures"; else bad "with the same figures" apart1/metrics.jsonl; fi

# ---- held-out rows of which some have gold scores: each figure over its own rows, and the loss, which takes pairs for positives, over the others ----------------------------------------------------
head -n 17 pairs.jsonl > scored.jsonl
head -n 30 triples.jsonl > unscored.jsonl
cat unscored.jsonl scored.jsonl > both.jsonl
{ cat unscored.jsonl; head -n 2 pairs.jsonl; } > sparse.jsonl
for name in scored unscored both sparse; do expect "pack $name" 0 "$lodestone" pack --tokenizer vocab --output "packed-$name" "$name.jsonl"; done
held() { mpi "$1" "$lodestone" train run.yaml data.train=packed-triples data.heldout="packed-$2" train.global_batch=20 train.precision=f64 train.steps=2 train.save_steps=0 train.output_dir="held-$2$1"; }
for name in scored unscored both sparse; do expect "held out: $name" 0 held 1 "$name"; done
for name in both sparse; do expect "held out: $name, on 3 ranks" 0 held 3 "$name"; done
if python3 -c '
import json
scored, unscored, both, three, sparse, sparse_three = (next(r for r in map(json.loads, open(f"held-{n}/metrics.jsonl")) if "heldout_rows" in r) for n in ("scored1", "unscored1", "both1", "both3", "sparse1", "sparse3"))
figures = {"heldout_spearman": scored, "heldout_mrr_at_10": unscored, "heldout_recall_at_1": unscored, "heldout_loss": unscored}
for key, alone in figures.items():
    assert alone.keys() & figures.keys() == {k for k in figures if figures[k] is alone}, alone
    for r in (both, three): assert abs(r[key] - alone[key]) <= 1e-8, (key, r, alone)
    assert abs(sparse[key] - sparse_three[key]) <= 1e-8, (key, sparse, sparse_three)
assert both["heldout_rows"] == 47 and sparse_three["heldout_rows"] == 32
'; then ok "the same as of those rows alone, on any number of ranks"; else bad "the same as of those rows alone, on any number of ranks" held-both1/metrics.jsonl; fi

# ---- RetroMAE, then a contrastive run that starts from what it left ----------------------------------------------------------
cat > retromae.yaml <<'YAML'
objective: {name: retromae}
model: {config: config.json, vocab: vocab}
data: {train: packed-texts, heldout: packed-texts, query_max_len: 24, batching: mixed}
train: {output_dir: run, global_batch: 24, steps: 8, precision: f64, threads: 1, chunk_tokens: 100, logging_steps: 1, save_steps: 4, eval_steps: 8}
optim: {learning_rate: 3e-3}
YAML
expect "RetroMAE alone" 0 "$lodestone" train retromae.yaml train.output_dir=retromae1
expect "RetroMAE on 3 ranks" 0 mpi 3 "$lodestone" train retromae.yaml train.output_dir=retromae3
if python3 - <<'PY'
import json
def losses(run): return [r["loss"] for r in map(json.loads, open(f"{run}/metrics.jsonl")) if "loss" in r]
def held(run): return [r["heldout_loss"] for r in map(json.loads, open(f"{run}/metrics.jsonl")) if "heldout_loss" in r]
one, three = losses("retromae1"), losses("retromae3")
assert len(one) == 8 and all(abs(a - b) <= 1e-7 * abs(a) for a, b in zip(one, three, strict=True)), (one, three)
assert held("retromae1")[-1] < held("retromae1")[0] - 0.1, held("retromae1")
PY
then ok "its losses do not depend on ranks and fall"; else bad "its losses do not depend on ranks and fall" retromae1/metrics.jsonl; fi
expect "export a checkpoint of it" 0 "$lodestone" export retromae1/checkpoint-8 --output encoder --threads 1
same "the encoder of the last checkpoint is that of the run" retromae1/model/model.safetensors encoder/model.safetensors
same "and is read through [CLS] too" retromae1/model/1_Pooling/config.json encoder/1_Pooling/config.json
expect "stage 2 starts from an exported checkpoint" 0 "$lodestone" train retromae.yaml objective.name=embedding model.folder=encoder data.train=packed-triples data.heldout= data.passage_max_len=24 \
  train.output_dir=stage2b train.steps=2
expect "stage 2 starts from its encoder" 0 "$lodestone" train retromae.yaml objective.name=embedding model.folder=retromae1/model data.train=packed-triples data.heldout= data.passage_max_len=24 \
  train.output_dir=stage2 train.steps=2
expect "passages for RetroMAE" 3 "$lodestone" train retromae.yaml train.output_dir=wrong2 data.train=packed-triples data.heldout=
expect "texts for pairs" 3 "$lodestone" train run.yaml data.train=packed-texts data.heldout= train.output_dir=wrong3

# ---- a reranker -------------------------------------------------------------------------------------------------------------
cat > reranker.yaml <<'YAML'
objective: {name: reranker}
model: {folder: retromae1/model}
data: {train: packed-triples, heldout: packed-triples, query_max_len: 16, passage_max_len: 24, train_group_size: 4, batching: mixed}
train: {output_dir: run, global_batch: 12, steps: 12, precision: f32, threads: 1, logging_steps: 1, save_steps: 6, eval_steps: 12, eval_rows: 60}
optim: {learning_rate: 3e-3}
YAML
expect "reranker on 2 ranks" 0 mpi 2 "$lodestone" train reranker.yaml train.output_dir=reranker
expect "evaluate it" 0 "$lodestone" eval reranker/model --rerank triples.jsonl
expect "a reranker from random weights" 2 "$lodestone" train reranker.yaml train.output_dir=wrong4 model.folder= model.config=config.json model.vocab=vocab

# ---- the recipes ------------------------------------------------------------------------------------------------------------
# Name and negatives: N G - 1 passages; CBB N (G - 1) of them; GTE N - 1 queries more, and for each positive N - 1 queries and N - 1 positives.
# RetroMAE has none, nor have scored pairs.
while read -r recipe negatives; do
  expect "recipe $recipe" 0 "$lodestone" check "$2/configs/$recipe.yaml" --without-data
  for what in "tokens " "memory "; do grep -q "^  $what" out.log || bad "$recipe prints $what" out.log; done
  found=$(grep -oE '[0-9]+( to [0-9]+)? negatives per query(, [0-9]+ per positive)?' out.log | grep -v '^0 ' | sort -u | tr '\n' ' ')
  if [ "$found" = "${negatives:+$negatives }" ]; then ok "$recipe prints its negatives"; else bad "$recipe prints '$found' for its negatives, '$negatives'" out.log; fi
done <<'RECIPES'
conan-pretrain 511 negatives per query
conan-finetune 32 negatives per query
conan-vanilla 10 negatives per query 15 negatives per query
bge-retromae
bge-pretrain 19199 negatives per query
bge-finetune 2047 negatives per query
bge-reranker 15 negatives per query
gte-pretrain 32766 negatives per query, 32766 per positive
gte-finetune 2174 negatives per query, 254 per positive
llm-embedder 6399 negatives per query
RECIPES
expect "a grouped recipe with too few ranks" 2 "$lodestone" check "$2/configs/conan-finetune.yaml" --without-data --ranks 4
says "names the way out" "colocated"
for ranks in 5 10 14; do
  expect "a grouped recipe on $ranks ranks" 0 "$lodestone" check "$2/configs/conan-finetune.yaml" --without-data --ranks $ranks
  grep -q "^  groups  *3, $((ranks / 5)) at a time$" out.log || bad "on $ranks ranks $((ranks / 5)) at a time" out.log
done
"$lodestone" check "$2/configs/conan-finetune.yaml" --without-data > out.log 2> err.log
if grep -q "32 queries x 1 passage over 1 to 2 ranks" out.log; then ok "a group's ranks share a batch"; else bad "a group's ranks share a batch" out.log; fi
all_passed
