// Which checkpoints a run folder has: finding, sweeping, retaining.
#include "data/checkpoints/checkpoint.h"

#include <algorithm>
#include <charconv>
#include <functional>

#include "data/checkpoints/checkpoint_format.h"

namespace lodestone {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view prefix = "checkpoint-";
constexpr int64_t fewest_kept = 2;

std::string one_line(const Error& error) { return cat(error.code(), " ", error.what(), "; ", error.where()); }

bool verifies(const fs::path& checkpoint) {
  try {
    verify_checkpoint(checkpoint);
    return true;
  } catch (const Error&) {
    return false;
  }
}

/// Out of sight first, in one step, so that a crash never leaves half a checkpoint under its own name.
void remove_checkpoint(const fs::path& run, int64_t step, std::vector<std::string>& failures) {
  const fs::path name = run / checkpoint_name(step);
  fs::path doomed = name;
  doomed += ".deleting.tmp";
  std::error_code error;
  fs::rename(name, doomed, error);
  if (!error) fs::remove_all(doomed, error);
  if (error) failures.push_back(cat("F28 cannot remove an old checkpoint: ", error.message(), "; file=", name.string()));
}

}  // namespace

std::string checkpoint_name(int64_t step) { return cat(prefix, step); }

std::vector<int64_t> list_checkpoints(const fs::path& run) {
  std::vector<int64_t> steps;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(run, error)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(prefix) || !entry.is_directory(error)) continue;
    int64_t step = 0;
    const auto parsed = std::from_chars(name.data() + prefix.size(), name.data() + name.size(), step);
    if (parsed.ptr == name.data() + name.size() && checkpoint_name(step) == name) steps.push_back(step);
  }
  std::sort(steps.begin(), steps.end(), std::greater<>());
  return steps;
}

std::vector<std::string> sweep_temporaries(const fs::path& run) {
  std::vector<fs::path> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(run, error)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(prefix) && name.ends_with(".tmp")) found.push_back(entry.path());
  }
  std::vector<std::string> failures;
  for (const fs::path& path : found) {
    fs::remove_all(path, error);
    if (error) failures.push_back(cat("F28 cannot remove what a crash left: ", error.message(), "; file=", path.string()));
  }
  return failures;
}

std::optional<FoundCheckpoint> find_newest_verified(const fs::path& run, std::vector<std::string>& messages) {
  const std::vector<int64_t> steps = list_checkpoints(run);
  for (const int64_t step : steps) {
    const fs::path path = run / checkpoint_name(step);
    try {
      return FoundCheckpoint{path, verify_checkpoint(path)};
    } catch (const Error& error) {
      messages.push_back(cat("the checkpoint of step ", step, " is not used: ", one_line(error)));
    }
  }
  if (steps.empty()) return std::nullopt;
  throw Error(ExitCode::checkpoint, "F22",
              cat("none of the ", steps.size(), " checkpoints can be used; the newest: ", messages[messages.size() - steps.size()]),
              "restore one from a backup, or choose another output folder to start anew")
      .at("file", run.string());
}

std::vector<std::string> retain_checkpoints(const fs::path& run, int64_t keep, std::optional<int64_t> pinned,
                                            std::map<int64_t, bool>& verified) {
  std::vector<std::string> failures;
  const std::vector<int64_t> steps = list_checkpoints(run);
  keep = std::max(keep, fewest_kept);
  int64_t good = 0;
  for (const int64_t step : steps) {
    if (good >= keep) {
      if (step != pinned) remove_checkpoint(run, step, failures);
      continue;
    }
    if (static_cast<int64_t>(steps.size()) <= keep) break;  // nothing to remove, so nothing to verify
    const auto known = verified.find(step);
    if (known == verified.end()) verified[step] = verifies(run / checkpoint_name(step));
    good += verified[step] ? 1 : 0;
  }
  return failures;
}

}  // namespace lodestone
