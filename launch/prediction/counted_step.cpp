#include "launch/prediction/counted_step.h"

#include "comm/grad_sync.h"
#include "core/optim/adamw.h"
#include "losses/step_results.h"

namespace lodestone {

CountedStep::CountedStep(DType compute, int ranks, Launches launches, size_t step_memory_bytes)
    : backend_(launches), ranks_(backend_, ranks), arena_(backend_.memory(), step_memory_bytes), ex_{backend_, arena_, Key(1), compute} {}

void CountedStep::run(Objective& objective, const Batch& batch, int64_t parts, ParamStore& params, bool zero) {
  const int64_t count = params.layout().count();
  const DType wide = ex_.wide();
  const Buffer memory(backend_.memory(), static_cast<size_t>(count) * size_of(wide));
  const Tensor grads = memory.tensor(wide, {count});
  GradSync sync(ranks(), backend_, count, wide, {.update = zero ? GradSync::Update::own_slice : GradSync::Update::everywhere});
  AdamW optimizer(backend_.memory(), {}, params.layout(), wide, {sync.own(), {}});
  StepResults results(backend_, parts);
  held_bytes_ = backend_.allocated_bytes();

  sync.share(params);  // that of the step before, which arrives under this one
  backend_.fill_zero(grads);
  sync.begin(grads);
  results.begin();
  for (int64_t part = 0; part < parts; ++part)
    objective.accumulate(ex_.at(Key(static_cast<uint64_t>(part))), batch, 1, grads, results.share(part),
                         part + 1 == parts ? sync.hook() : GradHook{});
  sync.finish(grads);
  backend_.sum_squares(grads.slice(sync.own()), results.squares());
  {
    const auto scope = arena_.scope();
    double found = results.read(arena_).back();
    all_reduce(ranks().host, std::span(&found, 1), Reduce::sum);
  }
  optimizer.step(ex_, 1e-5, 1, grads, params);
}

double encoder_flops(const EncoderConfig& e, const TokenBatch& texts) {
  const double per_token = 6.0 * static_cast<double>(e.layers * (4 * e.hidden * e.hidden + 2 * e.hidden * e.feed_forward));
  double flops = 0;
  for (int64_t t = 0; t < texts.texts(); ++t) {
    const auto length = static_cast<double>(texts.length(t));
    flops += length * (per_token + 12.0 * static_cast<double>(e.layers * e.hidden) * length);
  }
  return flops;
}

}  // namespace lodestone
