#!/usr/bin/env bash
# The tables of docs/step_model.md: steps of `bench` and of every shipped recipe on a GPU that nobody has here, predicted, as Markdown.
#   model_table.sh BINARY SOURCE_DIR [GPU]
set -euo pipefail
lodestone=$1 configs=$2/configs gpu=${3:-h200}
steps=$(mktemp -d)
trap 'rm -rf "$steps"' EXIT

predict() {  # predict NAME ARGUMENTS...
  "$lodestone" bench --model-gpu "$gpu" --json "${@:2}" > "$steps/$(printf '%02d' "$count") $1.json"
  count=$((count + 1))
}
count=0
for shape in "minilm dense 512" "minilm real 512" "bert-base dense 256" "bert-base real 512" "bert-large dense 128" "minilm real 65536 info_nce" "minilm real 65536 info_nce_bf16"; do
  read -r model lengths pairs loss <<< "$shape"
  predict "$model, $lengths, $pairs pairs${loss:+, $loss}" --model "$model" --lengths "$lengths" --pairs "$pairs" --loss "${loss:-info_nce}" --chunk-tokens 16384 --keep-mb 32768
done
for recipe in "$configs"/{conan,bge,gte,llm}-*.yaml; do
  name=$(basename "$recipe" .yaml)
  case $name in *-small) continue ;; esac
  predict "$name" "$recipe"
done

python3 - "$steps" <<'PY'
import json, os, sys

print("| PREDICTED step | ranks | chunks | ms | tokens/s | pairs or rows/s | share of ceiling | waits for the loss's exchanges | bound by |")
print("|---|---|---|---|---|---|---|---|---|")
for file in sorted(os.listdir(sys.argv[1])):
    name = " ".join(f"{int(word):,}" if word.isdigit() else word for word in file[3:-5].split())
    found = json.load(open(os.path.join(sys.argv[1], file)))["steps"]
    rows = {}  # tasks that differ in name only share a row
    for step in found:
        whole = step["all"]["predicted_s"]
        of_loss = step["kinds"].get("loss exchanges", {"predicted_s": 0})["predicted_s"] / whole
        bounds = sorted(((s / whole, b) for b, s in step["all"]["predicted_s_by_bound"].items()), reverse=True)
        row = (f"{step['ranks']} | {step['chunk_tokens']:,} | {step['predicted_step_s'] * 1e3:.4g} | {step['predicted_tokens_per_s']:,.0f} | {step['predicted_rows_per_s']:,.0f} | "
               f"{step['predicted_share_of_ceiling']:.2f} | {of_loss:.2%} | " + ", ".join(f"{b} {share:.0%}" for share, b in bounds if share >= 0.05))
        rows.setdefault(row, []).append(step["step"].split(",")[0])
    for row, tasks in rows.items():
        print(f"| {name}{': ' + ', '.join(tasks) if len(found) > 1 else ''} | {row} |")
PY

echo
echo "| PREDICTED steps with CUDA graphs, real lengths, 512 pairs: ms, without | chunks of 1,024 | 4,096 | 16,384 |"
echo "|---|---|---|---|"
for model in minilm bert-base bert-large; do
  row="| $model |"
  for tokens in 1024 4096 16384; do
    for graphs in true false; do
      "$lodestone" bench --model-gpu "$gpu" --json --model "$model" --lengths real --pairs 512 --chunk-tokens "$tokens" --keep-mb 65536 --cuda-graphs "$graphs" > "$steps/$graphs"
    done
    row+=" $(python3 -c 'import json, sys; print("{:.4g}, {:.4g}".format(*(json.load(open(f))["steps"][0]["predicted_step_s"] * 1e3 for f in sys.argv[1:])))' "$steps/true" "$steps/false") |"
  done
  echo "$row"
done
