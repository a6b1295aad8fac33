#!/usr/bin/env bash
# comm: nccl on GPUs that are emulated, NCCL's double going over MPI (tests/cuda): the same bits as staged through the host on any number of
# ranks and with sharded updates; who is refused; what a broken link, a killed rank and a missing library say.   nccl_test.sh BINARY SOURCE_DIR
set -uo pipefail
lodestone=$1
library=nccl
. "$2/tests/support/emulated_run.sh"
export LODESTONE_DOUBLE_GPUS=4

refuses "NCCL on the CPU" 2 "NCCL moves what lies on GPUs" "$lodestone" train run.yaml comm=nccl train.output_dir=none
train() {  # train RANKS FOLDER [KEY=VALUE...]
  LD_LIBRARY_PATH=$emulated timeout 300 "$support/mpirun.sh" "$1" "$lodestone" train run.yaml data.heldout= train.global_batch=8 device=cuda "train.output_dir=$2" "${@:3}"
}
for ranks in 1 2 3 4; do
  expect "$ranks ranks, staged" 0 train $ranks staged-$ranks comm=staged
  expect "$ranks ranks, NCCL" 0 train $ranks nccl-$ranks comm=nccl
  if grep -qx '  transport     NCCL [0-9.]*' out.log; then ok "$ranks ranks: it is named"; else bad "$ranks ranks: it is named" out.log; fi
  same "$ranks ranks: the same weights, bit for bit" staged-$ranks/model/model.safetensors nccl-$ranks/model/model.safetensors
done
expect "sharded updates, staged" 0 train 3 staged-zero comm=staged optim.zero=true
expect "sharded updates, NCCL" 0 train 3 nccl-zero comm=nccl optim.zero=true
same "sharded updates: the same weights, bit for bit" staged-zero/model/model.safetensors nccl-zero/model/model.safetensors

# A verb stands between the operations around it by two events, one from the operations' stream (0) to NCCL's (2), and one back.
for order in late shuffled:3; do
  LODESTONE_DOUBLE_EXECUTION=$order expect "2 ranks, streams $order" 0 train 2 "nccl-$order" comm=nccl
  same "2 ranks, streams $order: the same weights, bit for bit" nccl-2/model/model.safetensors "nccl-$order/model/model.safetensors"
done
verbs_without() { LODESTONE_TEST_BACKEND=cuda LODESTONE_DOUBLE_EXECUTION=late LODESTONE_DOUBLE_FORGET=$1 LD_LIBRARY_PATH=$emulated timeout 60 "$support/mpirun.sh" 1 "$(dirname "$lodestone")/comm_mpi_tests" --gtest_filter='*DevicePlanes.SumsStand*/f32'; }
for event in 0:2 2:0; do expect "without the event $event a verb goes wrong" 1 verbs_without $event; done
expect "without one that is not there it does not" 0 verbs_without 9:9

# A gradient of 5.2 MB, which is summed in five pieces under backward; with sharded updates its parameters arrive under the next forward.
sed 's/"hidden_size": 32, "num_hidden_layers": 2/"hidden_size": 160, "num_hidden_layers": 4/; s/"intermediate_size": 64/"intermediate_size": 640/' config.json > wide.json
wide() { train 2 "$1" model.config=wide.json train.global_batch=4 train.steps=3 train.save_steps=2 train.replica_check_every=1 "${@:2}"; }
for zero in false true; do
  expect "several pieces, optim.zero=$zero, staged" 0 wide "wide-$zero-staged" comm=staged optim.zero=$zero
  expect "several pieces, optim.zero=$zero, NCCL" 0 wide "wide-$zero" comm=nccl optim.zero=$zero
  same "the same weights, bit for bit" {"wide-$zero-staged","wide-$zero"}/model/model.safetensors
  LODESTONE_DOUBLE_EXECUTION=newest_first expect "NCCL's stream first" 0 wide "wide-$zero-first" comm=nccl optim.zero=$zero
  same "the same weights, bit for bit" {"wide-$zero-staged","wide-$zero-first"}/model/model.safetensors
done
mkdir cut && cp -r wide-true/checkpoint-2 wide-true/config.yaml cut/
expect "sharded updates, resumed" 0 wide cut comm=nccl optim.zero=true
same "the same weights, bit for bit" {wide-true,cut}/model/model.safetensors

# Steps that overflow, whose update is left out, while the parameters of the step before arrive; and a layer that stays as it is.
odd() { train 3 "odd-$1" "comm=$2" optim.zero=true optim.loss_scale=dynamic optim.loss_scale_initial=5.316911983139664e36 optim.loss_scale_hysteresis=1 optim.loss_scale_window=1 'optim.freeze=[embeddings.position_embeddings.weight,encoder.layer.1]'; }
expect "overflows beside sharded updates, staged" 0 odd staged staged
skipped=$(grep -c '"grad_norm":null' odd-staged/metrics.jsonl)
if [ "$skipped" -ge 2 ] && [ "$skipped" -le 5 ]; then ok "some steps of ten overflow"; else bad "some steps of ten overflow ($skipped)"; fi
for order in late newest_first; do
  LODESTONE_DOUBLE_EXECUTION=$order expect "overflows beside sharded updates, NCCL, streams $order" 0 odd $order nccl
  same "the same weights, bit for bit" odd-{staged,$order}/model/model.safetensors
done

