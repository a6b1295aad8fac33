#!/usr/bin/env bash
# How the program is configured, installed and started: a plain build needs no GoogleTest and takes warnings for warnings, missing libraries are
# named all at once, what is installed works from elsewhere, and launch/slurm.sh says when there is no program. build_test.sh BINARY SOURCE_DIR
set -uo pipefail
lodestone=$(realpath "$1")
source_dir=$(realpath "$2")
build=$(dirname "$lodestone")
. "$source_dir/tests/support/tiny_run.sh"

# ---- configuring -------------------------------------------------------------------------------------------------------------------
nowhere=(-DCMAKE_FIND_USE_CMAKE_SYSTEM_PATH=OFF -DCMAKE_FIND_USE_SYSTEM_ENVIRONMENT_PATH=OFF -DCMAKE_MAKE_PROGRAM="$(command -v ninja)"
  -DCMAKE_C_COMPILER="$(command -v cc)" -DCMAKE_CXX_COMPILER="$(command -v c++)")   # CMake looks below CMAKE_PREFIX_PATH only
has() { grep -q -- "$2" "$1/compile_commands.json"; }   # has FOLDER TEXT
lacks() { ! has "$@"; }
holds() { if "${@:2}"; then ok "$1"; else bad "$1"; fi; }
expect "a user's build is configured" 0 cmake -S "$source_dir" -B plain -G Ninja -DCMAKE_DISABLE_FIND_PACKAGE_GTest=ON
holds "its warnings are no errors" lacks plain -Werror
holds "it warns" has plain -Wconversion
holds "it builds no tests" lacks plain gtest
expect "a build with tests is configured" 0 cmake -S "$source_dir" -B tests -G Ninja -DLODESTONE_TESTS=ON
holds "its warnings are errors" has tests -Werror
for preset in test dev; do
  expect "preset $preset" 0 cmake --preset $preset -S "$source_dir" -B "$preset"
  holds "preset $preset: warnings are errors" has $preset -Werror
  holds "preset $preset: with tests" has $preset onednn_test
done
expect "preset release" 0 cmake --preset release -S "$source_dir" -B release
holds "preset release: warnings are no errors" lacks release -Werror
expect "without any library" 1 cmake -S "$source_dir" -B none -G Ninja -DLODESTONE_TESTS=ON "${nowhere[@]}"
for package in libopenmpi-dev libyaml-cpp-dev nlohmann-json3-dev zlib1g-dev libdnnl-dev libhdf5-dev libxxhash-dev libutf8proc-dev libsimdjson-dev libgtest-dev; do
  says "$package is named" "Debian: $package"
done

# ---- installing --------------------------------------------------------------------------------------------------------------------
expect "install" 0 cmake --install "$build" --prefix "$dir/installed"
expect "the installed program runs" 0 installed/bin/lodestone --version
share=$dir/installed/share/lodestone
for file in README.md LICENSE configs/README.md configs/demo.yaml configs/shapes/tiny-zh.json launch/README.md launch/slurm.sh docs/faults.md; do
  holds "share/lodestone/$file" test -s "$share/$file"
done
expect "an installed configuration is checked from elsewhere" 0 env -C / "$dir/installed/bin/lodestone" check "$share/configs/conan-finetune.yaml" --without-data
expect "the installed program packs" 0 installed/bin/lodestone pack --tokenizer vocab --output corpus train.jsonl

# ---- launch/slurm.sh without what it needs ---------------------------------------------------------------------------------------------
refuses "slurm.sh without the program" 2 "error: usage the program 'build/nothing' is not there; do: build it" \
  env LODESTONE=build/nothing SLURM_JOB_ID=1 "$share/launch/slurm.sh" run.yaml
refuses "slurm.sh with a folder for the program" 2 "is not there; do: build it" env LODESTONE="$dir" SLURM_JOB_ID=1 "$share/launch/slurm.sh" run.yaml
refuses "slurm.sh outside of Slurm" 2 "error: usage this is no Slurm job; do: submit the script: sbatch" \
  env -u SLURM_JOB_ID LODESTONE="$lodestone" "$share/launch/slurm.sh" run.yaml
all_passed
