#!/usr/bin/env bash
# The whole job on a tiny model: pack, check, train, stop, resume, evaluate, export, and the errors a user meets.
#   train_test.sh BINARY SOURCE_DIR
set -uo pipefail
lodestone=$1
. "$2/tests/support/tiny_run.sh"

expect "pack" 0 mpi 2 "$lodestone" pack --tokenizer vocab --output corpus train.jsonl
expect "pack held-out" 0 "$lodestone" pack --tokenizer vocab --output heldout heldout.jsonl
expect "check" 0 "$lodestone" check run.yaml --steps 3
if [ "$(grep -c '"step":' out.log)" -ge 3 ]; then ok "check prints the plan"; else bad "check prints the plan" out.log; fi

# ---- train; resume gives the same bits -------------------------------------------------------------------------------
expect "train on 2 ranks" 0 mpi 2 "$lodestone" train run.yaml train.output_dir=whole
expect "a finished run is refused" 2 mpi 2 "$lodestone" train run.yaml train.output_dir=whole
expect "train alone" 0 "$lodestone" train run.yaml train.output_dir=alone
# The same run, killed after its checkpoint at step 5 and started again.
mkdir -p cut && cp -r whole/checkpoint-5 whole/config.yaml cut/ && grep -E '"step":[0-5],' whole/metrics.jsonl > cut/metrics.jsonl
expect "resume on 2 ranks" 0 mpi 2 "$lodestone" train run.yaml train.output_dir=cut
same "5 + resume + 5 steps give the same weights as 10" whole/model/model.safetensors cut/model/model.safetensors
mkdir -p other && cp -r whole/checkpoint-5 whole/config.yaml other/
expect "resume on 3 ranks" 0 mpi 3 "$lodestone" train run.yaml train.output_dir=other
mkdir -p changed && cp -r whole/checkpoint-5 whole/config.yaml changed/
expect "a checkpoint of another configuration is refused" 4 "$lodestone" train run.yaml train.output_dir=changed optim.learning_rate=2e-3
says "the difference is named" "optim.learning_rate"

# ---- signals -----------------------------------------------------------------------------------------------------------
background "$support/mpirun.sh" 2 "$lodestone" train run.yaml train.output_dir=stopped train.steps=100000 train.save_steps=0 train.eval_steps=0
for _ in $(seq 100); do [ -s stopped/metrics.jsonl ] && break; sleep 0.2; done
pkill -USR1 -n -f "$lodestone train run.yaml train.output_dir=stopped" || true
wait "$pid"
code=$?
if [ $code -eq 75 ]; then ok "SIGUSR1 to one rank: all save and exit with 75"; else bad "SIGUSR1 to one rank (exit code $code)" out.log err.log; fi
if ls stopped/checkpoint-* > /dev/null 2>&1; then ok "its checkpoint is there"; else bad "its checkpoint is there" err.log; fi
if grep -q '"stopped"' stopped/status.json; then ok "status.json says stopped"; else bad "status.json says stopped" stopped/status.json; fi

# ---- the model afterwards ----------------------------------------------------------------------------------------------
expect "export a checkpoint" 0 "$lodestone" export whole/checkpoint-5 --output exported
printf 'one text\nanother text\n' > texts.txt
expect "encode" 0 "$lodestone" encode whole/model --input texts.txt --output out.npy
[ -s out.npy ] && ok "encode wrote embeddings" || bad "encode wrote embeddings" err.log
expect "encode to HDF5" 0 "$lodestone" encode whole/model --input texts.txt --output out.h5
[ -s out.h5 ] && ok "encode wrote an HDF5 file" || bad "encode wrote an HDF5 file" err.log
expect "encode to another form" 2 "$lodestone" encode whole/model --input texts.txt --output out.csv

# ---- errors ------------------------------------------------------------------------------------------------------------
expect "unknown key" 2 "$lodestone" train run.yaml train.stepz=3
says "the nearest key is named" "did you mean train.steps?"
expect "unknown command" 2 "$lodestone" trian run.yaml
says "the nearest command is named" "did you mean train?"
expect "no configuration" 2 "$lodestone" train
expect "more ranks than rows" 2 mpi 3 "$lodestone" train run.yaml train.output_dir=few train.global_batch=2
says "allowed ranks are named" "start 1 to 2 ranks"
expect "missing corpus" 3 "$lodestone" train run.yaml train.output_dir=nocorpus data.train=nowhere
printf '{"query": "a", "pos": ["b"]}\n{"query": "a", "pos": ["b"}\n' > broken.jsonl
expect "broken JSONL" 3 mpi 2 "$lodestone" pack --tokenizer vocab --output broken broken.jsonl
says "file and row are named" "broken.jsonl"
if [ -e broken ]; then bad "nothing half-written is left"; else ok "nothing half-written is left"; fi
touch file
expect "run folder is a file" 5 "$lodestone" train run.yaml train.output_dir=file
expect "copies that srun started without PMIx" 2 env SLURM_STEP_NUM_TASKS=2 SLURM_PROCID=0 "$lodestone" train run.yaml train.output_dir=copies
says "the remedy is named" "srun --mpi=pmix"
expect "the second of them" 2 env SLURM_STEP_NUM_TASKS=2 SLURM_PROCID=1 "$lodestone" train run.yaml train.output_dir=copies
if [ -s err.log ] || [ -e copies ]; then bad "keeps quiet" err.log; else ok "keeps quiet"; fi
expect "version" 0 "$lodestone" --version
expect "help" 0 "$lodestone" --help
expect "train help" 0 "$lodestone" train --help

all_passed
