// Loader: a rank's batches of all tasks in the order in which steps train on them, made by a thread that runs ahead of the trainer.
#pragma once

#include <array>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "data/batches/batch_stream.h"
#include "data/plan/schedule.h"

namespace lodestone {

/// Up to two finished batches wait while a third is in use; their memory is reserved at the start and reused. From the
/// constructor to the destructor only the loader's thread may call the streams' rows (the corpus: HDF5 is used from one thread).
class Loader {
 public:
  /// One stream a task, in the schedule's order. Makes the parts that `team` takes, from first_step to the schedule's last, but none
  /// of step `hold` or later before release() allows it. `schedule` must outlive the loader.
  static constexpr int64_t no_hold = INT64_MAX;
  Loader(const Schedule& schedule, const Team& team, std::vector<BatchStream> streams, int64_t first_step, int64_t hold = no_hold);
  /// Stops the thread after the batch it is making.
  ~Loader();
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  /// The batch of the next part that the team takes, which must be of this step and task; valid until the next call. Waits while
  /// it is not ready; rethrows what stopped the thread from making it.
  const Batch& take(int64_t step, int32_t task);

  /// From now on steps before `hold` may be made: what batches depend on (mined negatives) changes at known steps only, while the
  /// thread waits there.
  void release(int64_t hold);

  /// Seconds that take() has waited in all.
  double stall_s() const { return stall_s_; }

 private:
  static constexpr int64_t slots = 3;  // one in use and two ahead

  void work();
  void make_all();
  /// Makes one part when there is room for it; false when the loader is to stop.
  bool make(int64_t step, const StepPart& part, int64_t number);

  const Schedule& schedule_;
  const Team team_;
  std::vector<BatchStream> streams_;  // the thread's
  const int64_t first_step_;

  struct Made {
    Batch batch;
    int64_t step = -1;
    int32_t task = -1;
  };
  std::array<Made, slots> made_batches_;  // part n is in slot n % slots
  double stall_s_ = 0;

  std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  int64_t made_ = 0;   // parts before this one are finished
  int64_t taken_ = 0;  // parts before this one have been given out; the last of them is in use
  int64_t hold_;       // no part of this step or later is made
  bool stopping_ = false, ended_ = false;
  std::exception_ptr failure_;  // why part made_ could not be made

  std::thread thread_;  // last: it uses everything above
};

}  // namespace lodestone
