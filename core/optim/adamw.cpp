#include "core/optim/adamw.h"

namespace lodestone {

AdamW::AdamW(AdamWConfig config, const ParamLayout& layout, DType wide)
    : config_(config), runs_(layout.decay_runs()), count_(layout.count()), wide_(wide),
      first_(static_cast<size_t>(count_) * size_of(wide)), second_(static_cast<size_t>(count_) * size_of(wide)) {}

void AdamW::step(Exec& ex, double lr, double gradient_scale, ConstTensor grads, ParamStore& params) {
  LODE_CHECK(grads.count() == count_ && params.masters().count() == count_, "optimizer of ", count_, " parameters got ",
             grads.count(), " gradients for ", params.masters().count(), " parameters");
  ++steps_;
  AdamWStep step{lr, config_.beta1, config_.beta2, config_.eps, 0, gradient_scale, steps_};
  for (const ParamLayout::Run& run : runs_) {
    step.weight_decay = run.decay == Decay::yes ? config_.weight_decay : 0;
    ex.backend.adamw(step, grads.slice(run.slice), params.masters().slice(run.slice), first_moments().slice(run.slice),
                     second_moments().slice(run.slice));
  }
  params.refresh(ex.backend);
}

}  // namespace lodestone
