#!/usr/bin/env bash
# device: cuda from the first step to the exported folder, on a GPU that is emulated (tests/cuda): the losses of the CPU, resume, several ranks
# that share the GPU, orders of streams and encode; and what is said where there is no CUDA.   cuda_test.sh BINARY SOURCE_DIR
set -uo pipefail
lodestone=$1
library=cuda
. "$2/tests/support/emulated_run.sh"

refuses "without the library" 2 "this program was built without CUDA" "$lodestone" train run.yaml device=cuda data.heldout= train.output_dir=none
expect "devices without the library" 0 "$lodestone" devices
if grep -q '"missing": "this program was built without CUDA' out.log; then ok "say why there is no GPU"; else bad "say why there is no GPU" out.log; fi
LD_LIBRARY_PATH=$emulated expect "devices with a GPU" 0 "$lodestone" devices
if grep -q '"name": "emulated GPU"' out.log; then ok "name it"; else bad "name it" out.log; fi
refuses "an argument of devices" 2 "takes no argument" "$lodestone" devices all
on_gpu() { LD_LIBRARY_PATH=$emulated "$@" device=cuda; }
shape=(data.heldout= train.global_batch=8 train.replica_check_every=2)
train() { "$lodestone" train run.yaml "${shape[@]}" "train.output_dir=$1" "${@:2}"; }
on_ranks() { mpi "$1" "$lodestone" train run.yaml "${shape[@]}" "train.output_dir=$2" "${@:3}"; }
expect "on the CPU" 0 train host
expect "on the CPU with steps that are a hundredth larger" 0 train larger optim.learning_rate=1.01e-3
expect "on a GPU" 0 on_gpu train gpu-1
if grep -q "f32; emulated GPU, GPU 0 of 1 at 0000:01:00.0, .* cuBLASLt " out.log; then ok "it is named"; else bad "it is named" out.log; fi
for ranks in 2 3 4; do expect "on $ranks ranks that share it" 0 on_gpu on_ranks $ranks gpu-$ranks; done
expect "with CUDA graphs" 0 on_gpu train graphs cuda_graphs=true
if grep -q "CUDA graphs: 0 recorded, 0 launched so far" out.log; then ok "the start-up line says so"; else bad "the start-up line says so" out.log; fi
expect "with CUDA graphs on 2 ranks" 0 on_gpu on_ranks 2 graphs-2 cuda_graphs=true
refuses "CUDA graphs on the CPU" 2 "CUDA graphs are of GPUs, and this run computes on the CPU" train none cuda_graphs=true
mkdir cut && cp -r gpu-1/checkpoint-5 gpu-1/config.yaml cut/
expect "and resumed" 0 on_gpu train cut
same "the weights are those of a run without a stop, bit for bit" gpu-1/model/model.safetensors cut/model/model.safetensors

# Streams that run when somebody waits, and in a drawn order: nothing may depend on when.
LODESTONE_DOUBLE_EXECUTION=shuffled:5 expect "with CUDA graphs, streams shuffled" 0 on_gpu on_ranks 2 graphs-shuffled cuda_graphs=true
same "streams shuffled, CUDA graphs: the same weights, bit for bit" graphs-2/model/model.safetensors graphs-shuffled/model/model.safetensors
for order in late shuffled:3; do
  LODESTONE_DOUBLE_EXECUTION=$order expect "on 2 ranks, streams $order" 0 on_gpu on_ranks 2 "$order"
  same "streams $order: the same weights, bit for bit" gpu-2/model/model.safetensors "$order/model/model.safetensors"
done
LODESTONE_DOUBLE_EXECUTION=sometimes expect "another order is no order" 134 on_gpu train none

# What f32 may make of a loss: a unit of 2^-24, times the root of the longest sum (a weight's gradient: a row for each of the at most 512
# tokens of 8 pairs of 32), times 8 for up to 64 stages behind each other, times the condition. That is measured on the CPU: how much more
# than by a hundredth a loss changes when every step is a hundredth larger, and at least 1, the loss's own rounding.
if python3 - <<'PY'
import json
def losses(run): return [r["loss"] for r in map(json.loads, open(f"{run}/metrics.jsonl")) if "loss" in r]
host, larger = losses("host"), losses("larger")
assert len(host) == 10 and host[-1] < host[0], host
farthest = 0
for run in ("gpu-1", "gpu-2", "gpu-3", "gpu-4", "graphs", "graphs-2", "late", "shuffled:3"):
    for exact, beside, got in zip(host, larger, losses(run), strict=True):
        condition = max(1, abs(beside - exact) / exact / 0.01)
        allowed = 2**-24 * 512**0.5 * 8 * condition
        assert abs(got - exact) <= allowed * exact, (run, exact, got, allowed)
        farthest = max(farthest, abs(got - exact) / exact)
assert losses("late") == losses("gpu-2") == losses("shuffled:3")
print(f"losses lie {farthest:.1e} apart at most; {allowed:.1e} is allowed at the end")
PY
then ok "the losses are those of the CPU, and bit for bit those of other orders of streams"; else bad "the losses are those of the CPU" gpu-1/metrics.jsonl; fi

