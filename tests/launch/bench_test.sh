#!/usr/bin/env bash
# lodestone bench: what it counts is what it should be - tokens, allocations, page faults, memory. Times are not judged.
#   bench_test.sh BINARY SOURCE_DIR
set -uo pipefail
lodestone=$1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
passed=0
failed=0

judge() {  # judge NAME COMMAND...: passes when the command succeeds
  if "${@:2}"; then
    passed=$((passed + 1))
    echo "ok    $1"
  else
    failed=$((failed + 1))
    echo "FAIL  $1"
    cat out.json
  fi
}
check() {  # check NAME CONDITION: a Python expression of the figures `b`
  judge "$1" python3 -c "import json; b = json.load(open('out.json')); exit(not ($2))"
}

"$lodestone" bench --precision f32 --threads 1 --lengths short --pairs 16 --steps 1 > out.json
check "a warm step allocates nothing and touches no new page" "b['allocations_per_step'] == 0 and b['page_faults_per_step'] < 50"
check "a step's tokens are those of its texts, and its pairs are counted" \
  "b['tokens'] == sum(int(n) * int(t) for w in ('queries', 'passages') for t, n in (p.split(':') for p in b['lengths_of_' + w].split())) and abs(b['pairs_per_s'] * b['step_s'] / 16 - 1) < 1e-9"
cp out.json alone.json
"$lodestone" bench --precision f32 --threads 1 --lengths short --pairs 16 --steps 1 --keep-mb 0 --chunk-tokens 64 --ceiling-edge 64 > out.json
check "a second forward is no work that counts" "abs(b['gflops'] * b['step_s'] / (json.load(open('alone.json'))['gflops'] * json.load(open('alone.json'))['step_s']) - 1) < 1e-9"
check "a step's share is that of two large products, or they differ by more than 5 %" \
  "(lambda p, s: abs(s * (p['before_tflops'] + p['after_tflops']) * 500 / b['gflops'] - 1) < 1e-9 if p['apart'] <= 0.05 else 'more than 5 %' in s)(b['large_product'], b['share_of_large_product'])"
check "what cannot be measured on a CPU says so" "b['device_idle_share'] == 'not measured: a CPU works while it is asked'"

"$2/tests/support/mpirun.sh" 3 "$lodestone" bench --precision f32 --threads 1 --lengths short --pairs 16 --steps 1 > out.json
check "ranks share the tokens of the batch" "b['ranks'] == 3 and b['tokens'] == json.load(open('alone.json'))['tokens']"
check "a warm step of several ranks allocates nothing" "b['allocations_per_step'] == 0"

"$lodestone" bench --precision f32 --threads 2 --lengths 1 --chunk-tokens 32 --pairs 64 --steps 1 --memory 2048 > out.json
check "step memory beyond the counted vectors is flat from 64 to 2,048 pairs" "0.95 < b['ratio'] < 1.05"
check "the time for a pair is that of its parts, at both sizes" \
  "all(abs(sum(t[p] for p in ('encoder', 'loss', 'update')) / t['whole'] - 1) < 0.2 for s in b['batches'] for t in (s['s_per_pair'], s['processor_s_per_pair']))"
check "the ratio of times is that of the figures printed" \
  "abs(b['time_per_pair_ratio']['whole'] - b['batches'][1]['s_per_pair']['whole'] / b['batches'][0]['s_per_pair']['whole']) < 1e-9"

losses=$("$lodestone" bench --help | sed -n 's/^ *\([a-z0-9_]*\): [0-9].*/\1/p')
for loss in $losses; do
  "$lodestone" bench --precision f32 --threads 2 --lengths short --chunk-tokens 64 --pairs 32 --steps 1 --memory 96 --loss $loss > out.json
  check "step memory is flat from 32 to 96 pairs: $loss" "b['loss'] == '$loss' and 0.95 < b['ratio'] < 1.05"
done

"$2/tests/support/mpirun.sh" 2 "$lodestone" bench --precision f32 --threads 1 --lengths 6 --pairs 8 --steps 1 --losses 64 > out.json
check "every loss is timed on two ranks, and its share is of the two times" \
  "[r['loss'] for r in b['losses']] == '$(echo $losses)'.split() and all(r['loss_s'] > 0 and abs(r['share'] - r['loss_s'] / (r['loss_s'] + r['encoder_s'])) < 1e-9 for r in b['losses'])"
"$lodestone" bench --precision f32 --threads 1 --lengths 6 --pairs 8 --steps 1 --losses 64 --loss gte > out.json
check "one loss is timed when one is named" "[r['loss'] for r in b['losses']] == ['gte'] and b['lengths'] == '6'"

"$lodestone" bench --threads 1 --ceilings 64 > out.json
check "ceilings are products in two precisions and copies in three directions" \
  "b['edge'] == 64 and [p['precision'] for p in b['products']] == ['bf16', 'f32'] and all(abs(p['tflops'] * p['product_s'] * 1e12 / (2 * 64 ** 3) - 1) < 1e-9 for p in b['products']) and [c['bytes'] for c in b['copies']] == [32768, 16384, 16384]"

# A step on a GPU that nobody has here: predicted, and marked so.
"$lodestone" bench --model-gpu h200 --pairs 64 --json > out.json
check "a predicted step is marked so, and its parts make it up" \
  "b['label'] == 'PREDICTED' and len(b['steps']) == 1 and all(s['label'] == 'PREDICTED' and s['tokens'] == 64 * 2 * 128 and abs(sum(k['predicted_s'] for k in s['kinds'].values()) / s['predicted_step_s'] - 1) < 1e-9 for s in b['steps'])"
