#include "core/optim/adamw.h"

#include <algorithm>

namespace lodestone {

std::vector<AdamW::Run> AdamW::update_runs(const ParamLayout& layout, const UpdateRange& range) {
  std::vector<Run> runs;
  for (const Param& p : layout.params()) {
    const Slice part{std::max(p.slice.begin, range.own.begin), std::min(p.slice.end, range.own.end)};
    const bool frozen =
        std::any_of(range.frozen.begin(), range.frozen.end(), [&](Slice f) { return f.begin <= p.slice.begin && p.slice.end <= f.end; });
    if (frozen || part.begin >= part.end) continue;
    if (!runs.empty() && runs.back().decay == p.decay && runs.back().slice.end == part.begin)
      runs.back().slice.end = part.end;
    else
      runs.push_back({part, p.decay});
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
  AdamWStep step{lr, config_.beta1, config_.beta2, config_.eps, 0, gradient_scale, steps_};
  for (const Run& run : runs_) {
    step.weight_decay = run.decay == Decay::yes ? config_.weight_decay : 0;
    const Slice moments{run.slice.begin - own_.begin, run.slice.end - own_.begin};
    ex.backend.adamw(step, grads.slice(run.slice), params.masters().slice(run.slice), first_moments().slice(moments),
                     second_moments().slice(moments));
  }
  if (own_.count() == count_) params.refresh(ex.backend);
}

}  // namespace lodestone
