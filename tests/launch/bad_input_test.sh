#!/usr/bin/env bash
# What a user can get wrong about rows, tasks, ranks and prompts: one line that names it, before the first step.
#   bad_input_test.sh BINARY SOURCE_DIR
set -uo pipefail
lodestone=$1
. "$2/tests/support/tiny_run.sh"

before_training() {  # before_training NAME CODE TEXT OVERRIDE...: check and train both refuse tasks.yaml so, and train has no metrics
  local name=$1 code=$2 text=$3
  shift 3
  rm -rf refused
  refuses "check: $name" "$code" "$text" "$lodestone" check tasks.yaml train.output_dir=refused "$@"
  refuses "train: $name" "$code" "$text" "$lodestone" train tasks.yaml train.output_dir=refused "$@"
  if [ -s refused/metrics.jsonl ]; then bad "$name: no step was trained" refused/metrics.jsonl; else ok "$name: no step was trained"; fi
}

# ---- records: file and line, for every type ---------------------------------------------------------------------------------
record() {  # record NAME TEXT GOOD BAD: packing GOOD and then BAD stops at line 2 of the file
  printf '%s\n%s\n' "$3" "$4" > records.jsonl
  refuses "record: $1" 3 "$2" "$lodestone" pack --tokenizer vocab --output refused-records records.jsonl
  says "record: $1: the file" "records.jsonl"
  says "record: $1: the line" "line=2"
  if [ -e refused-records ]; then bad "record: $1: nothing is left"; rm -rf refused-records; fi
}
record "a text" "empty text" '{"text": "a"}' '{"text": " "}'
record "a pair" "names no positive" '{"query": "a", "pos": "b"}' '{"query": "a"}'
record "a triple" "neither a text nor a list of texts" '{"text": "a", "text_pos": "b", "text_neg": ["c"]}' '{"text": "a", "text_pos": "b", "text_neg": [1]}'
record "a scored pair" "not a number" '{"sentence1": "a", "sentence2": "b", "score": 1}' '{"sentence1": "a", "sentence2": "b", "score": "1"}'
record "a class" "a class label is an integer" '{"query": "a", "pos": "b", "label": 1}' '{"query": "a", "pos": "b", "label": 1.5}'
record "teacher scores" "1 numbers for 2 positives and negatives; field=teacher_scores" '{"query": "a", "pos": "b", "neg": ["c"], "teacher_scores": [1, 2]}' \
  '{"query": "a", "pos": "b", "neg": ["c"], "teacher_scores": [1]}'
record "a history" "3 numbers for 2 positives and negatives; field=teacher_scores" '{"query": "a", "history": ["b", "c"], "teacher_scores": [1, 2]}' \
  '{"query": "a", "history": ["b", "c"], "teacher_scores": [1, 2, 3]}'
record "scores of both sides" "1 numbers for 2 negatives; field=neg_scores" '{"query": "a", "pos": "b", "neg": ["c", "d"], "pos_scores": [1], "neg_scores": [1, 2]}' \
  '{"query": "a", "pos": "b", "neg": ["c", "d"], "pos_scores": [1], "neg_scores": [2]}'

# ---- tasks: their rows, ranks and prompts ------------------------------------------------------------------------------------
python3 - <<'PY'
import json, random
random.seed(5)
words = [w for w in open("vocab/vocab.txt").read().split() if len(w) > 2 and not w.startswith(("##", "["))]
def row(i):
    topic = random.sample(words, 3)
    r = {"query": " ".join(topic), "pos": [" ".join(topic + random.sample(words, 2))], "neg": [" ".join(random.sample(words, 4)) for _ in range(2)], "task": ["qa", "tool"][i % 2]}
    return r | ({"teacher_scores": [-0.5, -1.5, -2.0]} if i % 2 == 0 else {})
def pair(i): return {"sentence1": " ".join(random.sample(words, 4)), "sentence2": " ".join(random.sample(words, 4)), "score": i % 5}
def write(name, rows): open(name, "w").write("".join(json.dumps(r) + "\n" for r in rows))
write("tasks.jsonl", [row(i) for i in range(80)])
write("pairs.jsonl", [pair(i) for i in range(80)])
late = [row(2 * i) for i in range(400)]   # all of source qa
late[377] |= {"neg": [], "teacher_scores": [1.0]}
write("late.jsonl", late)
write("untaught.jsonl", [{k: v for k, v in row(2 * i).items() if k != "teacher_scores"} for i in range(40)])
write("own.jsonl", [pair(i) | {"prompt": "a b c d e f " * 10} for i in range(80)])
PY
for name in tasks pairs own late untaught; do expect "pack $name" 0 "$lodestone" pack --tokenizer vocab --output "$name" "$name.jsonl"; done
cat > tasks.yaml <<'YAML'
model: {config: config.json, vocab: vocab, dropout: 0.1}
data: {query_max_len: 24, passage_max_len: 24}
tasks:
  qa:
    global_batch: 8
    data: {train: tasks, sources: [qa], train_group_size: 3}
    loss: {name: kl_divergence}
  sts:
    global_batch: 8
    data: {train: pairs}
    loss: {name: cosent}
