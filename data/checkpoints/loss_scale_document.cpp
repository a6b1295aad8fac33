#include "data/checkpoints/loss_scale_document.h"

#include <cmath>

#include "data/files/strict_json.h"

namespace lodestone {

std::string loss_scale_document(const LossScaleState& state) {
  OrderedJson json;
  json["scale"] = state.scale;  // written so that the same bits are read
  json["finite_steps"] = state.finite_steps;
  json["hysteresis_left"] = state.hysteresis_left;
  return json.dump() + "\n";
}

LossScaleState parse_loss_scale(const std::string& text) {
  const Json json = parse_strict_json(text, ExitCode::checkpoint, "F22");
  LossScaleState state;
  try {
    state = {json.at("scale").get<double>(), json.at("finite_steps").get<int64_t>(), json.at("hysteresis_left").get<int64_t>()};
  } catch (const Json::exception& error) {
    throw Error(ExitCode::checkpoint, "F22", cat("this is not a loss scale: ", error.what())).at("file", loss_scale_file);
  }
  if (!(std::isfinite(state.scale) && state.scale > 0) || state.finite_steps < 0 || state.hysteresis_left < 1)
    throw Error(ExitCode::checkpoint, "F22", cat("a loss scale of ", state.scale, " after ", state.finite_steps, " finite steps"))
        .at("file", loss_scale_file);
  return state;
}

}  // namespace lodestone
