// Which losses `bench` runs, how many passages a query has in them, and how many vectors each one holds.
#pragma once

#include <span>
#include <string_view>

#include "losses/make_loss.h"

namespace lodestone {

/// A batch by its counts: queries of this rank and of all ranks, passages per query.
struct BatchSize {
  int64_t queries = 0, global = 0, group = 1;
  int64_t texts() const { return queries * (1 + group); }   // of this rank
};

struct BenchLoss {
  std::string_view name;
  int64_t group;                                  // G unless told otherwise
  LossConfig (*config)(int64_t embedding);        // default settings
  int64_t (*vectors)(const BatchSize& size);      // of E floats, held at once while it runs, beside the batch's own and their gradient
};

std::span<const BenchLoss> bench_losses();
/// The one of that name. Throws Error (usage) listing the names.
const BenchLoss& bench_loss(std::string_view name);

}  // namespace lodestone
