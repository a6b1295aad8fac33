#!/usr/bin/env bash
# attention: auto, own and cudnn on a GPU that is emulated, the library of cuDNN being a double (tests/cuda): who takes it and says so, that
# training and encode get what own kernels give, what falls back, and what is refused.   attention_test.sh BINARY SOURCE_DIR
set -uo pipefail
lodestone=$1
emulated=$(dirname "$1")/emulated
. "$2/tests/support/tiny_run.sh"
if [ ! -e "$emulated/liblodestone_cudnn.so" ]; then echo "skipped: no CUDA headers or no cuBLASLt, by which the backend is built for the host"; exit 77; fi

expect "pack" 0 "$lodestone" pack --tokenizer vocab --output corpus train.jsonl
refuses "cuDNN on the CPU" 2 "cuDNN computes on GPUs" "$lodestone" train run.yaml attention=cudnn train.output_dir=none
train() {  # train FOLDER [KEY=VALUE...]
  LD_LIBRARY_PATH=$emulated timeout 300 "$lodestone" train run.yaml data.heldout= train.global_batch=8 model.dropout=0 train.precision=bf16 device=cuda "train.output_dir=$1" "${@:2}"
}
named() {  # named NAME TEXT: the start-up line of what computes says it
  if grep -q "emulated GPU, .*, $2\$" out.log; then ok "$1"; else bad "$1" out.log; fi
}
by_cudnn="attention by cuDNN [0-9.]* in bf16 without dropout"
expect "by own kernels" 0 train own attention=own
named "it is named" "own attention"
expect "auto" 0 train auto
named "auto takes cuDNN and says so" "$by_cudnn"
expect "cudnn" 0 train cudnn attention=cudnn
same "the same weights as auto, bit for bit" auto/model/model.safetensors cudnn/model/model.safetensors
if cmp -s auto/model/model.safetensors own/model/model.safetensors; then bad "cuDNN was asked"; else ok "cuDNN was asked: its double's bits are not those of own kernels"; fi
for order in late shuffled:3; do
  LODESTONE_DOUBLE_EXECUTION=$order expect "streams $order" 0 train "$order"
  same "streams $order: the same weights, bit for bit" auto/model/model.safetensors "$order/model/model.safetensors"
done

# Every shape refused: own kernels, as if there were no cuDNN.
LODESTONE_DOUBLE_CUDNN_REFUSES=texts expect "all shapes refused" 0 train refused
if [ "$(grep -cE '^warning: attention (forward|backward) of .* goes by own kernels: this double was told to refuse it$' err.log)" -eq 2 ]; then ok "all shapes refused: it is said, once each way"; else bad "all shapes refused: it is said, once each way" err.log; fi
same "all shapes refused: the weights of own kernels, bit for bit" own/model/model.safetensors refused/model/model.safetensors
LODESTONE_DOUBLE_CUDNN_REFUSES=texts refuses "all shapes refused, cudnn" 2 "cuDNN cannot compute it: this double was told to refuse it" train none attention=cudnn
says "all shapes refused, cudnn: what helps" "set attention: auto or own"
LODESTONE_DOUBLE_CUDNN_REFUSES=backward expect "backward refused" 0 train forward attention=cudnn

# Dropout and f32 are not for cuDNN, which auto takes by what attention drops alone.
for key in model.dropout=0.1 train.precision=f32; do
  expect "$key" 0 train "auto-${key%%=*}" $key
  expect "$key by own kernels" 0 train "own-${key%%=*}" $key attention=own
  same "$key: the same weights, bit for bit" "auto-${key%%=*}/model/model.safetensors" "own-${key%%=*}/model/model.safetensors"
done

