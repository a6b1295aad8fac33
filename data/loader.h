// Loader: the batches of a plan for one rank, made by a thread that runs ahead of the trainer.
#pragma once

#include <array>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>

#include "data/collate.h"
#include "data/global_rows.h"
#include "data/plan.h"
#include "data/row_source.h"

namespace lodestone {

/// Up to two finished batches wait while a third is in use; their memory is reserved at the start and reused. From the
/// constructor to the destructor only the loader's thread may call `rows` (the corpus: HDF5 is used from one thread).
class Loader {
 public:
  /// Starts with the first part of first_step and goes to the plan's last; a step has `accumulate` parts. `plan` and `rows` must outlive the loader.
  /// Throws Error (usage, F13) when there are more ranks than rows in a global batch.
  Loader(const Plan& plan, const RowSource& rows, Collator collator, int rank, int world, int64_t first_step, int64_t accumulate = 1);
  /// Stops the thread after the batch it is making.
  ~Loader();
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  /// The batch of a part of a step, valid until the next call. Parts must be asked for in the plan's order, none left out.
  /// Waits while the batch is not ready; rethrows what stopped the thread from making it.
  const Batch& take(int64_t step, int64_t part);

  /// Seconds that take() has waited in all.
  double stall_s() const { return stall_s_; }

 private:
  static constexpr int64_t slots = 3;   // one in use and two ahead

  void work();
  void make(int64_t number, Batch& out);

  const Plan& plan_;
  const RowSource& rows_;
  Collator collator_;                   // the thread's
  const int rank_, world_;
  const int64_t accumulate_;
  const int64_t first_;                 // number of the first part: step * accumulate + part
  const int64_t end_;
  GlobalRows global_rows_;              // the thread's
  std::array<Batch, slots> batches_;    // part n is in batches_[n % slots]
  double stall_s_ = 0;

  std::mutex mutex_;                    // guards what follows
  std::condition_variable changed_;
  int64_t made_;                        // parts before this one are finished
  int64_t taken_;                       // parts before this one have been given out; the last of them is in use
  bool stopping_ = false;
  std::exception_ptr failure_;          // why part made_ could not be made

  std::thread thread_;                  // last: it uses everything above
};

}  // namespace lodestone
