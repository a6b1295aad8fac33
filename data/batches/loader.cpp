// How the loader's thread and the trainer hand batches to each other.
#include "data/batches/loader.h"

#include <chrono>
#include <utility>

#include "core/error.h"
#include "data/files/mapped_file.h"

namespace lodestone {

Loader::Loader(const Schedule& schedule, const Team& team, std::vector<BatchStream> streams, int64_t first_step, int64_t hold)
    : schedule_(schedule), team_(team), streams_(std::move(streams)), first_step_(first_step), hold_(hold) {
  LODE_CHECK(streams_.size() == schedule.config().tasks.size(), streams_.size(), " streams for ", schedule.config().tasks.size(), " tasks");
  for (Made& made : made_batches_)
    for (BatchStream& stream : streams_) stream.reserve(made.batch);
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

const Batch& Loader::take(int64_t step, int32_t task) {
  std::unique_lock lock(mutex_);
  const int64_t number = taken_++;  // the batch given out before is free now
  changed_.notify_all();
  if (made_ <= number && !failure_) {
    const auto start = std::chrono::steady_clock::now();
    changed_.wait(lock, [&] { return made_ > number || failure_ || ended_; });
    stall_s_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }
  if (made_ <= number && failure_) std::rethrow_exception(failure_);
  LODE_CHECK(made_ > number, "step ", step, " lies behind the last batch");
  const Made& made = made_batches_[static_cast<size_t>(number % slots)];
  LODE_CHECK(made.step == step && made.task == task, "the next batch is of step ", made.step, " task ", made.task, ", asked for were ",
             step, " and ", task);
  return made.batch;
}

void Loader::release(int64_t hold) {
  {
    const std::lock_guard lock(mutex_);
    hold_ = hold;
  }
  changed_.notify_all();
}

void Loader::work() {
  const SignalStack stack;  // rows lie in mapped files
  make_all();
  {
    const std::lock_guard lock(mutex_);
    ended_ = true;
  }
  changed_.notify_all();
}

void Loader::make_all() {
  std::vector<StepPart> parts;
  int64_t number = 0;
  for (int64_t step = first_step_; step < schedule_.config().steps; ++step) {
    schedule_.parts(step, parts);
    for (const StepPart& part : parts)
      if (takes(team_, part) && !make(step, part, number++)) return;
  }
}

bool Loader::make(int64_t step, const StepPart& part, int64_t number) {
  {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return stopping_ || (number - taken_ < slots - 1 && step < hold_); });
    if (stopping_) return false;
  }
  std::exception_ptr failure;
  Made& made = made_batches_[static_cast<size_t>(number % slots)];
  made.step = step;
  made.task = part.task;
  try {
    streams_[static_cast<size_t>(part.task)].make(part.draw, step, made.batch);
  } catch (Error& error) {
    if (schedule_.config().tasks.size() > 1) error.at("task", schedule_.config().tasks[static_cast<size_t>(part.task)].name);
    error.at("step", step);
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
  return !failure;
}

}  // namespace lodestone
