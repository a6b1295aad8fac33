#include "launch/weights/found_weights.h"

#include <algorithm>

#include "core/nn/retromae.h"
#include "data/files/durable.h"

namespace lodestone {

namespace fs = std::filesystem;

namespace {

constexpr const char* manifest = "manifest.json";

void require_source(const FoundWeights& weights) {
  if (!path_exists(weights.source / "config.json"))
    throw Error(ExitCode::checkpoint, "missing", "the starting model's files are not beside the checkpoint",
                "put the starting model folder there as 'source', or export the checkpoint with --source MODEL_FOLDER first")
        .at("file", weights.source.string());
}

FoundWeights of_checkpoint(FoundCheckpoint found, fs::path source) {
  return {cat("checkpoint of step ", found.manifest.step), found.path, std::move(source), std::move(found)};
}

}  // namespace

fs::path folder_name(const fs::path& path) {
  const fs::path normal = fs::absolute(path).lexically_normal();
  return normal.has_filename() ? normal : normal.parent_path();
}

FoundWeights find_weights(const fs::path& named, const fs::path& source, std::vector<std::string>& messages) {
  const fs::path input = folder_name(named);
  const auto or_given = [&](const fs::path& own) { return source.empty() ? own : source; };
  FoundWeights w;
  if (path_exists(input / manifest)) {
    w = of_checkpoint({input, verify_checkpoint(input)}, or_given(input.parent_path() / "source"));
  } else if (path_exists(input / "config.json")) {
    w = {"model folder", input, or_given(input), std::nullopt};
  } else if (auto found = find_newest_verified(input, messages)) {
    w = of_checkpoint(std::move(*found), or_given(input / "source"));
  } else {
    throw Error(ExitCode::checkpoint, "missing", "this is neither a checkpoint, nor a run folder with checkpoints, nor a model folder",
                "give RUN/checkpoint-N, RUN or a model folder")
        .at("file", named.string());
  }
  require_source(w);
  return w;
}

std::vector<FoundWeights> find_newest_weights(const fs::path& named, int64_t count, std::vector<std::string>& messages) {
  const fs::path run = folder_name(named);
  std::vector<FoundWeights> found;
  for (const int64_t step : list_checkpoints(run)) {
    if (std::ssize(found) == count) break;
    const fs::path checkpoint = run / checkpoint_name(step);
    try {
      found.push_back(of_checkpoint({checkpoint, verify_checkpoint(checkpoint)}, run / "source"));
      require_source(found.back());
    } catch (const Error& error) {
      if (error.code() == "missing") throw;
      messages.push_back(cat(error.code(), " ", error.what(), "; ", error.where()));
    }
  }
  if (std::ssize(found) < count)
    throw Error(ExitCode::usage, "usage", cat("the run has ", found.size(), " checkpoints that verify, ", count, " are wanted"),
                "give a smaller --checkpoints, or keep more with train.save_total_limit")
        .at("file", named.string());
  std::reverse(found.begin(), found.end());
  return found;
}

bool is_retromae(const FoundWeights& weights) {
  if (!weights.checkpoint) return false;
  const auto& tensors = weights.checkpoint->manifest.tensors;
  return std::any_of(tensors.begin(), tensors.end(), [](const auto& t) { return t.first.starts_with(retromae_decoder_prefix); });
}

}  // namespace lodestone
