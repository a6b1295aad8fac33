// How the loader's thread and the trainer hand batches to each other.
#include "data/loader.h"

#include <chrono>
#include <utility>

#include "core/error.h"

namespace lodestone {

Loader::Loader(const Plan& plan, const RowSource& rows, Collator collator, int rank, int world, int64_t first_step, int64_t accumulate)
    : plan_(plan),
      rows_(rows),
      collator_(std::move(collator)),
      rank_(rank),
      world_(world),
      accumulate_(accumulate),
      first_(first_step * accumulate),
      end_(plan.config().batches / accumulate * accumulate),
      global_rows_(plan, rows, collator_),
      made_(first_),
      taken_(first_) {
  require_ranks_for_batch(plan.smallest_batch(), world);
  const RankRows largest = rank_rows(plan.config().global_batch, 0, world);
  for (Batch& batch : batches_) collator_.reserve(largest.end, world, batch);
  thread_ = std::thread([this] { work(); });
}

Loader::~Loader() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

const Batch& Loader::take(int64_t step, int64_t part) {
  const int64_t number = step * accumulate_ + part;
  std::unique_lock lock(mutex_);
  LODE_CHECK(number == taken_ && number < end_, "step ", step, " part ", part, " is not the next batch of the plan");
  ++taken_;   // the batch given out before is free now
  changed_.notify_all();
  if (made_ <= number && !failure_) {
    const auto start = std::chrono::steady_clock::now();
    changed_.wait(lock, [&] { return made_ > number || failure_; });
    stall_s_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }
  if (made_ <= number) std::rethrow_exception(failure_);
  return batches_[static_cast<size_t>(number % slots)];
}

void Loader::work() {
  for (int64_t number = first_; number < end_; ++number) {
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return stopping_ || number - taken_ < slots - 1; });
      if (stopping_) return;
    }
    std::exception_ptr failure;
    try {
      make(number, batches_[static_cast<size_t>(number % slots)]);
    } catch (Error& error) {
      error.at("step", number / accumulate_);
      failure = std::current_exception();
    } catch (...) {
      failure = std::current_exception();
    }
    {
      const std::lock_guard lock(mutex_);
      failure_ = failure;
      if (!failure) made_ = number + 1;
    }
    changed_.notify_all();
    if (failure) return;
  }
}

void Loader::make(int64_t number, Batch& out) {
  const int64_t step = number / accumulate_;
  const std::span<const int64_t> ids = global_rows_.read(number, step);
  collator_.collate(rows_, {.step = step, .source = global_rows_.part().source, .rows = ids, .rank = rank_, .world = world_,
                            .in_batch_negatives = global_rows_.in_batch_negatives()}, out);
}

}  // namespace lodestone
