#!/usr/bin/env bash
# What options promise, seen from outside: the scales of gradient and loss, frozen parameters, a new dense layer, two stages, replayed
# sources, a loss for each task, leading components of vectors.
#   options_test.sh BINARY SOURCE_DIR
set -uo pipefail
lodestone=$1
. "$2/tests/support/tiny_run.sh"

cat > measure.py <<'PY'
import json, struct

def steps(run, key="grad_norm"):
    """The records of a run's steps."""
    return [r for r in map(json.loads, open(f"{run}/metrics.jsonl")) if key in r]

def tensors(path):
    """Every tensor of a safetensors file of 32-bit floats, by name."""
    data = open(path, "rb").read()
    size = struct.unpack("<Q", data[:8])[0]
    out = {}
    for name, t in json.loads(data[8:8 + size]).items():
        if name == "__metadata__": continue
        begin, end = t["data_offsets"]
        out[name] = struct.unpack(f"<{(end - begin) // 4}f", data[8 + size + begin:8 + size + end])
    return out

def named(weights, part):
    (found,) = [v for name, v in weights.items() if part in name]
    return found
PY
holds() {  # holds NAME: the Python on standard input, which may assert, succeeds
  { echo "from measure import *"; cat; } > check.py
  if python3 check.py 2> err.log; then ok "$1"; else bad "$1" err.log; fi
}
expect "pack" 0 "$lodestone" pack --tokenizer vocab --output corpus train.jsonl
expect "pack held-out" 0 "$lodestone" pack --tokenizer vocab --output heldout heldout.jsonl
train() { "$lodestone" train run.yaml train.save_steps=0 train.eval_steps=0 "$@"; }

# ---- the gradient times 1 / ranks --------------------------------------------------------------------------------------------
for flag in false true; do
  expect "ref_grad_scale $flag" 0 mpi 2 "$lodestone" train run.yaml train.output_dir=scale-$flag train.steps=2 train.precision=f64 train.save_steps=0 train.eval_steps=0 optim.max_grad_norm=0 \
    optim.ref_grad_scale=$flag
done
holds "the gradient of 2 ranks is halved" <<'PY'
whole, half = steps("scale-false")[0], steps("scale-true")[0]
assert whole["loss"] == half["loss"] and abs(half["grad_norm"] - whole["grad_norm"] / 2) < 1e-8 * whole["grad_norm"], (whole, half)
PY

# ---- the loss scale ----------------------------------------------------------------------------------------------------------
expect "a loss scale that overflows" 0 train train.output_dir=overflow train.steps=40 optim.loss_scale=dynamic optim.loss_scale_initial=1.393796574908163946e42 optim.loss_scale_hysteresis=1
holds "every overflow skips its step and halves the scale until steps are finite" <<'PY'
records = steps("overflow")
assert len(records) == 40 and records[0]["loss_scale"] == float(f"{2.0 ** 140:.9g}")
skipped = [r["grad_norm"] is None for r in records]
first = skipped.index(False)
assert 10 < first < 30 and all(skipped[:first]), skipped
assert sum(skipped[first:]) <= 3, skipped   # gradients may still grow, though not tenfold
for before, after in zip(records, records[1:]):
    expected = before["loss_scale"] / 2 if before["grad_norm"] is None else before["loss_scale"]
    assert abs(after["loss_scale"] / expected - 1) < 1e-7, (before, after)
assert records[-1]["loss"] < records[first]["loss"] - 0.05, "it trains afterwards"
PY
expect "a loss scale that grows" 0 train train.output_dir=grows optim.loss_scale=dynamic optim.loss_scale_initial=1024 optim.loss_scale_window=4
expect "no loss scale" 0 train train.output_dir=plain
holds "4 finite steps double it, and a power of two changes no loss" <<'PY'
grown, plain = steps("grows"), steps("plain")
assert [r["loss_scale"] for r in grown] == [1024] * 4 + [2048] * 4 + [4096] * 2, grown
assert [r["loss"] for r in grown] == [r["loss"] for r in plain]
PY