train: {output_dir: run, steps: 3, precision: f32, threads: 1, logging_steps: 1}
YAML
expect "check: a good configuration" 0 "$lodestone" check tasks.yaml
expect "train: a good configuration" 0 "$lodestone" train tasks.yaml

before_training "rows without the teacher's scores" 3 "the row has no teacher scores, which the loss reads" 'tasks.qa.data.sources=[tool]'
says "the source is named" "source=tool"
says "the task is named" "task=qa"
before_training "rows without gold scores" 3 "the row has no gold score, which the loss reads" tasks.sts.data.train=tasks 'tasks.sts.data.sources=[tool]'
before_training "a batch of mixed tasks" 3 "a batch would mix rows of different tasks: source qa has teacher scores, source tool has none" tasks.qa.data.batching=mixed 'tasks.qa.data.sources=[]' \
  tasks.qa.loss.name=info_nce
before_training "a task without a corpus" 2 "task sts has no training corpus" tasks.sts.data.train=
before_training "a corpus that is not there" 3 "task=sts" tasks.sts.data.train=nowhere
before_training "a source that is not there" 2 'task sts has no source "icl"' 'tasks.sts.data.sources=[icl]'
before_training "a filter that leaves nothing" 3 "no row is left to train on: the filters leave out all 40" tasks.qa.data.teacher_scores_min=1
before_training "one row of many without negatives" 3 "the row has no negative, but each query takes 2; row=377 source=qa data.train=" tasks.qa.data.train=late
says "the corpus and the task are named" "/late task=qa"
before_training "held-out rows without gold scores" 3 "the row has no gold score, which the loss reads (CoSENT" tasks.sts.data.heldout=tasks
says "the source is named" "source=qa data.heldout="
says "the held-out corpus is named" "/tasks task=sts"
before_training "held-out rows without teacher scores" 3 "the row has no teacher scores, which the loss reads (KL" tasks.qa.data.heldout=untaught
before_training "a held-out row without negatives" 3 "the row has no negative, but each query takes 2; row=377 source=qa data.heldout=" tasks.qa.data.heldout=late
expect "a held-out row without negatives is left out like those of training" 0 "$lodestone" train tasks.yaml train.output_dir=left-out tasks.qa.data.train=late tasks.qa.data.heldout=late \
  tasks.qa.data.rows_without_negatives=leave_out
expect "held-out sources with and without teacher scores that no loss reads" 0 "$lodestone" train tasks.yaml train.output_dir=half-taught 'tasks.qa.data.sources=[]' tasks.qa.data.heldout=tasks \
  tasks.qa.loss.name=info_nce
before_training "a source whose queries have no negatives" 2 "queries of the source tool are compared with nothing" tasks.qa.loss.name=info_nce 'tasks.qa.data.sources=[tool]' \
  tasks.qa.data.train_group_size=1 tasks.qa.data.rules.r.match=tool tasks.qa.data.rules.r.use_inbatch_neg=false
says "the remedy is named" "set data.train_group_size to 2 or more, or leave the source out with data.sources"
before_training "distillation without a second passage" 2 \
  "tasks.qa.loss: a query's own passages are compared with each other (KL distillation, temperature 0.05), but data.train_group_size of task qa is 1" tasks.qa.data.train_group_size=1
before_training "fewer ranks than one group" 2 "colocated" schedule.layout=grouped
long="a b c d e f a b c d e f a b c d e f a b c d e f "
before_training "a query's prompt longer than the limit" 2 "query_max_len of 24 tokens leaves no room for a text" "data.query_prompt=$long"
before_training "a passage's prompt longer than the limit" 2 "passage_max_len of 24 tokens leaves no room for a text" "tasks.sts.data.passage_prompt=$long"
says "its task is named" "task=sts"
before_training "a row's prompt longer than the limit" 2 "query_max_len of 24 tokens leaves no room for a text" tasks.sts.data.train=own

