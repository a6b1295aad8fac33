#include "launch/training/run_place.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <sstream>
#include <vector>

#include "data/checkpoints/checkpoint.h"
#include "data/files/durable.h"

namespace lodestone {

namespace fs = std::filesystem;

namespace {

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

/// Whether the keys of a resolved configuration lie in `section` too. The root, which has no name, is always there.
bool holds_section(const std::map<std::string, std::string>& keys, const std::string& section) {
  const auto next = keys.lower_bound(section + ".");
  return section.empty() || (next != keys.end() && next->first.starts_with(section + "."));
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

/// A file of someone else's, if there is one.
std::optional<std::string> foreign_file(const fs::path& dir) {
  std::error_code failure;  // what cannot be listed cannot be written either: said elsewhere
  for (const auto& entry : fs::directory_iterator(dir, failure))
    if (!is_harmless(entry.path())) return entry.path().filename().string();
  return std::nullopt;
}

}  // namespace

void require_run_place(const fs::path& dir) {
  if (!path_exists(dir)) return;
  const auto foreign = foreign_file(dir);  // looked for first: a job that starts meanwhile makes its lock before all else
  if (holds_run(dir)) {
    if (!path_exists(dir / "model")) return;
    throw Error(ExitCode::usage, "F26", "this run is finished: its folder holds a model",
                "choose another train.output_dir, or remove the folder")
        .at("file", dir.string());
  }
  if (foreign)
    throw Error(ExitCode::usage, "exists", cat("the folder is not empty and no run folder: it holds ", *foreign),
                cat("choose another train.output_dir, for example ", (dir / "run").lexically_normal().string()))
        .at("file", dir.string());
}

void require_same_config(const std::string& saved, std::span<const ConfigKey> now, const fs::path& checkpoint) {
  const std::map<std::string, std::string> before = lines_of(saved);
  const auto refuse = [&](const std::string& what, const char* remedy) {
    throw Error(ExitCode::checkpoint, "F26", what, remedy).at("file", checkpoint.string());
  };
  constexpr const char* restore = "restore the configuration, or choose another train.output_dir";
  std::set<std::string> known;
  for (const ConfigKey& key : now) {
    known.insert(key.path);
    if (key.resume == Resume::may_change) continue;
    const auto found = before.find(key.path);
    if (found != before.end() && found->second != key.value)
      refuse(cat(key.path, " is ", key.value, ", the checkpoint was trained with ", found->second), restore);
    if (found != before.end()) continue;
    if (!key.standard || !holds_section(before, key.within))
      refuse(cat(key.path, " is ", key.value, ", the checkpoint was trained with none"), restore);
    if (key.value != *key.standard)
      refuse(cat(key.path, " is ", key.value, ", the checkpoint, which lacks this key, was trained with its default, ", *key.standard),
             restore);
  }
  for (const auto& [key, value] : before)
    if (!known.contains(key))
      refuse(cat(key, " is not given, the checkpoint was trained with ", value),
             "restore the configuration, or the program if it knows the key no longer, or choose another train.output_dir");
}

void require_model_of(const std::string& saved, const std::string& now, const fs::path& checkpoint) {
  const std::map<std::string, std::string> before = lines_of(saved), is = lines_of(now);
  const auto value = [](const std::map<std::string, std::string>& facts, const std::string& name) {
    const auto found = facts.find(name);
    return found == facts.end() ? std::string("none") : found->second;
  };
  for (const auto* facts : {&is, &before})
    for (const auto& [name, unused] : *facts)
      if (value(is, name) != value(before, name))
        throw Error(ExitCode::checkpoint, "F26",
                    cat("the model's ", name, " is ", value(is, name), ", the checkpoint was trained with ", value(before, name)),
                    "restore the model's files, or choose another train.output_dir")
            .at("file", checkpoint.string());
}

namespace {

/// The newest checkpoint that has a readable manifest: training passes over the others.
std::optional<FoundCheckpoint> newest_readable(const fs::path& dir) {
  for (const int64_t step : list_checkpoints(dir)) {
    const fs::path checkpoint = dir / checkpoint_name(step);
    try {
      return FoundCheckpoint{checkpoint, read_manifest(checkpoint)};
    } catch (const Error&) {
      continue;
    }
  }
  return std::nullopt;
}

}  // namespace

void require_same_config_as_newest(const fs::path& dir, std::span<const ConfigKey> now) {
  if (const auto newest = newest_readable(dir)) require_same_config(newest->manifest.documents.at("config.yaml"), now, newest->path);
}

void require_model_of_newest(const fs::path& dir, const std::string& now) {
  const auto newest = newest_readable(dir);
  if (!newest) return;
  const auto saved = newest->manifest.documents.find(model_facts_file);
  if (saved != newest->manifest.documents.end()) require_model_of(saved->second, now, newest->path);
}

}  // namespace lodestone
