#include "core/optim/adamw.h"

#include <algorithm>

namespace lodestone {

std::vector<UpdateRun> AdamW::update_runs(const ParamLayout& layout, const UpdateRange& range) {
  std::vector<UpdateRun> runs;
  for (const Param& p : layout.params()) {
    const Slice part{std::max(p.slice.begin, range.own.begin), std::min(p.slice.end, range.own.end)};
    const bool frozen =
        std::any_of(range.frozen.begin(), range.frozen.end(), [&](Slice f) { return f.begin <= p.slice.begin && p.slice.end <= f.end; });
    if (frozen || part.begin >= part.end) continue;
    const Slice place{part.begin - range.own.begin, part.end - range.own.begin};
    const bool decays = p.decay == Decay::yes;
    if (!runs.empty() && runs.back().decays == decays && runs.back().slice.end == place.begin)
      runs.back().slice.end = place.end;
    else
      runs.push_back({place, decays});
  }
  return runs;
}

AdamW::AdamW(Memory& memory, AdamWConfig config, const ParamLayout& layout, DType wide, const UpdateRange& range)
    : config_(config),
      own_(range.own),
      runs_(update_runs(layout, range)),
      count_(layout.count()),
      wide_(wide),
      first_(memory, static_cast<size_t>(own_.count()) * size_of(wide)),
      second_(memory, static_cast<size_t>(own_.count()) * size_of(wide)) {}

void AdamW::step(Exec& ex, double lr, double gradient_scale, ConstTensor grads, ParamStore& params) {
  LODE_CHECK(grads.count() == count_ && params.masters().count() == count_, "optimizer of ", count_, " parameters got ", grads.count(),
             " gradients for ", params.masters().count(), " parameters");
  ++steps_;
  const AdamWStep step{lr, config_.beta1, config_.beta2, config_.eps, config_.weight_decay, gradient_scale, steps_};
  ex.backend.adamw(step, runs_, grads.slice(own_), params.masters().slice(own_), first_moments(), second_moments());
  if (own_.count() == count_) params.refresh(ex.backend);
}

}  // namespace lodestone
