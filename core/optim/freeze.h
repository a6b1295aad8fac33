// Freezing: which parameters a run leaves as they are.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "core/params.h"

namespace lodestone {

/// The ranges of the flat vector that `names` stand for, ascending, adjacent ones joined. A name stands for the parameter of
/// that name and for all below it: "embeddings.position_embeddings.weight", "encoder.layer.0". Throws Error (usage, "config")
/// on a name that stands for nothing.
std::vector<Slice> frozen_ranges(const ParamLayout& layout, std::span<const std::string> names);

/// Sets the gradient of the frozen ranges to zero, so that no norm counts it. Call it on the summed gradient.
void clear_frozen(Backend& backend, std::span<const Slice> frozen, Tensor grads);

}  // namespace lodestone
