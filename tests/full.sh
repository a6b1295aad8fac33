#!/usr/bin/env bash
# What does not fit into the test run: each part by its name, or all. Results with their dates stand in docs/measurements.md.
#   tests/full.sh [PART...]
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD

stops() {  # 600 stop signals at random moments
  cmake --preset release > /dev/null
  cmake --build --preset release --target lodestone
  tests/launch/stop_test.sh "$root/build/release/lodestone" "$root" 300
}
campaigns() {  # ten times the kills, thirty times the flipped bits and mutated inputs of the test run, of another seed
  cmake --preset test > /dev/null
  cmake --build --preset test --target lodestone campaign
  SEED=8 tests/launch/kill_test.sh "$root/build/release/lodestone" "$root" 300
  build/release/campaign flips --runs 300000 --seed 8
  build/release/campaign mutations --runs 3000000 --seed 8
}
sanitizers() {  # every unit and mpi test with address and undefined-behaviour sanitizers, but one that leaves no descriptor, of which they need some,
  # and losses and ranks on the emulated GPU, which takes long enough without: of it, core.cuda has operations and layers, and cuda_sanitizers in
  # the test run the rest
  cmake --preset dev > /dev/null
  cmake --build --preset dev
  ctest --preset dev -L 'unit|mpi' -E 'DescriptorsThatAreUsedUp|(losses|invariance)\.cuda|CudaAttention' -j "$(nproc)"
  ctest --preset dev -R '^(cuda|nccl)_test$'
}
odr() {  # the program linked whole: types of one name that differ between files are errors
  cmake --preset odr > /dev/null
  cmake --build --preset odr
}

format() {  # every file as .clang-format says (Debian's clang-format 14)
  git ls-files '*.h' '*.cpp' | xargs clang-format --dry-run -Werror
}
tidy() {  # clang-tidy over every file; nothing is compiled
  cmake --preset tidy > /dev/null
  run-clang-tidy -quiet -p build/tidy > build/tidy/findings.txt || { grep -E '(error|warning):' build/tidy/findings.txt | sort -u; return 1; }
}
prefixes() {  # a build without root: every library below a prefix of its own
  tests/prefixes.sh
}

cuda() {  # on the emulated GPU, what takes too long there for the test run: tests/cuda/CMakeLists.txt says what that has of these
  cmake --preset test > /dev/null
  cmake --build --preset test --target lodestone_cuda_emulated losses_tests invariance_mpi_tests
  (
    export LODESTONE_TEST_BACKEND=cuda LD_LIBRARY_PATH=$root/build/release/emulated LODESTONE_TEST_LIMIT_S=3600
    build/release/losses_tests --gtest_filter='ContrastiveLosses.Gradients*:ContrastiveLosses.Hold*:EmbeddingObjective.Learns*:FalseNegatives.GteAndCbb*:Gte.Tensor*:RerankerObjective.Gradient*:RerankerObjective.Learns*:RetroMaeObjective.B2_*:RetroMaeObjective.BothLosses*'
    for ranks in 1 2 3 4; do
      tests/support/mpirun.sh $ranks build/release/invariance_mpi_tests --gtest_filter='*Invariance.SinglePrecision*'
    done
  )
}
plans() {  # plans of cuDNN for every length and size of chunks that the recipes may have, on GPUs of three generations that are only described
  cmake --preset test > /dev/null
  cmake --build --preset test --target cudnn_plans
  LD_LIBRARY_PATH=$root/build/release/plans:${LD_LIBRARY_PATH:-} build/release/cudnn_plans --gtest_filter='Slow*'
}

parts=(format stops campaigns prefixes sanitizers odr tidy cuda plans)
for part in "${@:-${parts[@]}}"; do
  case " ${parts[*]} " in
    *" $part "*) echo "== $part"; "$part" ;;
    *) echo "error: '$part' is no part; do: choose of ${parts[*]}" >&2; exit 2 ;;
  esac
done
