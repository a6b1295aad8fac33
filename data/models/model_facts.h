// What a model computes, as text: compared between ranks, and between a checkpoint and the run that goes on from it.
#pragma once

#include <string>

#include "core/nn/config.h"
#include "data/models/model_folder.h"

namespace lodestone {

/// Lines "name: value", one for each setting that shapes the model or its numbers, by the names of config.json where it has one. Equal for
/// equal models, and only for those.
std::string model_facts(const EncoderConfig& config);
std::string model_facts(const EmbedderConfig& config);
std::string model_facts(const RerankerConfig& config);
/// The same of a folder, with how near its vectors are said to be.
std::string model_facts(const ModelFolder& folder);
/// And what it puts around texts and where it cuts them, where a configuration does not say so.
std::string folder_facts(const ModelFolder& folder);

}  // namespace lodestone