differ() { if cmp -s "$2/model/model.safetensors" "$3/model/model.safetensors"; then bad "$1"; else ok "$1"; fi; }
hidden="model.dropout=0.1 model.attention_dropout=0"
expect "hidden dropout alone" 0 train hidden $hidden
named "hidden dropout alone: by cuDNN" "$by_cudnn"
expect "hidden dropout alone, own" 0 train own-hidden $hidden attention=own
differ "hidden dropout alone: cuDNN was asked" hidden own-hidden
differ "hidden dropout alone: it drops" hidden auto
if [ "$(grep -E '_dropout_prob"' hidden/model/config.json | tr -d ' ,\n')" = '"hidden_dropout_prob":0.1"attention_probs_dropout_prob":0.0' ]; then ok "the exported config.json says both"; else bad "the exported config.json says both" hidden/model/config.json; fi

# Under cudnn it drops itself, for a chunk: whatever is kept of a chunk, or computed twice, and in whatever order streams run; both ways or none.
expect "cudnn with dropout" 0 train dropped attention=cudnn model.dropout=0.1
named "cudnn with dropout: it is said what masks depend on" "attention by cuDNN [0-9.]* in bf16, dropout masks of its own depend on ranks and chunks"
differ "cudnn with dropout: other masks than own kernels have" dropped own-model.dropout
expect "cudnn with dropout, hidden alone" 0 train dropped-hidden attention=cudnn $hidden
same "hidden dropout alone is the same under cudnn, bit for bit" hidden/model/model.safetensors dropped-hidden/model/model.safetensors
expect "cudnn with dropout, chunks computed twice" 0 train twice attention=cudnn model.dropout=0.1 train.keep_activations_mb=0
same "chunks computed twice drop the same: equal weights, bit for bit" dropped/model/model.safetensors twice/model/model.safetensors
LODESTONE_DOUBLE_EXECUTION=shuffled:3 expect "cudnn with dropout, streams shuffled" 0 train dropped-shuffled attention=cudnn model.dropout=0.1
same "cudnn with dropout, streams shuffled: the same weights, bit for bit" dropped/model/model.safetensors dropped-shuffled/model/model.safetensors
expect "cudnn with dropout, other chunks" 0 train chunks attention=cudnn model.dropout=0.1 train.chunk_tokens=64
differ "other chunks have other masks" dropped chunks
LODESTONE_DOUBLE_CUDNN_REFUSES=backward expect "cudnn with dropout, backward refused" 0 train neither attention=cudnn model.dropout=0.1
same "backward refused: forward by own kernels too, the weights of own kernels, bit for bit" own-model.dropout/model/model.safetensors neither/model/model.safetensors

# Ten steps in bf16 by two ways of rounding attention: each lies as far from exact losses as bf16 takes it, which is measured by f32 beside
# own kernels in bf16, and so twice that from the other.
if python3 - <<'PY'
import json
def losses(run): return [r["loss"] for r in map(json.loads, open(f"{run}/metrics.jsonl")) if "loss" in r]
def apart(a, b): return max(abs(x - y) / y for x, y in zip(losses(a), losses(b), strict=True))
bf16 = apart("own", "own-train.precision")
for run in ("auto", "forward"):
    assert 0 < apart(run, "own") <= 2 * bf16, (run, apart(run, "own"), bf16)
assert losses("auto")[-1] < losses("auto")[0]
print(f"losses lie {apart('auto', 'own'):.1e} apart; bf16 and f32 {bf16:.1e}")
PY
then ok "losses are those of own kernels, within what bf16 makes of them"; else bad "losses are those of own kernels" auto/metrics.jsonl; fi

printf 'one text\nanother\nand one more\n' > texts.txt
encode() { "$lodestone" encode auto/model --input texts.txt --output "$1.npy" --precision bf16 "${@:2}"; }
expect "encode on the CPU" 0 encode by-cpu
LD_LIBRARY_PATH=$emulated expect "encode on a GPU" 0 encode by-gpu --device cuda
LD_LIBRARY_PATH=$emulated expect "encode on a GPU by own kernels" 0 encode by-own --device cuda --attention own
LD_LIBRARY_PATH=$emulated LODESTONE_DOUBLE_CUDNN_REFUSES=texts expect "encode --attention cudnn where it has no plan" 2 encode none --device cuda --attention cudnn
says "encode --attention cudnn where it has no plan: why" "cuDNN cannot compute it: this double was told to refuse it"
expect "encode --attention cudnn on the CPU" 2 encode none --attention cudnn
says "encode --attention cudnn on the CPU: why" "--attention cudnn is for GPUs"
if cmp -s by-gpu.npy by-own.npy; then bad "encode asks cuDNN"; else ok "encode asks cuDNN: its double's bits are not those of own kernels"; fi
if python3 - <<'PY'
import struct
def floats(name):
    data = open(name, "rb").read()
    begin = 10 + struct.unpack("<H", data[8:10])[0]
    return struct.unpack(f"<{(len(data) - begin) // 4}f", data[begin:])
def apart(a, b): return max(abs(x - y) for x, y in zip(a, b, strict=True))
bound = 8 * 2**-9  # unit vectors, each within 4 units of bf16
a = floats("by-cpu.npy")
assert len(a) == 3 * 32
assert apart(a, floats("by-gpu.npy")) < bound and apart(a, floats("by-own.npy")) < bound
assert apart(a[:64], a[32:]) > bound, "texts lie closer than the bound: it could tell nothing"
PY
then ok "the same vectors"; else bad "the same vectors"; fi

if [ -e "$(dirname "$lodestone")/liblodestone_cudnn.so" ]; then all_passed; exit; fi   # a build for GPUs: the real one lies beside the program
mkdir without && cp "$emulated"/liblodestone_{cuda,doubles}.so without/
without() { LD_LIBRARY_PATH=$dir/without timeout 300 "$lodestone" train run.yaml data.heldout= train.global_batch=8 model.dropout=0 train.precision=bf16 device=cuda "$@"; }
refuses "without the library" 2 "error: cudnn this program was built without cuDNN" without attention=cudnn train.output_dir=none
says "without the library: what helps" "set attention: auto or own"
expect "without the library, auto" 0 without train.output_dir=without-cudnn
named "own kernels, and why" "own attention (this program was built without cuDNN: there is no liblodestone_cudnn.so)"
same "own kernels: the same weights, bit for bit" own/model/model.safetensors without-cudnn/model/model.safetensors

all_passed
