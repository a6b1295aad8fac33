// What a model computes, as text: compared between ranks, and between a checkpoint and the run that goes on from it.
#pragma once

#include <string>

#include "core/nn/config.h"

namespace lodestone {

/// Lines "name: value", one for each setting that shapes the model or its numbers, by the names of config.json where it has one. Equal for
/// equal models, and only for those.
std::string model_facts(const EncoderConfig& config);
std::string model_facts(const EmbedderConfig& config);
std::string model_facts(const RerankerConfig& config);

}  // namespace lodestone
