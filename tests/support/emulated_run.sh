# Sourced by the shell tests of a GPU that is emulated (tests/cuda): what tiny_run.sh gives, `emulated`, where the libraries lie that were built
# for the host, and the corpus packed. Skips the test where $library, cuda or nccl, is not among them.
. "$2/tests/support/tiny_run.sh"
emulated=$(dirname "$lodestone")/emulated
if [ ! -e "$emulated/liblodestone_$library.so" ]; then
  echo "skipped: there is no emulated liblodestone_$library.so: CUDA's headers, cuBLASLt or NCCL were not there, by which it is built for the host"
  exit 77
fi
expect "pack" 0 "$lodestone" pack --tokenizer vocab --output corpus train.jsonl
