#!/usr/bin/env bash
# What a run folder is protected from: a configuration that lost something, weights that are not finite, other people's files.
#   run_folder_test.sh BINARY SOURCE_DIR
set -uo pipefail
lodestone=$1
. "$2/tests/support/tiny_run.sh"

sed -i 's/heldout: heldout, //; s/, eval_steps: 5//' run.yaml
train=("$lodestone" train run.yaml)
python3 - <<'PY'
import json
rows = [json.loads(line) for line in open("train.jsonl")]
for i, row in enumerate(rows):
    row |= {"neg": [rows[i - 1]["pos"][0]], "teacher_scores": [1.0, 0.5]}
open("taught.jsonl", "w").write("".join(json.dumps(row) + "\n" for row in rows))
PY
expect "pack" 0 "$lodestone" pack --tokenizer vocab --output corpus taught.jsonl

# ---- a checkpoint, and a configuration from which something was removed --------------------------------------------------
unfinished() {  # unfinished NAME OVERRIDE...: a run folder with a checkpoint of step 5
  expect "train $1" 0 "${train[@]}" train.output_dir="$@"
  rm -rf "$1/model" "$1/checkpoint-10"
}
lost() {  # lost NAME KEY OVERRIDE...: neither train nor check goes on with these overrides, and both name a key that begins so
  local name=$1 key=$2
  shift 2
  for command in check train; do
    expect "$command without $name" 4 "$lodestone" $command run.yaml "$@"
    says "$command names $key" "F26 $key"
    says "and says what was removed" " is not given, the checkpoint was trained with "
    if [ "$(grep -c . err.log)" -eq 1 ]; then ok "in one line"; else bad "in one line" err.log; fi
  done
}
unfinished whole data.teacher_scores_min=0.1 data.rules.few.match=a data.rules.few.repeat=2 loss.name=sum loss.terms.x.name=info_nce loss.terms.y.name=kl_divergence data.train_group_size=2
rule=(data.rules.few.match=a data.rules.few.repeat=2)
terms=(loss.name=sum loss.terms.x.name=info_nce loss.terms.y.name=kl_divergence)
rest=(train.output_dir=whole data.train_group_size=2)
lost "the filter" data.teacher_scores_min "${rest[@]}" "${rule[@]}" "${terms[@]}"
lost "a rule" data.rules.few. "${rest[@]}" data.teacher_scores_min=0.1 "${terms[@]}"
lost "a term" loss.terms.y. "${rest[@]}" "${rule[@]}" data.teacher_scores_min=0.1 loss.name=sum loss.terms.x.name=info_nce
expect "with all of them it goes on" 0 "${train[@]}" "${rest[@]}" "${rule[@]}" "${terms[@]}" data.teacher_scores_min=0.1
unfinished limits
expect "limits of memory and time may change" 0 "${train[@]}" train.output_dir=limits train.step_memory_mb=2000 train.timeout_s=300
if grep -q 'resuming from .*checkpoint-5$' out.log; then ok "it went on"; else bad "it went on" out.log; fi
unfinished rate
refuses "the learning rate may not" 4 "F26 optim.learning_rate is 0.002, the checkpoint was trained with 0.001" "${train[@]}" train.output_dir=rate optim.learning_rate=2e-3
if grep -q '"failed"' rate/status.json && grep -q '"exit_code": 4' rate/status.json && grep -q 'F26 optim.learning_rate' rate/status.json; then ok "status.json says so"; else bad "status.json says so" rate/status.json; fi
tasks=(tasks.one.global_batch=8 tasks.two.global_batch=8)
unfinished tasks "${tasks[@]}"
lost "a task" tasks.two. train.output_dir=tasks tasks.one.global_batch=8

# ---- a model whose files were edited ---------------------------------------------------------------------------------------
unfinished edited
cp -r edited begun && rm -rf begun/checkpoint-5
cp config.json before.json
sed -i 's/"hidden_dropout_prob": 0.1/"hidden_dropout_prob": 0.4/; s/"layer_norm_eps": 1e-12/"layer_norm_eps": 1e-3/' config.json
for command in check train; do
  refuses "$command with an edited config.json" 4 "F26 the model's hidden_dropout_prob is 0.4, the checkpoint was trained with 0.1" "$lodestone" $command run.yaml train.output_dir=edited
done
expect "a run without a checkpoint begins with the edited one" 0 "${train[@]}" train.output_dir=begun train.steps=1
if grep -q '"layer_norm_eps": 0.001' begun/model/config.json; then ok "and exports what it trained with"; else bad "and exports what it trained with" begun/model/config.json; fi
mv before.json config.json
expect "with the file restored it goes on" 0 "${train[@]}" train.output_dir=edited

# ---- weights that are not finite -------------------------------------------------------------------------------------------
sed 's/"initializer_range": 0.05/"initializer_range": 1e39/' config.json > diverged.json   # random weights beyond f32
sed 's/"initializer_range": 0.05/"initializer_range": 5e37/' config.json > large.json
for steps in 5 0; do   # with a checkpoint on the way, and with the last one only
  expect "a diverged run ends with code 6" 6 "${train[@]}" train.output_dir=diverged$steps train.steps=6 train.save_steps=$steps model.config=diverged.json
  says "and says so" "F44 the run has diverged"
  says "and what to do" "lower optim.learning_rate"
  if [ -e diverged$steps/model ]; then bad "no model is left"; else ok "no model is left"; fi
  if ls -d diverged$steps/checkpoint-* > /dev/null 2>&1; then bad "no such weights are saved"; else ok "no such weights are saved"; fi
  if grep -q '"failed"' diverged$steps/status.json; then ok "status.json says failed"; else bad "status.json says failed" diverged$steps/status.json; fi
  expect "it is not finished: it diverges again" 6 mpi 2 "${train[@]}" train.output_dir=diverged$steps train.steps=6 train.save_steps=$steps model.config=diverged.json
done
expect "finite weights that give none" 6 "${train[@]}" train.output_dir=large train.steps=2 train.save_steps=0 model.config=large.json
says "say so too" "F44 the run has diverged"
if [ -e large/model ]; then bad "no model is left"; else ok "no model is left"; fi

# ---- folders that are no run folders ---------------------------------------------------------------------------------------
mkdir own
sed 's#corpus#../corpus#; s#config.json#../config.json#; s#vocab: vocab#vocab: ../vocab#; s#output_dir: run#output_dir: .#' run.yaml > own/config.yaml
cp own/config.yaml own.yaml
for command in check train; do
  expect "$command: the configuration's own folder is refused" 2 "$lodestone" $command own/config.yaml
  says "$command says what lies there" "no run folder: it holds config.yaml"
  says "$command says what to do" "choose another train.output_dir, for example"
done
same "the configuration is untouched" own.yaml own/config.yaml
ls vocab > before.txt
expect "a tokenizer's folder is refused" 2 mpi 2 "${train[@]}" train.output_dir=vocab
ls vocab > after.txt
same "nothing was written there" before.txt after.txt
mkdir started logs
touch started/lock started/config.yaml logs/lodestone-7.log logs/slurm-7.out
expect "a start that was killed goes on" 0 "${train[@]}" train.output_dir=started
expect "a folder of the launcher's logs is taken" 0 "${train[@]}" train.output_dir=logs

all_passed
