// May a run use this folder: nobody else's, not finished, and its checkpoints of the same configuration?
#pragma once

#include <filesystem>
#include <span>
#include <string>

#include "launch/config/section.h"

namespace lodestone {

/// Refuses a folder that holds a finished run, or anything that no run left there. Missing and empty folders are fine, as are a
/// launcher's logs (.log, .out, .err), hidden files, and what a start leaves that is killed. Throws Error (usage, "F26" or
/// "exists"). Writes nothing.
void require_run_place(const std::filesystem::path& dir);

/// Refuses to go on from a checkpoint whose resolved configuration `saved` differs from the keys that were read `now` in one that must
/// match: another value, or a key that only one of them has. A key that `saved` lacks, as one of an older program does, counts as its
/// default, unless it lies in a section that was added (a task, mining) or may itself be left out. Throws Error (checkpoint, "F26") naming
/// the first such key.
void require_same_config(const std::string& saved, std::span<const ConfigKey> now, const std::filesystem::path& checkpoint);

/// Refuses to go on from a checkpoint of another model: facts that its document model_facts_file `saved`, against those of `now`. Throws
/// Error (checkpoint, "F26") naming the first that differs.
void require_model_of(const std::string& saved, const std::string& now, const std::filesystem::path& checkpoint);
inline constexpr const char* model_facts_file = "model.yaml";

/// The same for the newest checkpoint of the run folder that has a readable manifest, if there is one; its weights are not read. One of an
/// older program has no facts of its model.
void require_same_config_as_newest(const std::filesystem::path& dir, std::span<const ConfigKey> now);
void require_model_of_newest(const std::filesystem::path& dir, const std::string& now);

}  // namespace lodestone
