// Plan: what every step trains on, a pure function of (seed, step), identical on all ranks without communication.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace lodestone {

/// One part of a step: a homogeneous global batch.
struct Part {
  int32_t source = 0;
  double weight = 1;
  std::vector<int64_t> rows;    // [N] positions k inside the source's rows, ordered by global index; no row twice
  int64_t epoch = 0;            // of the source
};

struct StepPlan {
  int64_t step = 0;
  std::vector<Part> parts;      // gradient accumulation: several, each weight 1 / parts
};

struct PlanSource {
  std::string name;
  int64_t rows = 0;
};

struct PlanConfig {
  int64_t global_batch = 128;
  int64_t accumulate = 1;       // global batches per optimizer step
  int64_t steps = 0;
  uint64_t seed = 0;
  double alpha = 1.0;           // p_i = n_i^alpha / sum_j n_j^alpha
};

/// Homogeneous multinomial plan: each part's source is drawn with p_i, its rows follow a hash-keyed permutation of the
/// source per epoch; an epoch's remainder is dropped. Sources smaller than a batch are refused (Error, usage) by name.
class Plan {
 public:
  Plan(const PlanConfig& config, std::vector<PlanSource> sources);
  StepPlan at(int64_t step) const;
  const PlanConfig& config() const;
  const std::vector<PlanSource>& sources() const;
  double probability(int32_t source) const;

 private:
  PlanConfig config_;
  std::vector<PlanSource> sources_;
  std::vector<double> cumulative_;
  std::vector<int32_t> drawn_;          // [steps * accumulate] source of each part
  std::vector<int64_t> position_;       // [steps * accumulate] earlier draws of the same source
};

/// Rows [begin, end) of a global batch of N that rank r of W holds: contiguous parts that differ by at most one row.
struct RankRows { int64_t begin = 0, end = 0; };
constexpr RankRows rank_rows(int64_t n, int rank, int world) {
  const int64_t base = n / world, extra = n % world;
  const int64_t begin = base * rank + (rank < extra ? rank : extra);
  return {begin, begin + base + (rank < extra ? 1 : 0)};
}

}  // namespace lodestone
