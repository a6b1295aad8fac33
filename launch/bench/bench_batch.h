// The models that `bench` trains, and the random texts that it trains them on.
#pragma once

#include <string>

#include "core/batch.h"
#include "core/nn/config.h"

namespace lodestone {

/// minilm, bert-base or bert-large.
EmbedderConfig bench_shape(const std::string& model);

struct BenchRank {
  int rank = 0, ranks = 1;
};

/// A rank's part of a global batch of N queries with G passages each, with BenchOptions::lengths; these come from a fixed seed, the same at
/// any number of ranks. Rows have teacher scores, and with G = 1 a gold score.
Batch bench_batch(const std::string& lengths, int64_t queries, int64_t group, BenchRank share);

}  // namespace lodestone
