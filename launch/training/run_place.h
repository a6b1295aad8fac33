// May a run use this folder: nobody else's, not finished, and its checkpoints of the same configuration?
#pragma once

#include <filesystem>
#include <string>

namespace lodestone {

/// Refuses a folder that holds a finished run, or anything that no run left there. Missing and empty folders are fine, as are a
/// launcher's logs (.log, .out, .err), hidden files, and what a start leaves that is killed. Throws Error (usage, "F26" or
/// "exists"). Writes nothing.
void require_run_place(const std::filesystem::path& dir);

/// Refuses to go on from a checkpoint whose resolved configuration `saved` differs from `now` in a key that changes what is
/// trained: another value, or a key that only one of them has. Throws Error (checkpoint, "F26") naming the first such key.
void require_same_config(const std::string& saved, const std::string& now, const std::filesystem::path& checkpoint);

/// The same for the newest checkpoint of the run folder that has a readable manifest, if there is one; its weights are not read.
void require_same_config_as_newest(const std::filesystem::path& dir, const std::string& now);

}  // namespace lodestone