# ---- frozen positions --------------------------------------------------------------------------------------------------------
expect "frozen positions" 0 train train.output_dir=frozen model.config= model.vocab= model.folder=plain/model 'optim.freeze=[embeddings.position_embeddings.weight]'
holds "they keep their bits, and everything else is trained" <<'PY'
before, after = tensors("plain/model/model.safetensors"), tensors("frozen/model/model.safetensors")
for name in before:
    if "key.bias" in name: continue   # a constant added to a softmax's scores: no gradient
    assert (before[name] == after[name]) == ("position_embeddings" in name), name
PY

# ---- a dense layer behind a checkpoint that has none ---------------------------------------------------------------------------
mkdir bert && cp plain/model/{config.json,model.safetensors,vocab.txt,tokenizer_config.json} bert/
dense() { train train.steps=2 model.config= model.vocab= model.head=56 model.pooling=mean model.normalize=false "$@"; }
expect "a dense layer for a plain BERT folder" 0 dense train.output_dir=dense model.folder=bert
if grep -qF "mean pooling, dense 56, new" out.log; then ok "the start-up table calls it new"; else bad "the start-up table calls it new" out.log; fi
holds "its folder has Transformer, Pooling and Dense, and the layer was trained" <<'PY'
kinds = [m["type"].rsplit(".", 1)[1] for m in json.load(open("dense/model/modules.json"))]
assert kinds == ["Transformer", "Pooling", "Dense"], kinds
layer = tensors("dense/model/2_Dense/model.safetensors")
assert len(layer["linear.weight"]) == 56 * 32 and len(set(layer["linear.weight"])) > 1000 and any(layer["linear.bias"])
assert len(steps("dense")) == 2 and all(r["grad_norm"] > 0 for r in steps("dense"))
PY
expect "the next stage keeps it" 0 dense train.output_dir=dense2 model.folder=dense/model
if grep -qF "mean pooling, dense 56" out.log && ! grep -qF "dense 56, new" out.log; then ok "and does not call it new"; else bad "and does not call it new" out.log; fi
holds "with the weights of the first" <<'PY'
before, after = (tensors(f"{run}/model/2_Dense/model.safetensors")["linear.weight"] for run in ("dense", "dense2"))
assert max(abs(a - b) for a, b in zip(before, after)) < 5e-3, "two steps of 1e-3"
PY
expect "another width is refused" 2 dense train.output_dir=dense3 model.folder=dense/model model.head=57
says "with both widths" "model.head is 57, the dense layer of model.folder has 56 outputs"

# ---- a second stage: the weights of the first, shorter batches, longer texts, a tenth of the learning rate, a fresh optimizer -----------
expect "stage 2" 0 "$lodestone" train run.yaml train.output_dir=stage2 train.steps=1 train.save_steps=0 model.config= model.vocab= model.folder=plain/model train.global_batch=8 \
  data.query_max_len=64 data.passage_max_len=64 loss.name=gte loss.temperature=0.01 optim.learning_rate=1e-4 optim.warmup_steps=0 optim.weight_decay=0
expect "stage 1's loss on held-out rows again" 0 train train.output_dir=again train.steps=1 model.config= model.vocab= model.folder=plain/model
holds "it starts from stage 1's weights, and Adam's first step moves every element by the learning rate" <<'PY'
held = lambda run: [r["heldout_loss"] for r in steps(run, "heldout_loss")]
assert abs(held("again")[0] - held("plain")[-1]) < 1e-6, (held("again"), held("plain"))
before, after = (named(tensors(f"{run}/model/model.safetensors"), "layer.1.output.dense.bias") for run in ("plain", "stage2"))
moved = [abs(a - b) for a, b in zip(after, before)]
assert sum(abs(m - 1e-4) < 5e-6 for m in moved) >= 0.9 * len(moved), sorted(moved)
PY

# ---- replayed sources --------------------------------------------------------------------------------------------------------
expect "a share of replayed rows" 0 "$lodestone" check run.yaml --steps 30 train.steps=30 data.batching=epoch data.rules.replay.match=a data.rules.replay.share=0.2
cp out.log plan.jsonl
holds "the plan keeps it at every moment" <<'PY'
replayed = 0
for i, step in enumerate(json.loads(line) for line in open("plan.jsonl")):
    replayed += sum(part["source"] == "a" for part in step["parts"])
    assert abs(replayed - 0.2 * (i + 1)) <= 1, (i, replayed)
