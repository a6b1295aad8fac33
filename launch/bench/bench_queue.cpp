// A step that the device finds enqueued: how long the device itself needs for it.
#include "launch/bench/bench_step.h"
#include "launch/console/log.h"

namespace lodestone {

void BenchStep::enqueue_gradients(const Batch& batch) {
  backend_->fill_zero(grads_);
  results_.begin();
  sync_.begin(grads_);
  objective_.accumulate(ex_.at(Key(steps_)), batch, 1, grads_, results_.share(0), sync_.hook());
}

QueuedStep BenchStep::queued(const Batch& batch, int64_t products) {
  loss_.watch(Watch::whole);
  backend_->synchronize();
  product_->enqueue(products);
  const Event before = backend_->record();
  enqueue_gradients(batch);
  sync_.finish(grads_);
  backend_->sum_squares(grads_, results_.squares());
  optimizer_.step(ex_, 1e-5, 1, grads_, params_);
  ++steps_;
  const Event after = backend_->record();
  const double enqueued_s = now_s();
  backend_->wait_for(before);
  const double begun_s = now_s();
  backend_->wait_for(after);
  return {.device_s = now_s() - begun_s, .ahead_s = begun_s - enqueued_s};
}

}  // namespace lodestone
