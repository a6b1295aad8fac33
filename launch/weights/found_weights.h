// Which weights a name on the command line means: those of a model folder, of a checkpoint, or of a run's newest one.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "data/checkpoints/checkpoint.h"

namespace lodestone {

/// "out/" and "./out" name the folder "out".
std::filesystem::path folder_name(const std::filesystem::path& path);

struct FoundWeights {
  std::string what;                           // "checkpoint of step 200", "model folder"
  std::filesystem::path path;                 // the checkpoint or the model folder
  std::filesystem::path source;               // with config.json and tokenizer; the model folder itself where nothing else is given
  std::optional<FoundCheckpoint> checkpoint;  // none: the weights are the folder's own
};

/// `input` is a checkpoint (RUN/checkpoint-N), a run folder (its newest checkpoint that verifies) or a model folder; `source` holds the
/// starting model's files, empty: RUN/source, or the model folder. For each damaged checkpoint that was passed over a line is appended to
/// `messages`. Throws Error (checkpoint) when the input is none of the three, is damaged, or lacks the source.
FoundWeights find_weights(const std::filesystem::path& input, const std::filesystem::path& source, std::vector<std::string>& messages);

/// The newest `count` checkpoints of a run that verify, the oldest of them first; otherwise as find_weights(). Throws Error (usage) when
/// the run has fewer.
std::vector<FoundWeights> find_newest_weights(const std::filesystem::path& run, int64_t count, std::vector<std::string>& messages);

/// RetroMAE trains an encoder with pooling by [CLS], and beside it a decoder and a head that are not exported.
bool is_retromae(const FoundWeights& weights);

}  // namespace lodestone
