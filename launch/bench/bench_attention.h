// Attention alone, forward and backward, by each that computes it.
#pragma once

#include <nlohmann/json.hpp>

#include "launch/bench/bench_step.h"

namespace lodestone {

/// Texts of 16, 32, 64, 128, 256 and 512 tokens, of each as many as have `tokens` together; 12 heads of 32 and of 64; by own kernels with
/// dropout and without, and by cuDNN, in turns (in_turns()) of options.steps rounds. A row for each length and head size, with seconds and
/// FLOP/s: a row and head against a text of T tokens is 4 T D forward and 2.5 times that backward. What cuDNN did not compute is "not
/// measured: " and the reason.
nlohmann::ordered_json bench_attention(const BenchOptions& options, int threads, int64_t tokens);

}  // namespace lodestone