# Chunks are as large as step memory has room for.
chunks() {  # chunks TOKENS OVERRIDES...: what check says
  on_gpu "$lodestone" check run.yaml data.heldout= train.output_dir=checked train.chunk_tokens=auto train.global_batch=200 "${@:2}" > out.log 2> err.log
  if grep -q "chunks *$1 tokens" out.log; then ok "chunks of $1: ${*:2}"; else bad "chunks of $1: ${*:2}" out.log err.log; fi
}
chunks 8192
chunks 2048 train.keep_activations_mb=1 train.step_memory_mb=24
chunks 1024 train.keep_activations_mb=1 train.step_memory_mb=8
# Every rank takes what the one with the least room takes, and a run that goes on what it had, though it has room for more by then.
with_memory() {  # with_memory MIB-OF-RANK-0 MIB-OF-RANK-1 COMMAND...
  mpi 2 bash -c 'mib=($1 $2); export LODESTONE_DOUBLE_MEMORY_MB=${mib[$OMPI_COMM_WORLD_RANK]}; exec "${@:3}"' - "$@"
}
on_two() {  # on_two MIB-OF-RANK-0 MIB-OF-RANK-1 FOLDER
  LODESTONE_DOUBLE_GPUS=2 on_gpu with_memory "$1" "$2" "$lodestone" train run.yaml data.heldout= "train.output_dir=$3" train.steps=2 \
    train.save_steps=1 train.chunk_tokens=auto train.global_batch=200 train.keep_activations_mb=1 "${@:4}"
}
expect "two steps where the second GPU is small" 0 on_two 16384 562 narrow
if grep -q "chunks of 2048" out.log; then ok "all ranks take its chunks"; else bad "all ranks take its chunks" out.log; fi
mkdir wide && cp -r narrow/checkpoint-1 narrow/config.yaml wide/
expect "resumed where it is not" 0 on_two 16384 16384 wide
if grep -q "chunks of 2048" out.log; then ok "with the chunks it had"; else bad "with the chunks it had" out.log; fi
same "and to the same weights, bit for bit" narrow/model/model.safetensors wide/model/model.safetensors
expect "one step of automatic chunks" 0 on_gpu train one-step train.steps=1 train.chunk_tokens=auto
if grep -q "chunks of 8192" out.log; then ok "the start-up table says which"; else bad "the start-up table says which" out.log; fi

# Activations are kept as far as step memory has room for them. All texts are as long as they may be, so that the start-up table speaks of
# every batch: a chunk that is not kept costs its forward pass once more, of 4 products a layer, and no bit changes.
kept() {  # kept NAME OVERRIDES...: two steps of chunks of 512 tokens, counted; what the start-up table says of them stands in kept-NAME
  LODESTONE_DOUBLE_COUNTS=counts-$1 expect "two steps, $1" 0 on_gpu train "kept-$1" train.steps=2 train.save_steps=100 train.chunk_tokens=512 \
    train.global_batch=200 data.query_max_len=5 data.passage_max_len=8 "${@:2}"
  sed -n 's/^ *activations *\([0-9]*\) of \([0-9]*\) chunks kept.*/\1 \2/p' out.log > "kept-$1.txt"
}
kept none train.keep_activations_mb=0
kept little train.step_memory_mb=8
kept more train.step_memory_mb=11
kept all
for run in little more all; do
  same "activations kept, $run: the same weights, bit for bit" kept-none/model/model.safetensors "kept-$run/model/model.safetensors"
done
if python3 - <<'PY'
import json
runs = ("none", "little", "more", "all")
kept, chunks = zip(*(map(int, open(f"kept-{run}.txt").read().split()) for run in runs))
assert set(chunks) == {6}, chunks
assert kept[0] == 1 < kept[1] < kept[2] < kept[3] == 6, kept
products = [json.load(open(f"counts-{run}"))["products"] for run in runs]
steps, layers = 2, 2
assert [p - products[3] for p in products] == [steps * (6 - k) * 4 * layers for k in kept], (kept, products)
PY
then ok "more step memory keeps more chunks, and none of those is computed twice"; else bad "chunks kept" kept-*.txt; fi
expect "two steps of chunks kept where the second GPU is small" 0 on_two 16384 562 kept-narrow train.keep_activations_mb=auto train.chunk_tokens=1024
narrow=$(grep "^ *activations" out.log)
expect "and where none is" 0 on_two 16384 16384 kept-wide train.keep_activations_mb=auto train.chunk_tokens=1024
echo "$narrow"
grep "^ *activations" out.log
if [ -n "$narrow" ] && ! grep -qF "$narrow" out.log; then ok "all ranks keep what it has room for"; else bad "all ranks keep what it has room for" out.log; fi
same "the same weights, bit for bit" kept-narrow/model/model.safetensors kept-wide/model/model.safetensors

