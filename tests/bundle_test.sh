#!/usr/bin/env bash
# A bundle of launch/bundle.sh in a root of its own that has bash, coreutils and python3 but no library of this machine's, and
# gpu_check.sh on an emulated GPU.   bundle_test.sh BINARY SOURCE_DIR
set -uo pipefail
lodestone=$1
build=$(dirname "$1")
. "$2/tests/support/tiny_run.sh"
if [ ! -e "$build/emulated/liblodestone_cuda.so" ]; then echo "skipped: no CUDA headers or no cuBLASLt, by which the backend is built for the host"; exit 77; fi

expect "a bundle is made" 0 "$2/launch/bundle.sh" --emulated "$build" bundle.tar.gz
if grep -q ' libraries, C library ' out.log; then ok "it says how large it is"; else bad "it says how large it is" out.log err.log; fi
refuses "an option that is none" 2 "'--nonesuch' is no option" "$2/launch/bundle.sh" --nonesuch
tar -xzf bundle.tar.gz

[ -e /usr/local/cuda ] || [ ! -d "$2/.cache/cuda/lib" ] || export CUDA_HOME=${CUDA_HOME:-$2/.cache/cuda}   # as launch/setup_cuda.sh left it

# ---- the GPU check, on the emulated GPU, from the bundle --------------------------------------------------------------------------------
check=lodestone/launch/gpu_check.sh
judge() {  # judge NAME CONDITION: a Python expression of the report `r` and its items by their names `i`
  if python3 -c "
import json
r = json.load(open('report.json'))
i = {item['name']: item for item in r['items']}
exit(not ($2))"; then ok "$1"; else bad "$1" report.json out.log; fi
}
expect "what is wrong in the arguments is refused" 2 $check nonesuch
no_failure() { "$@"; case $? in 0 | 3) ;; *) return 1 ;; esac }   # cuDNN, NCCL and nvidia-smi may be missing
expect "properties: nothing fails" 0 no_failure $check properties --report report.json
judge "they name the GPU and the versions" "i['GPU 0']['what'].startswith('emulated GPU, sm_90') and i['cuBLASLt']['what'][:3] == '13.' and r['devices']['mpi'].startswith('Open MPI')"
expect "check: nothing fails, and what --quick leaves out was not run" 3 $check check --quick --report report.json
[ -e "$build/emulated/liblodestone_nccl.so" ] && no_nccl= || no_nccl="'one rank by NCCL, as without',"
judge "nothing else was left out" "{n for n in i if i[n]['state'] != 'passed'} == {'operations and encoder in other precisions, and the other losses', 'a rank on each GPU, by NCCL', $no_nccl *('compute-sanitizer ' + t for t in ('memcheck', 'racecheck', 'synccheck'))}"
judge "each operation is an entry" "len(i['operations against the reference']['tests']) > 15 and not r['passed']"
expect "bench: nothing fails, and PyTorch was not run" 3 $check bench --quick --report report.json
judge "nothing else was left out, with the reason" "[n for n in i if i[n]['state'] != 'passed'] == ['beside PyTorch', 'CUDA graphs'] and all(i[n]['what'] for n in ('beside PyTorch', 'CUDA graphs'))"
judge "steps in both precisions beside the same run's largest products" "[n for n in i if n.startswith('step of minilm')] == ['step of minilm, short, 2 pairs, ' + p for p in ('bf16', 'f32')] and all(i[n]['large_product']['edge'] == 32 and i[n]['share_of_large_product'] and i[n]['device_idle_share'] for n in i if n.startswith('step')) and len(i['ceilings']['products']) == 2"
judge "attention by own kernels and by cuDNN, the optimizer, a tile of the loss" "all(i[f'attention, 1 texts of 16 tokens, heads of {d}']['cudnn']['tflops'] > 0 for d in (32, 64)) and i['optimizer']['share_of_copy'] > 0 and 'loss, a tile of 64 x 64 scores' in i"

# ---- an empty root ----------------------------------------------------------------------------------------------------------------------
if [ "$(id -u)" -ne 0 ]; then echo "skipped: an empty root is for root alone"; all_passed; exit; fi
base=$dir/root
read -r python modules < <(python3 -c 'import os, sys; print(os.path.realpath(sys.executable), os.path.dirname(os.__file__))')
mkdir -p "$base"/{tmp,proc,dev/shm,usr/bin,home} "$base/$modules" "$base/$(dirname "$python")"
ln -s usr/bin "$base/bin"
files=("$python" "$modules"/lib-dynload/_ctypes.*.so)
for program in bash cat cp cut dirname env id ls mkdir rm sed sh; do
  cp -L "$(type -P $program)" "$base/usr/bin/"
  files+=("$(type -P $program)")
done
cp "$python" "$base/$python"
[ -e "$base/usr/bin/python3" ] || ln -s "$python" "$base/usr/bin/python3"
ldd "${files[@]}" 2> /dev/null | awk '$2 == "=>" && $3 ~ /^\// { print $3 } $1 ~ /^\/.*ld-linux/ && $2 ~ /^\(/ { print $1 }' | sort -u | xargs cp -Lt "$base" --parents
libc=$(ldd "$python" | awk '$1 == "libc.so.6" { print $3 }')
cp -Lt "$base" --parents "$(dirname "$libc")"/lib{c,m,pthread,dl,rt,resolv,util}.so.[0-9]   # the C library, which every system has whole
cp -r lodestone run.yaml vocab config.json train.jsonl "$base/home/"
cat > "$base/home/inside.sh" <<'INSIDE'
cd /home
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
here=lodestone/launch
case $1 in
  version) $here/with_cuda.sh lodestone --version ;;
  train)
    $here/with_cuda.sh lodestone pack --tokenizer vocab --output corpus train.jsonl &&
      $here/with_cuda.sh mpirun --oversubscribe --bind-to none --mca btl self,vader -np 2 lodestone train run.yaml data.heldout= train.timeout_s=120 ;;
  *) $here/gpu_check.sh "$@" --report /home/report.json ;;
esac
INSIDE
inside() {  # inside ARGUMENTS...: inside.sh in that root, with what only a kernel or a Python brings, for as long as it runs
  unshare -m -p -f sh -c 'modules=$1 && shift && mount --bind "$modules" "$0/$modules" && mount -t tmpfs shm "$0/dev/shm" && mount -t proc proc "$0/proc" &&
    for device in null zero urandom; do touch "$0/dev/$device" && mount --bind /dev/$device "$0/dev/$device" || exit; done &&
    exec chroot "$0" /usr/bin/env -i PATH=/usr/bin HOME=/home bash /home/inside.sh "$@"' "$base" "$modules" "$@"
}
if ! unshare -m true 2> /dev/null; then echo "skipped: no mount namespaces here"; all_passed; exit; fi
expect "the program starts" 0 inside version
if grep -q 'Open MPI' out.log; then ok "with its own MPI"; else bad "with its own MPI" out.log err.log; fi
expect "two ranks train on the CPU" 0 inside train
if [ -e "$base/home/run/model/model.safetensors" ]; then ok "and write the model"; else bad "and write the model" out.log err.log; fi
for mode in properties check; do
  expect "$mode without a GPU has a code of its own" 77 inside $mode
  if grep -qE '^not run  a GPU: .*(libcublasLt|libcudart|no NVIDIA driver)' out.log; then ok "$mode says in one line why"; else bad "$mode says in one line why" out.log err.log; fi
done

all_passed
