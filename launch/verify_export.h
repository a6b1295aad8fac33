// Writes a model folder, then proves it: reloads its own files and compares embeddings with the live model.
#pragma once

#include <filesystem>

#include "core/backend.h"
#include "data/model_export.h"
#include "data/tokenizer.h"

namespace lodestone {

struct LiveModel {
  const ModelFolder& folder;
  const ParamStore& params;
  const Tokenizer& tokenizer;
};

/// Writes `path` (see write_model_folder) and embeds sample texts with the live weights and with the reloaded folder, both in f32.
/// Returns the largest absolute difference. Throws Error (internal, "export") above 1e-6, and removes the folder: what users
/// load must be what was trained.
double export_verified(const std::filesystem::path& path, const LiveModel& live, const std::filesystem::path& source, const ModelCard& card,
                       Backend& backend);

}  // namespace lodestone