"$lodestone" bench --model-gpu h100 --json --ranks 8 "$2/configs/conan-finetune.yaml" train.chunk_tokens=2048 > out.json
check "a configuration's tasks are predicted on the ranks that train them, without data and weights" \
  "[(s['ranks'], s['rows'], s['chunk_tokens']) for s in b['steps']] == [(4, 12, 2048), (4, 96, 2048)]"
for config in bge-retromae bge-reranker gte-pretrain llm-embedder; do
  "$lodestone" bench --model-gpu a100 --json "$2/configs/$config.yaml" > out.json
  check "every objective can be predicted: $config" "all(0 < s['predicted_share_of_ceiling'] < 1 and s['predicted_to_fit'] for s in b['steps'])"
done
"$lodestone" bench --model-gpu a100 --pairs 64 > out.json
judge "every line of a step's table says that it is predicted, or stands below one that does" \
  test "$(head -7 out.json | grep -ci predicted)" = 7 -a "$(grep -c 'predicted ms' out.json)" = 1

operations() {  # operations NAME OPTION...: the figures of attention, the optimizer and the loss fit each other
  "$lodestone" bench --operations 40 --pairs 96 --steps 2 --threads 1 --ceiling-edge 32 "${@:2}" > out.json 2> err.log
  check "$1: attention at each length that fits, whole texts only, 4 T D forward and 2.5 times that backward" \
    "[(a['head_size'], a['tokens_per_text'], a['texts']) for a in b['attention']] == [(d, t, 40 // t) for d in (32, 64) for t in (16, 32)] and all(abs(w[way + '_tflops'] * w[way + '_s'] * 1e12 / (k * 4 * a['tokens_per_text'] ** 2 * a['texts'] * a['head_size'] * a['heads']) - 1) < 1e-9 for a in b['attention'] for n, w in a.items() if isinstance(w, dict) for way, k in (('forward', 1), ('backward', 2.5)))"
  check "$1: the optimizer moves 28 bytes a parameter and 6 for the rounded copy, beside a copy" \
    "b['optimizer']['bytes'] == 34 * b['optimizer']['parameters'] and abs(b['optimizer']['share_of_copy'] * b['optimizer']['copy_gb_per_s'] / b['optimizer']['gb_per_s'] - 1) < 1e-9"
  check "$1: a tile of scores is all rows of so few, in three products" \
    "[(t['rows'], t['columns']) for t in b['loss_tiles']] == [(96, 96)] and abs(b['loss_tiles'][0]['products_tflops'] * b['loss_tiles'][0]['products_s'] * 1e12 / (6 * 96 * 96 * 384) - 1) < 1e-9"
}
operations "operations on the CPU"
check "operations on the CPU: cuDNN is not measured there" "all(a['cudnn'] == 'not measured: cuDNN computes on GPUs' for a in b['attention'])"
emulated=$(dirname "$lodestone")/emulated
if [ -e "$emulated/liblodestone_cudnn.so" ]; then
  LD_LIBRARY_PATH=$emulated operations "operations on an emulated GPU" --device cuda
  check "operations on an emulated GPU: cuDNN beside own kernels" "all(a['own_speed_over_cudnn'] > 0 and a['cudnn']['tflops'] > 0 for a in b['attention'])"
  for refuses in texts backward; do
    LODESTONE_DOUBLE_CUDNN_REFUSES=$refuses LD_LIBRARY_PATH=$emulated "$lodestone" bench --operations 16 --pairs 64 --steps 1 --ceiling-edge 32 --device cuda > out.json 2> err.log
    check "what cuDNN refuses is not measured, with the reason: $refuses" "all('this double was told to refuse it' in a['cudnn'] or 'leaves backward to own kernels' in a['cudnn'] for a in b['attention']) and 'own' in b['attention'][0]"
  done
else
  echo "skipped: operations on an emulated GPU: it was not built"
fi

refused() {  # refused NAME PATTERN OPTION...: exit status 2, and a message that matches
  "$lodestone" bench "${@:3}" > out.json 2>&1
  local code=$?
  judge "$1" test "$code" = 2 -a -n "$(grep -e "$2" out.json)"
}
refused "an unknown loss, naming those there are" "stabilised_distillation" --loss nonesuch
refused "a length that is none" "lengths 'long' is not known" --lengths long
refused "a text longer than the model takes" "lengths '513'" --lengths 513
refused "a device that this build lacks" "built without CUDA" --device cuda
refused "a device that there is not" "not one of auto, cpu, cuda" --device tpu
refused "two questions at once" "takes one of" --memory 64 --losses 64
refused "a GPU of which nothing is known, naming the others" "one of h200, h100, a100" --model-gpu b200
refused "options of a step beside a configuration" "pairs is not for a configuration" --model-gpu h200 --pairs 4 "$2/configs/gte-pretrain.yaml"
refused "a device beside a GPU that is predicted" "unknown option --device" --model-gpu h200 --device cuda
refused "operations of fewer tokens than a text has" "operations" --operations 8
refused "a dropout that is none of two" "dropout '0.2' is not known" --dropout 0.2

echo "$passed passed, $failed failed"
exit $((failed > 0))
