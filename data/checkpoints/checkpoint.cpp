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
constexpr std::string_view deleting = ".deleting";
constexpr int64_t fewest_kept = 2;

/// The step of a folder that bears a checkpoint's name: digits alone behind the prefix, as checkpoint_name() writes them.
std::optional<int64_t> step_of(const std::string& name) {
  if (!name.starts_with(prefix)) return std::nullopt;
  int64_t step = 0;
  const auto parsed = std::from_chars(name.data() + prefix.size(), name.data() + name.size(), step);
  const bool is_step = parsed.ptr == name.data() + name.size() && step >= 0 && checkpoint_name(step) == name;
  return is_step ? std::optional(step) : std::nullopt;
}

std::string one_line(const Error& error) { return cat(error.code(), " ", error.what(), "; ", error.where()); }

bool verifies(const fs::path& checkpoint) {
  try {
    verify_checkpoint(checkpoint);
    return true;
  } catch (const Error&) {
    return false;
  }
}

/// Whether a checkpoint was written there; a folder of such a name without a manifest is somebody else's.
bool has_manifest(const fs::path& checkpoint) {
  std::error_code ignored;
  return fs::exists(fs::symlink_status(checkpoint / "manifest.json", ignored));
}

/// Out of sight first, in one step, so that a crash never leaves half a checkpoint under its own name.
void remove_checkpoint(const fs::path& run, int64_t step, std::vector<std::string>& failures) {
  const fs::path name = run / checkpoint_name(step);
  fs::path doomed = name;
  doomed += cat(deleting, ".tmp");
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
  for (const auto& entry : fs::directory_iterator(run, error))
    if (const auto step = step_of(entry.path().filename().string()); step && entry.is_directory(error)) steps.push_back(*step);
  std::sort(steps.begin(), steps.end(), std::greater<>());
  return steps;
}

std::vector<std::string> sweep_temporaries(const fs::path& run) {
  std::vector<fs::path> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(run, error)) {
    const fs::path name = entry.path().filename();
    if (name.extension() != ".tmp" || fs::is_symlink(entry.symlink_status(error)) || !entry.is_directory(error)) continue;
    const fs::path inner = name.stem();
    if (step_of((inner.extension() == deleting ? inner.stem() : inner).string())) found.push_back(entry.path());
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
      if (step != pinned && has_manifest(run / checkpoint_name(step))) remove_checkpoint(run, step, failures);
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
