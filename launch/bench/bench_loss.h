// Which losses `bench` runs, and how many passages a query has in them.
#pragma once

#include <span>
#include <string_view>

#include "losses/make_loss.h"

namespace lodestone {

struct BenchLoss {
  std::string_view name;
  int64_t group = 1;                                  // G unless told otherwise
  LossConfig (*config)(int64_t embedding) = nullptr;  // its settings
  std::string_view about = {};                        // what is not the default in them
};

std::span<const BenchLoss> bench_losses();
/// The one of that name. Throws Error (usage) listing the names.
const BenchLoss& bench_loss(std::string_view name);

}  // namespace lodestone
