// Which settings does the model refuse? What can be judged once its shapes are known, and not before.
#pragma once

#include <vector>

#include "launch/config/config.h"
#include "launch/networks/network.h"

namespace lodestone {

/// The parameters that optim.freeze names. Throws Error (usage, "config") with the key's place: a name that the model does not have.
std::vector<Slice> frozen_parameters(const RunConfig& config, const ParamLayout& layout);

/// Throws Error (usage, "config") with the key's place: more Matryoshka dimensions than the model's vectors have.
void require_fitting_dims(const RunConfig& config, const Network& network);

}  // namespace lodestone
