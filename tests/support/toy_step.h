// What a toy training of any objective owns on one rank, and its step.
#pragma once

#include <cmath>
#include <memory>
#include <vector>

#include "comm/planes.h"
#include "core/nn/encoder.h"
#include "core/optim/adamw.h"
#include "tests/support/any_backend.h"
#include "tests/support/evaluate.h"

namespace lodestone::test {

/// For comparisons in f32. Some true gradients are zero (a key's bias moves all scores of a query alike, a constant added to all of
/// a group's scores changes no cross-entropy), and what is left of them is rounding, about 1e-8, which differs with the order of
/// sums. Adam divides it by its own size: such elements walk at the full learning rate in a direction that rounding chose, and
/// parameters of two runs lie up to 4e-5 apart. An epsilon far above that rounding and far below other gradients (here 0.015 to
/// 0.2 in the mean square) leaves them where they are; then 4e-8 are seen.
inline AdamWConfig adam_above_rounding() { return {.eps = 1e-4}; }

/// How far apart, relatively, the losses of a step may lie in two runs in f32: the root of two times what rounding may make of one, by
/// support/rounding.h. `terms` are those of the longest sum (the feed-forward's width), 8 the steps of a forward pass, 2 the loss's own,
/// and `condition` the norm of each parameter times its gradient, over the loss, measured in f64.
inline double losses_apart(double condition, int64_t terms = 24) {
  return std::sqrt(2) * 0x1p-24 * (std::sqrt(static_cast<double>(terms * 8)) * condition + 2);
}

/// How far apart, in their norm and relatively, parameters may lie after five steps of `moved` in all, their norm's share: what is stored
/// rounds after each step, and so do the moves, by the root of `terms` and of 16 steps forward and backward, and by their `condition`,
/// which is measured in f64 as in support/rounding.h.
inline double parameters_apart(double moved, double condition, int64_t terms = 24) {
  return std::sqrt(2) * 0x1p-24 * (std::sqrt(5) + std::sqrt(static_cast<double>(terms * 16)) * condition * moved);
}

/// Of five steps of 1e-3 by adam_above_rounding(). They move parameters by 0.8% to 0.9% of their norm. Adam divides a gradient by its own
/// size, so that the rounding of small elements counts like that of large ones: conditions are 17 to 37.
inline double adam_parameters_apart() { return parameters_apart(8.3e-3, 37); }

/// Parameters start from `body`'s rules with one fixed seed. What is trained comes with the derived type.
class ToyStep {
 public:
  virtual ~ToyStep() = default;

  Exec at_step(int64_t step) const { return ex.at(Key(5).with("dropout").with(static_cast<uint64_t>(step))); }
  /// Gradient of one step summed over ranks, in grads; returns the global loss.
  double gradient(int64_t step, const Batch& batch) {
    backend->fill_zero(grads);
    double value = accumulate(trained(), at_step(step), batch, 1, grads, {});
    planes.group().device.all_reduce(grads, grads, Reduce::sum).wait();
    all_reduce(comm, std::span(&value, 1), Reduce::sum);
    return value;
  }
  double train_step(int64_t step, const Batch& batch, double lr) {
    const double value = gradient(step, batch);
    optimizer.step(ex, lr, 1, grads, params);
    return value;
  }
  std::vector<double> as_doubles(ConstTensor x) { return to_double(*backend, arena, x); }
  void set_masters(std::span<const double> values) { from_double(*backend, arena, values, params.masters()); }

  std::unique_ptr<Backend> backend;
  Arena arena{backend->memory()};
  ParamStore params;
  Communicator& comm;
  Planes planes;  // over comm
  AdamW optimizer;
  Buffer gradient_memory;
  Tensor grads;
  Exec ex;

 protected:
  ToyStep(DType compute, Communicator& comm, const ParamLayout& layout, const EmbedderConfig& body, const char* backend_kind,
          const AdamWConfig& adam = {})
      : backend(any_backend(backend_kind)),
        params(backend->memory(), layout, compute),
        comm(comm),
        planes(comm, *backend),
        optimizer(backend->memory(), adam, params.layout(), params.wide_dtype()),
        gradient_memory(backend->memory(), static_cast<size_t>(params.layout().count()) * size_of(params.wide_dtype())),
        grads(gradient_memory.tensor(params.wide_dtype(), {params.layout().count()})),
        ex{*backend, arena, Key{}, compute} {
    edit_on_host(params, *backend, [&](ParamStore& host) { initialize_parameters(body, host, 11); });
  }

 private:
  virtual Objective& trained() = 0;
};

/// What a hook saw of one accumulation: how often each element was reported, and its gradient at that moment.
struct HookReport {
  std::vector<int> times;
  std::vector<double> gradient;
};

/// The hook's view of the gradient of `batch`, which is in run.grads afterwards; f64.
inline HookReport watch_hook(ToyStep& run, Objective& objective, const Batch& batch) {
  const auto count = static_cast<size_t>(run.grads.count());
  HookReport report{std::vector<int>(count), std::vector<double>(count)};
  run.backend->fill_zero(run.grads);
  accumulate(objective, run.ex, batch, 1, run.grads, [&](Slice slice) {
    const std::vector<double> now = run.as_doubles(run.grads);
    for (auto i = static_cast<size_t>(slice.begin); i < static_cast<size_t>(slice.end); ++i) {
      report.times[i] += 1;
      report.gradient[i] = now[i];
    }
  });
  return report;
}

}  // namespace lodestone::test