# ---- settings that the opened model refuses, with their place ----------------------------------------------------------------------
before_training "a parameter that does not exist" 2 "optim.freeze: no parameter is called nosuch" 'optim.freeze=[nosuch]'
before_training "more Matryoshka dimensions than the model has" 2 "tasks.sts.loss.mrl_dims: 64 is more than the model's 32 dimensions" 'tasks.sts.loss.mrl_dims=[8, 64]'
before_training "longer texts than the model reads" 2 "data.passage_max_len: texts of 1000 tokens, the model has 64 positions" data.passage_max_len=1000
before_training "epochs without a batch" 2 "train.num_train_epochs: 1e-12 epochs have no whole batch" train.steps=0 train.num_train_epochs=1e-12
before_training "a metric that nothing gives" 2 "train.metric: heldout_loss is no figure that held-out rows give here" train.metric=heldout_loss

# ---- RetroMAE on more ranks than rows, whoever shares a batch ---------------------------------------------------------------------
python3 - <<'PY'
import json, random
random.seed(6)
words = [w for w in open("vocab/vocab.txt").read().split() if len(w) > 2 and not w.startswith(("##", "["))]
open("texts.jsonl", "w").write("".join(json.dumps({"text": " ".join(random.sample(words, 6))}) + "\n" for _ in range(40)))
PY
expect "pack texts" 0 "$lodestone" pack --tokenizer vocab --output texts texts.jsonl
cat > retromae.yaml <<'YAML'
objective: {name: retromae}
model: {config: config.json, vocab: vocab}
data: {train: texts, query_max_len: 24, batching: mixed}
schedule: {layout: grouped}
train: {output_dir: run, global_batch: 2, steps: 3, precision: f32, threads: 1}
YAML
for layout in grouped colocated; do
  refuses "check: RetroMAE $layout on more ranks than rows" 2 "F13 3 ranks for a global batch of 2 rows" "$lodestone" check retromae.yaml --ranks 3 train.output_dir=few schedule.layout=$layout
done
expect "train: RetroMAE grouped on more ranks than rows" 2 mpi 3 "$lodestone" train retromae.yaml train.output_dir=refused3
says "its ranks are named" "F13 3 ranks for a global batch of 2 rows"
expect "RetroMAE grouped on as many ranks as rows" 0 mpi 2 "$lodestone" train retromae.yaml train.output_dir=trained2

# ---- a reranker with the default train_group_size -------------------------------------------------------------------------------
printf 'model: {folder: m}\nobjective: {name: reranker}\ndata: {train: tasks}\ntrain: {output_dir: run, steps: 3}\n' > tasks.yaml
before_training "a reranker without negatives" 2 "data: a reranker compares a query's positive with its negatives, but train_group_size is 1"

# ---- step memory without room for a row, and a device that this build does not have ------------------------------------------------
sed 's/"hidden_size": 32/"hidden_size": 256/; s/"intermediate_size": 64/"intermediate_size": 1024/' config.json > wide.json
cat > wide.yaml <<'YAML'
model: {config: wide.json, vocab: vocab}
data: {train: tasks, query_max_len: 48, passage_max_len: 64}
train: {output_dir: narrow, global_batch: 8, steps: 1, precision: f32, threads: 1, step_memory_mb: 2}
YAML
refuses "check: step memory without room for a row" 9 "F14 a row with texts of 64 tokens needs" "$lodestone" check wide.yaml
says "its limit" "train.step_memory_mb allows 2 MiB"
says "what fits" "the longest texts that fit have"
refuses "train: the same" 9 "F14 a row with texts of 64 tokens needs" "$lodestone" train wide.yaml
fits=$(sed -n 's/.*texts that fit have \([0-9]*\) tokens.*/\1/p' err.log)
expect "a row that fits trains" 0 "$lodestone" train wide.yaml train.output_dir=narrow2 train.global_batch=2 data.query_max_len="$fits" data.passage_max_len="$fits"
refuses "device: cuda" 2 "this program was built without CUDA" "$lodestone" check wide.yaml device=cuda
refuses "eval --device cuda" 2 "this program was built without CUDA" "$lodestone" eval m --beir tasks --device cuda
refuses "encode --device cuda" 2 "this program was built without CUDA" "$lodestone" encode m --input vocab/vocab.txt --output m.npy --device cuda
refuses "export --device cuda" 2 "this program was built without CUDA" "$lodestone" export m --output n --device cuda
all_passed
