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
  if (!trains_vectors(config.objective.kind)) return;
  for (const TaskConfig& task : config.tasks) {
    const std::optional<Refusal> too_long = refused_dims(task.loss, network.embedding());
    if (!too_long) continue;
    const std::string shared = "loss." + too_long->key, own = cat("tasks.", task.name, ".", shared);
    throw refusal(config, config.origins.contains(own) ? own : shared, too_long->what, too_long->remedy);
  }
}

}  // namespace lodestone
