// BatchStream: the batches of one task as one rank trains it.
#pragma once

#include <memory>

#include "data/batches/global_rows.h"
#include "data/batches/row_collator.h"
#include "data/plan/plan.h"

namespace lodestone {

class BatchStream {
 public:
  /// Rank `rank` of the `world` ranks that share the task's batches. `plan` and `rows` must outlive it.
  BatchStream(const Plan& plan, const RowSource& rows, std::unique_ptr<RowCollator> collator, int rank, int world)
      : plan_(&plan),
        rows_(&rows),
        collator_(std::move(collator)),
        global_rows_(std::make_unique<GlobalRows>(plan, rows, *collator_)),
        rank_(rank),
        world_(world) {}

  /// This rank's share of batch `draw` of the plan, which a step trains on.
  void make(int64_t draw, int64_t step, Batch& out) {
    const std::span<const int64_t> ids = global_rows_->read(draw, step);
    collator_->collate(*rows_,
                       {.step = step,
                        .source = global_rows_->part().source,
                        .rows = ids,
                        .rank = rank_,
                        .world = world_,
                        .in_batch_negatives = global_rows_->in_batch_negatives()},
                       out);
  }
  /// What the largest of its batches needs, so that make() allocates nothing.
  void reserve(Batch& out) { collator_->reserve(rank_rows(plan_->config().global_batch, 0, world_).end, world_, out); }

 private:
  const Plan* plan_;
  const RowSource* rows_;
  std::unique_ptr<RowCollator> collator_;
  std::unique_ptr<GlobalRows> global_rows_;
  int rank_, world_;
};

}  // namespace lodestone
