// Options shared by the commands that load a model folder to embed texts.
#pragma once

#include <memory>

#include "comm/world.h"
#include "launch/config/options.h"
#include "launch/inference/embedder.h"

namespace lodestone {

/// --device, --attention, --threads, --max-len, --precision, --chunk-tokens, --dimensions.
std::vector<std::string> model_option_names();
/// What the last four say. Throws Error (usage) on values that cannot be.
LoadedModel::Options model_options(const Options& options);
/// --query-prompt and --passage-prompt, for the list of a command's options.
std::vector<std::string> prompt_option_names();
/// What they say; without them the folder's prompt "query", and "document", "passage" or "corpus", else its default prompt.
Prompts choose_prompts(const Options& options, const LoadedModel& model);
/// What computes as --device, --attention and --threads say. Throws Error (usage) on values that cannot be, and when this build lacks the
/// device.
std::unique_ptr<Backend> open_backend(const Options& options, const World& world);

}  // namespace lodestone