# What a step of these two ranks asks of the GPU, exactly: comm/README.md has the same numbers. The host asks for nothing but whether what a
# step found is there, so how often it asks is no number of its own; that it asks for no sum is shown by cuda_mpi_tests.
counted() {  # counted STEPS ZERO
  LD_LIBRARY_PATH=$emulated timeout 300 "$support/mpirun.sh" 2 bash -c 'LODESTONE_DOUBLE_COUNTS=$0-$OMPI_COMM_WORLD_RANK exec "$@"' "counts-$1-$2" \
    "$lodestone" train run.yaml data.heldout= train.global_batch=4 device=cuda comm=nccl model.config=wide.json train.precision=bf16 \
    train.chunk_tokens=2048 train.save_steps=100 train.replica_check_every=0 "train.output_dir=counted-$1-$2" "train.steps=$1" "optim.zero=$2"
}
for zero in false true; do for steps in 2 4; do expect "$steps steps, counted, optim.zero=$zero" 0 counted $steps $zero; done; done
if python3 - <<'PY'
import json
same = {"products": 51, "fills": 41, "device_copies": 0, "uploads": 6, "downloads": 1, "downloaded_bytes": 16, "host_waits": 0}
summed = {**same, "kernels": 99, "verbs": 7, "verb_bytes": 5224320, "event_records": 24, "stream_waits": 12}
sharded = {**same, "kernels": 100, "verbs": 9, "verb_bytes": 7834560, "event_records": 28, "stream_waits": 16}
for zero, expected in {"false": summed, "true": sharded}.items():
    for rank in (0, 1):
        two, four = (json.load(open(f"counts-{steps}-{zero}-{rank}")) for steps in (2, 4))
        got = {name: (four[name] - two[name]) / 2 for name in expected}
        assert got == expected, (zero, rank, got)
PY
then ok "a step's launches, verbs, events and waits"; else bad "a step's launches, verbs, events and waits"; fi

LODESTONE_DOUBLE_GPUS=1 refuses "two ranks on one GPU" 2 "ranks 0 and 1 share GPU 0000:01:00.0 of" train 2 none comm=nccl
LODESTONE_DOUBLE_GPUS=1 expect "two ranks on one GPU, comm auto" 0 train 2 shared train.steps=1
if grep -q 'transport     staged through the host (ranks 0 and 1 share GPU' out.log; then ok "are staged, and why"; else bad "are staged, and why" out.log; fi
two_versions() {
  LD_LIBRARY_PATH=$emulated timeout 300 "$support/mpirun.sh" 1 -x LODESTONE_DOUBLE_NCCL_VERSION=22809 "$lodestone" "$@" : -np 1 -x LODESTONE_DOUBLE_NCCL_VERSION=22703 "$lodestone" "$@"
}
refuses "two versions" 2 "rank 0 has NCCL 2.28.9, rank 1 has 2.27.3" two_versions train run.yaml device=cuda comm=nccl train.output_dir=none
mkdir without && cp "$emulated"/liblodestone_{cuda,doubles}.so without/
without() { LD_LIBRARY_PATH=$dir/without "$support/mpirun.sh" 2 "$lodestone" train run.yaml data.heldout= train.global_batch=8 device=cuda "$@"; }
refuses "without the library" 2 "built without NCCL" without comm=nccl train.output_dir=none
expect "without the library, comm auto" 0 without train.steps=1 train.output_dir=auto
if grep -q 'transport     staged through the host (this program was built without NCCL' out.log; then ok "is staged, and why"; else bad "is staged, and why" out.log; fi

# A broken link: NCCL says so between the steps, at rank 1 as its own failure, at the others as somebody's. The launcher gets code 7.
broken() { LODESTONE_DOUBLE_NCCL_FAILURE=1:20 train 2 broken comm=nccl; }
expect "a broken link" 7 broken
says "a broken link: what it says" "error: nccl "
if grep -Eq 'error: nccl .*(unhandled system error|remote process exited)' err.log; then ok "a broken link: in NCCL's words"; else bad "a broken link: in NCCL's words" err.log; fi
if [ -d broken/checkpoint-5 ]; then ok "a broken link: what was saved is there"; else bad "a broken link: what was saved is there" out.log; fi
expect "and resumed" 0 train 2 broken comm=nccl
same "a broken link costs nothing" nccl-2/model/model.safetensors broken/model/model.safetensors

# Where the GPU itself fails, that is what is said, though NCCL would be the next to fail.
for fault in cudaStreamQuery:60:700 cudaEventRecord:100:700 cudaLaunchKernelExC:100:719; do
  LODESTONE_DOUBLE_FAIL=$fault expect "a GPU that fails at ${fault%%:*}" 9 train 2 "failed-$fault" comm=nccl
  says "a GPU that fails at ${fault%%:*}: its own error" "error: F47 "
  if grep -q "error: nccl" err.log; then bad "a GPU that fails at ${fault%%:*}: not the network's" err.log; else ok "a GPU that fails at ${fault%%:*}: not the network's"; fi
done

background train 2 "$dir/killed" comm=nccl train.steps=1000 train.save_steps=1000
if wait_until 60 grep -q '^step 2/' out.log; then ok "two steps by NCCL"; else bad "two steps by NCCL" out.log err.log; fi
pkill -KILL -n -f "train run.yaml .*train.output_dir=$dir/killed"
await $pid
if [ "$code" -eq 137 ]; then ok "a killed rank ends the job"; else bad "a killed rank ends the job (exit code $code)" err.log; fi
says "a killed rank is named" "F01"

all_passed
