// The loss scale's state as a document of a checkpoint.
#pragma once

#include <string>

#include "core/optim/loss_scale.h"

namespace lodestone {

inline constexpr const char* loss_scale_file = "loss_scale.json";
/// {"scale": 4096, "finite_steps": 12, "hysteresis_left": 2}
std::string loss_scale_document(const LossScaleState& state);
/// Throws Error (checkpoint, "F22") when the text is no such document.
LossScaleState parse_loss_scale(const std::string& text);

}  // namespace lodestone
