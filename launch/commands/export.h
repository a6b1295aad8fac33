// Turns a checkpoint, a run folder or another model folder into a verified model folder.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "core/backend.h"

namespace lodestone {

struct ExportRequest {
  std::filesystem::path input;   // a checkpoint, a run folder (its newest checkpoint that verifies), or a model folder
  std::filesystem::path output;  // must not exist
  std::filesystem::path source;  // folder with the starting model's files; empty: RUN/source, or the model folder itself
};

struct ExportResult {
  std::string what;                   // "checkpoint of step 200", "model folder"
  double largest_difference = 0;      // between the live and the reloaded embeddings of sample texts
  std::vector<std::string> messages;  // damaged checkpoints that were passed over, a vocabulary that is short
};

/// Writes request.output and proves it (see export_verified). Throws Error (checkpoint) when the input is none of the three or
/// damaged, Error (usage) when the output exists.
ExportResult export_model(const ExportRequest& request, Backend& backend);

}  // namespace lodestone
