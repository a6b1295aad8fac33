#!/usr/bin/env bash
# device: cuda from the first step to the exported folder, on a GPU that is emulated (tests/cuda): the losses of the CPU, resume, several ranks
# that share the GPU, eval and encode; and what is said where there is no CUDA.   cuda_test.sh BINARY SOURCE_DIR
set -uo pipefail
lodestone=$1
emulated=$(dirname "$1")/emulated
. "$2/tests/support/tiny_run.sh"
if [ ! -e "$emulated/liblodestone_cuda.so" ]; then echo "skipped: no CUDA headers or no cuBLASLt, by which the backend is built for the host"; exit 77; fi

expect "pack" 0 "$lodestone" pack --tokenizer vocab --output corpus train.jsonl
refuses "without the library" 2 "this program was built without CUDA" "$lodestone" train run.yaml device=cuda data.heldout= train.output_dir=none
expect "devices without the library" 0 "$lodestone" devices
if grep -q '"missing": "this program was built without CUDA' out.log; then ok "say why there is no GPU"; else bad "say why there is no GPU" out.log; fi
LD_LIBRARY_PATH=$emulated expect "devices with a GPU" 0 "$lodestone" devices
if grep -q '"name": "emulated GPU 0"' out.log; then ok "name it"; else bad "name it" out.log; fi
refuses "an argument of devices" 2 "takes no argument" "$lodestone" devices all
on_gpu() { LD_LIBRARY_PATH=$emulated "$@" device=cuda; }
shape=(data.heldout= train.steps=6 train.save_steps=3 train.global_batch=8 train.replica_check_every=2)
train() { "$lodestone" train run.yaml "${shape[@]}" "train.output_dir=$1" "${@:2}"; }
expect "on the CPU" 0 train host
expect "on a GPU" 0 on_gpu train gpu
if grep -q "f32; emulated GPU 0, .* cuBLASLt " out.log; then ok "it is named"; else bad "it is named" out.log; fi
on_two() { mpi 2 "$lodestone" train run.yaml "${shape[@]}" train.output_dir=shared "$@"; }
expect "on two ranks that share it" 0 on_gpu on_two
mkdir cut && cp -r gpu/checkpoint-3 gpu/config.yaml cut/
expect "and resumed" 0 on_gpu train cut
same "the weights are those of a run without a stop, bit for bit" gpu/model/model.safetensors cut/model/model.safetensors

# Rounding of f32 (6e-8) in sums of some hundred terms, which Adam's division by small second moments enlarges over six steps: 1e-4 of a loss.
if python3 - <<'PY'
import json
def losses(run): return [r["loss"] for r in map(json.loads, open(f"{run}/metrics.jsonl")) if "loss" in r]
host = losses("host")
assert len(host) == 6 and host[-1] < host[0], host
for run in ("gpu", "shared"):
    assert all(abs(a - b) <= 1e-4 * a for a, b in zip(host, losses(run), strict=True)), (run, host, losses(run))
PY
then ok "the losses are those of the CPU"; else bad "the losses are those of the CPU" gpu/metrics.jsonl; fi

printf 'one text\nanother\nand one more\n' > texts.txt
encode() { "$lodestone" encode gpu/model --input texts.txt --output "$1.npy" --device "$2"; }
expect "encode on the CPU" 0 encode by-cpu cpu
LD_LIBRARY_PATH=$emulated expect "encode on a GPU" 0 encode by-gpu cuda
if python3 - <<'PY'
import struct
def floats(name):
    data = open(name, "rb").read()
    begin = 10 + struct.unpack("<H", data[8:10])[0]
    return struct.unpack(f"<{(len(data) - begin) // 4}f", data[begin:])
a, b = floats("by-cpu.npy"), floats("by-gpu.npy")
assert len(a) == 3 * 32 and max(abs(x - y) for x, y in zip(a, b, strict=True)) < 1e-5
PY
then ok "the same vectors"; else bad "the same vectors"; fi

all_passed