assert i == 29
PY

# ---- a loss for each task ----------------------------------------------------------------------------------------------------
python3 - <<'PY'
import json, random
random.seed(5)
words = [w for w in open("vocab/vocab.txt").read().split() if len(w) > 2 and not w.startswith(("##", "["))]
text = lambda n: " ".join(random.sample(words, n))
def write(name, rows): open(name, "w").write("".join(json.dumps(r) + "\n" for r in rows))
write("taught.jsonl", [{"query": text(3), "pos": [text(4)], "neg": [text(4), text(4)], "teacher_scores": [random.random() for _ in range(3)]} for _ in range(60)])
write("pairs.jsonl", [{"sentence1": text(4), "sentence2": text(4), "score": random.randint(0, 4)} for _ in range(60)])
PY
for name in taught pairs; do expect "pack $name" 0 "$lodestone" pack --tokenizer vocab --output "$name" "$name.jsonl"; done
declare -A task=([nce]='{global_batch: 16, data: {train: corpus}, loss: {name: info_nce, temperature: 0.1}}'
  [kl]='{global_batch: 8, data: {train: taught, train_group_size: 3}, loss: {name: kl_divergence, temperature: 0.1}}'
  [sts]='{global_batch: 12, data: {train: pairs}, loss: {name: cosent}}')
write_config() {  # write_config FILE TASK...
  local file=$1 name
  shift
  { grep -v '^data:' run.yaml | sed 's/model: {/model: {dropout: 0, /'; printf 'data: {query_max_len: 32, passage_max_len: 32}\ntasks:\n'; for name in "$@"; do printf '  %s: %s\n' "$name" "${task[$name]}"; done; } > "$file"
}
for name in nce kl sts; do
  write_config "$name.yaml" $name
  expect "task $name alone" 0 "$lodestone" train "$name.yaml" train.output_dir=alone-$name train.steps=1 train.save_steps=0 train.precision=f64
done
write_config all.yaml nce kl sts
expect "all tasks in a step" 0 mpi 2 "$lodestone" train all.yaml train.output_dir=all train.steps=1 train.save_steps=0 train.precision=f64
expect "a task a step" 0 mpi 2 "$lodestone" train all.yaml train.output_dir=turns train.steps=6 train.save_steps=0 train.precision=f64 schedule.mix=deck optim.learning_rate=1e-12
holds "each task's batches have its own loss" <<'PY'
alone = {name: steps(f"alone-{name}")[0]["loss"] for name in ("nce", "kl", "sts")}
assert len({round(v, 3) for v in alone.values()}) == 3, alone
together = steps("all")[0]
for name, value in alone.items(): assert abs(together[f"loss/{name}"] - value) < 1e-7, (name, together, alone)
turns = steps("turns")
trained = [[name for name in alone if r[f"loss/{name}"] is not None] for r in turns]
assert sorted(t[0] for t in trained) == ["kl", "kl", "nce", "nce", "sts", "sts"] and all(len(t) == 1 for t in trained), trained
for name, value in alone.items():
    first = next(r[f"loss/{name}"] for r in turns if r[f"loss/{name}"] is not None)
    assert abs(first - value) < 1e-6, (name, first, value)
PY

# ---- leading components ------------------------------------------------------------------------------------------------------
printf 'one text\nanother text\n' > texts.txt
expect "encode 8 of 32 components" 0 "$lodestone" encode plain/model --input texts.txt --output cut.npy --dimensions 8
if head -c 128 cut.npy | grep -qaF "(2, 8)"; then ok "the matrix has 8 columns"; else bad "the matrix has 8 columns"; fi
expect "evaluate 8 of 32 components" 0 "$lodestone" eval plain/model --pairs pairs.jsonl --dimensions 8
expect "more components than there are" 2 "$lodestone" encode plain/model --input texts.txt --output more.npy --dimensions 33
says "how many there are" "give --dimensions 32 or less"
all_passed