# What a whole step asks of the GPU, exactly: docs/cuda.md has the same numbers. In one chunk, of 2 layers, alone.
counted() { LODESTONE_DOUBLE_COUNTS=counts-$1 on_gpu train "counted-$1" "train.steps=$1" train.chunk_tokens=2048 train.precision=bf16 train.save_steps=100 train.replica_check_every=0; }
expect "two steps, counted" 0 counted 2
expect "four steps, counted" 0 counted 4
if python3 - <<'PY'
import json
two, four = (json.load(open(f"counts-{n}")) for n in (2, 4))
layers = 2
expected = {"kernels": 31 + 17 * layers, "products": 3 + 12 * layers, "fills": 9 + 8 * layers, "device_copies": 2, "uploads": 6,
            "downloads": 1, "downloaded_bytes": 16, "stream_waits": 2, "host_waits": 3}
got = {name: (four[name] - two[name]) / 2 for name in expected}
assert got == expected, got
PY
then ok "a step's launches, copies and waits"; else bad "a step's launches, copies and waits"; fi

# With graphs the same step, once its shapes have come twice: the chunk's forward pass, and backward the head, each layer and the embeddings, since sums over ranks may begin between them.
counted() { LODESTONE_DOUBLE_COUNTS=counts-graphs-$1 on_gpu train "graphs-counted-$1" "train.steps=$1" cuda_graphs=true train.chunk_tokens=2048 train.precision=bf16 train.save_steps=100 train.replica_check_every=0 data.query_max_len=5 data.passage_max_len=8; }
expect "four steps, counted, with graphs" 0 counted 4
expect "six steps, counted, with graphs" 0 counted 6
if python3 - <<'PY'
import json
four, six, plain2, plain4 = (json.load(open(f"counts-{n}")) for n in ("graphs-4", "graphs-6", 2, 4))
layers = 2
step = {name: (six[name] - four[name]) / 2 for name in six}
plain = {name: (plain4[name] - plain2[name]) / 2 for name in plain4}
assert step["graph_launches"] == 3 + layers, step  # forward, and backward the head, each layer and the embeddings
assert step["products"] == 3, step
launches = lambda c: c["kernels"] + c["products"] + c["fills"] + c["device_copies"] + c["graph_launches"]
print(f"a step has {launches(step):.0f} launches; {launches(plain):.0f} without graphs")
assert launches(step) < launches(plain) / 2, (launches(step), launches(plain))
PY
then ok "a step's launches with graphs"; else bad "a step's launches with graphs" counts-graphs-6; fi

printf 'one text\nanother\nand one more\n' > texts.txt
encode() { "$lodestone" encode gpu-1/model --input texts.txt --output "$1.npy" --device "$2"; }
expect "encode on the CPU" 0 encode by-cpu cpu
LD_LIBRARY_PATH=$emulated expect "encode on a GPU" 0 encode by-gpu cuda
# What f32 may make of a vector, derived as in tests/support/rounding.h: a unit of 2^-24, times the root of the longest sum (over the feed-forward's
# 64), times 4 for up to 16 rounded steps behind each other, times the condition: how much more than by a share of the weights the vector
# changes when each weight changes by a share of itself that is drawn; at least 1, its own rounding. Both sides round: times the root of 2.
cat > beside.py <<'PY'
import array, json, random, shutil, struct
shutil.copytree("gpu-1/model", "beside")
with open("beside/model.safetensors", "r+b") as file:
    (header,) = struct.unpack("<Q", file.read(8))
    assert {t["dtype"] for name, t in json.loads(file.read(header)).items() if name != "__metadata__"} == {"F32"}
    weights = array.array("f", file.read())
    random.seed(11)
    file.seek(8 + header)
    file.write(array.array("f", (w * (1 + random.uniform(-(2**-10), 2**-10)) for w in weights)).tobytes())
PY
expect "weights beside those" 0 python3 beside.py
expect "encode by them" 0 "$lodestone" encode beside --input texts.txt --output beside.npy --device cpu
if python3 - <<'PY'
import math, struct
def vectors(name):
    data = open(name, "rb").read()
    begin = 10 + struct.unpack("<H", data[8:10])[0]
    floats = struct.unpack(f"<{(len(data) - begin) // 4}f", data[begin:])
    assert len(floats) == 3 * 32
    return [floats[i : i + 32] for i in (0, 32, 64)]
for host, gpu, beside in zip(*(vectors(f"{name}.npy") for name in ("by-cpu", "by-gpu", "beside")), strict=True):
    condition = max(1, math.dist(beside, host) * 3**0.5 / 2**-10)  # of a vector whose norm is 1; the root of the shares' mean square is 2^-10 / 3^0.5
    apart, allowed = math.dist(gpu, host), 2**-24 * 64**0.5 * 4 * condition * 2**0.5
    assert apart <= allowed, (apart, allowed)
    print(f"vectors lie {apart:.1e} apart; {allowed:.1e} is allowed")
PY
then ok "the same vectors"; else bad "the same vectors"; fi

all_passed
