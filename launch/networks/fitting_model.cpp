#include "launch/networks/fitting_model.h"

#include "core/optim/freeze.h"

namespace lodestone {

std::vector<Slice> frozen_parameters(const RunConfig& config, const ParamLayout& layout) {
  try {
    return frozen_ranges(layout, config.optim.freeze);
  } catch (const Error& error) {
    throw refusal(config, "optim.freeze", error.what(), error.remedy());
  }
}

void require_fitting_dims(const RunConfig& config, const Network& network) {
  if (config.objective.kind != ObjectiveKind::embedding) return;
  for (const TaskConfig& task : config.tasks) {
    const std::vector<int64_t>& dims = task.loss.matryoshka_dims;
    if (dims.empty() || dims.back() <= network.embedding()) continue;
    const std::string own = cat("tasks.", task.name, ".loss.mrl_dims");
    throw refusal(config, config.origins.contains(own) ? own : "loss.mrl_dims",
                  cat(dims.back(), " is more than the model's ", network.embedding(), " dimensions"),
                  cat("give at most ", network.embedding()));
  }
}

}  // namespace lodestone
