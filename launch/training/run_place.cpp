#include "launch/training/run_place.h"

#include <algorithm>
#include <map>
#include <sstream>
#include <string_view>
#include <vector>

#include "data/checkpoints/checkpoint.h"
#include "data/files/durable.h"

namespace lodestone {

namespace fs = std::filesystem;

namespace {

/// Keys that may differ between a checkpoint and the run that goes on from it: they change no number that is trained,
/// or only its rounding.
constexpr std::string_view safe_keys[] = {
    "output_dir",       "threads",    "device",    "chunk_tokens", "keep_activations_mb", "logging_steps", "save_steps",
    "save_total_limit", "eval_steps", "eval_rows", "metric",       "timeout_s",           "heldout",       "gradient_checkpointing",
    "layout",           "ranks",      "zero"};

bool is_safe(std::string_view key) {
  const std::string_view last = key.substr(key.rfind('.') + 1);
  return key.starts_with("published.") || std::find(std::begin(safe_keys), std::end(safe_keys), last) != std::end(safe_keys);
}

/// "section.key" -> value of a resolved configuration; sections nest by two blanks each.
std::map<std::string, std::string> lines_of(const std::string& resolved) {
  std::map<std::string, std::string> out;
  std::istringstream in(resolved);
  std::string line;
  std::vector<std::string> path;
  while (std::getline(in, line)) {
    const size_t begin = line.find_first_not_of(' '), colon = line.find(':');
    if (begin == std::string::npos || colon == std::string::npos) continue;
    path.resize(std::min(path.size(), begin / 2));
    std::string name;
    for (const std::string& section : path) name += section + ".";
    name += line.substr(begin, colon - begin);
    if (colon + 1 == line.size())
      path.push_back(line.substr(begin, colon - begin));
    else
      out[name] = line.substr(colon + 2);
  }
  return out;
}

/// What a run leaves when it has come as far as its lock; files that were copied from one have a checkpoint or both records.
bool holds_run(const fs::path& dir) {
  if (path_exists(dir / "lock") || (path_exists(dir / "metrics.jsonl") && path_exists(dir / "status.json"))) return true;
  const std::vector<int64_t> steps = list_checkpoints(dir);
  return std::any_of(steps.begin(), steps.end(), [&](int64_t step) { return path_exists(dir / checkpoint_name(step) / "manifest.json"); });
}

/// What may lie in a folder before its first run: logs of whatever starts it, and what check_writable() leaves when it is killed.
bool is_harmless(const fs::path& file) {
  const std::string name = file.filename().string(), ending = file.extension().string();
  return name.starts_with('.') || name.starts_with("write-test") || ending == ".log" || ending == ".out" || ending == ".err";
}

}  // namespace

void require_run_place(const fs::path& dir) {
  if (!path_exists(dir)) return;
  if (holds_run(dir)) {
    if (!path_exists(dir / "model")) return;
    throw Error(ExitCode::usage, "F26", "this run is finished: its folder holds a model",
                "choose another train.output_dir, or remove the folder")
        .at("file", dir.string());
  }
  std::error_code failure;  // what cannot be listed cannot be written either: said elsewhere
  for (const auto& entry : fs::directory_iterator(dir, failure))
    if (!is_harmless(entry.path()))
      throw Error(ExitCode::usage, "exists", cat("the folder is not empty and no run folder: it holds ", entry.path().filename().string()),
                  cat("choose another train.output_dir, for example ", (dir / "run").lexically_normal().string()))
          .at("file", dir.string());
}

void require_same_config(const std::string& saved, const std::string& now, const fs::path& checkpoint) {
  struct Values {
    std::string before = "not given", now = "not given";
  };
  std::map<std::string, Values> keys;
  for (const auto& [key, value] : lines_of(saved)) keys[key].before = value;
  for (const auto& [key, value] : lines_of(now)) keys[key].now = value;
  for (const auto& [key, values] : keys)
    if (!is_safe(key) && values.before != values.now)
      throw Error(ExitCode::checkpoint, "F26",
                  cat(key, " is ", values.now, ", the checkpoint was trained with ", values.before == "not given" ? "none" : values.before),
                  "restore the configuration, or choose another train.output_dir")
          .at("file", checkpoint.string());
}

void require_same_config_as_newest(const fs::path& dir, const std::string& now) {
  for (const int64_t step : list_checkpoints(dir)) {
    const fs::path checkpoint = dir / checkpoint_name(step);
    CheckpointManifest manifest;
    try {
      manifest = read_manifest(checkpoint);
    } catch (const Error&) {
      continue;  // training passes it over
    }
    return require_same_config(manifest.documents.at("config.yaml"), now, checkpoint);
  }
}

}  // namespace lodestone
