// Options shared by the commands that load a model folder to embed texts.
#pragma once

#include "comm/world.h"
#include "launch/config/options.h"
#include "launch/inference/embedder.h"

namespace lodestone {

/// --max-len, --precision, --threads, --chunk-tokens, --dimensions.
std::vector<std::string> model_option_names();
/// Throws Error (usage) on values that cannot be.
LoadedModel::Options model_options(const Options& options, const World& world);

}  // namespace lodestone
