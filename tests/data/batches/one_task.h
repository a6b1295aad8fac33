// A loader of one task, for tests that are not about schedules.
#pragma once

#include <utility>

#include "data/batches/collate.h"
#include "data/batches/loader.h"

namespace lodestone::test {

/// Steps of `accumulate` batches each, as many as the plan has.
inline Schedule one_task(const Plan& plan, int64_t accumulate = 1) {
  return Schedule({.tasks = {{.name = plan.config().task}}, .steps = plan.config().batches / accumulate, .accumulate = accumulate});
}

class OneTaskLoader {
 public:
  OneTaskLoader(const Plan& plan, const RowSource& rows, Collator collator, int rank, int world, int64_t first_step, int64_t accumulate = 1)
      : schedule_(one_task(plan, accumulate)),
        loader_(schedule_, {.ranks = world}, streams(plan, rows, std::move(collator), rank, world), first_step) {}
  const Batch& take(int64_t step) { return loader_.take(step, 0); }
  double stall_s() const { return loader_.stall_s(); }

 private:
  static std::vector<BatchStream> streams(const Plan& plan, const RowSource& rows, Collator collator, int rank, int world) {
    std::vector<BatchStream> result;
    result.emplace_back(plan, rows, std::make_unique<Collator>(std::move(collator)), rank, world);
    return result;
  }
  Schedule schedule_;
  Loader loader_;
};

}  // namespace lodestone::test
