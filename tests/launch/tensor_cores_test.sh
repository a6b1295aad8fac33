#!/usr/bin/env bash
# Training in bf16 with dropout where attention goes by own kernels on tensor cores (heads of 32), on a GPU that is emulated: the losses that
# bf16 makes of the CPU's, the same first step on any number of ranks, the same bits in all orders of streams, and RetroMAE under its masks.
#   tensor_cores_test.sh BINARY SOURCE_DIR
set -uo pipefail
lodestone=$1
library=cuda
. "$2/tests/support/emulated_run.sh"

sed -i 's/"hidden_size": 32/"hidden_size": 64/' config.json   # two heads of 32
python3 - <<'PY'
import json
rows = map(json.loads, open("train.jsonl"))
open("texts.jsonl", "w").write("".join(json.dumps({"text": " ".join([r["query"]] + r["pos"])}) + "\n" for r in rows))
PY
expect "pack texts" 0 "$lodestone" pack --tokenizer vocab --output packed-texts texts.jsonl
cat > retromae.yaml <<'YAML'
objective: {name: retromae}
model: {config: config.json, vocab: vocab}
data: {train: packed-texts, query_max_len: 32, batching: mixed}
train: {output_dir: run, steps: 10, threads: 1, chunk_tokens: 128, logging_steps: 1, save_steps: 100}
optim: {learning_rate: 1e-3}
YAML
contrastive=(train run.yaml data.heldout=)
retromae=(train retromae.yaml)
train() {  # train RANKS FOLDER OBJECTIVE KEY=VALUE...
  local -n how=$3
  local ranks=$1 command=("$lodestone" "${how[@]}" train.global_batch=8 train.replica_check_every=2 "train.output_dir=$2" "${@:4}")
  if [ "$ranks" -eq 1 ]; then "${command[@]}"; else mpi "$ranks" "${command[@]}"; fi
}
on_gpu() { LD_LIBRARY_PATH=$emulated "$@" device=cuda attention=own train.precision=bf16; }
both() {  # both OBJECTIVE ORDER RANKS...
  expect "$1: on the CPU in f32" 0 train 1 "$1-f32" "$1" train.precision=f32
  expect "$1: on the CPU in bf16" 0 train 1 "$1-bf16" "$1" train.precision=bf16
  for ranks in "${@:3}"; do expect "$1: ranks: $ranks" 0 on_gpu train "$ranks" "$1-$ranks" "$1"; done
  LODESTONE_DOUBLE_EXECUTION=$2 expect "$1: on $ranks ranks, streams $2" 0 on_gpu train "$ranks" "$1-$2" "$1"
  same "$1, streams $2: the same weights, bit for bit" "$1-$ranks/model/model.safetensors" "$1-$2/model/model.safetensors"
}
both contrastive late 1 2 4 3
both retromae shuffled:3 1 3

# Attention on tensor cores with dropout takes a kernel more each way than plain attention does (cuda_test.sh), in one chunk of 2 layers.
for steps in 2 4; do
  LODESTONE_DOUBLE_COUNTS=counts-$steps expect "$steps steps, counted" 0 on_gpu train 1 "counted-$steps" contrastive "train.steps=$steps" train.chunk_tokens=2048 \
    train.replica_check_every=0
done
kernels=$(python3 -c 'import json; print((json.load(open("counts-4"))["kernels"] - json.load(open("counts-2"))["kernels"]) / 2)')
if [ "$kernels" = "$((31 + 19 * 2)).0" ]; then ok "attention went by them"; else bad "attention went by them: $kernels kernels a step"; fi

# bf16 takes a run from f32 by some share of its loss, which the CPU's own run in bf16 measures. The GPU rounds elsewhere (probabilities, and the
# order of sums), so its run lies about as far away in another direction: at most twice that, by the root of the mean square. A text's attention
# has the same bits on any rank, so first losses differ by the order of sums in f32 alone: a unit of 2^-24 times the root of at most 512 terms
# times 4.
if python3 - <<'PY'
import json
def losses(run): return [r["loss"] for r in map(json.loads, open(f"{run}/metrics.jsonl")) if "loss" in r]
for objective, runs in {"contrastive": (1, 2, 3, 4), "retromae": (1, 3)}.items():
    exact, bf16 = losses(f"{objective}-f32"), losses(f"{objective}-bf16")
    assert len(exact) == 10 and exact[-1] < exact[0]
    def apart(run): return (sum((1 - b / a) ** 2 for a, b in zip(exact, losses(f"{objective}-{run}"), strict=True)) / 10) ** 0.5
    first = losses(f"{objective}-1")[0]
    for ranks in runs:
        assert 0 < apart(ranks) <= 2 * apart("bf16"), (objective, ranks, apart(ranks), apart("bf16"))
        beside = abs(losses(f"{objective}-{ranks}")[0] - first) / first
        assert beside <= 2**-24 * 512**0.5 * 4, (objective, ranks, beside)
    print(f"{objective}: {', '.join(f'{apart(r):.1e}' for r in runs)} from f32; the CPU's bf16 {apart('bf16'):.1e}")
PY
then ok "losses within what bf16 makes of them, and one first loss on any number of ranks"; else bad "losses" contrastive-1/metrics.jsonl; fi
all_passed
