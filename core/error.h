// The one exception type, its exit codes, and the check that throws it.
#pragma once

#include <cstdint>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace lodestone {

/// What a process returns to its shell. Documented in launch/README.md; never 1, 110, 126-165, 205 (shells and mpirun use those).
enum class ExitCode : int {
  finished = 0,
  usage = 2,           // command line, configuration, vocabulary, impossible world size
  data = 3,            // training data, corpus shards
  checkpoint = 4,      // unreadable or mismatching checkpoint or model folder
  storage = 5,         // disk full, I/O error, not writable
  numerical = 6,       // loss or gradient not finite
  communication = 7,   // a rank hangs or is lost
  other_rank = 8,      // stopped because another rank failed
  resource = 9,        // memory, descriptors, threads
  internal = 10,       // a check of our own failed
  stopped_early = 75,  // stopped by a signal or time limit, checkpoint saved: run again to go on
  ended_unsaved = 76,  // ended by a second signal, nothing saved
};

/// A failure that a user, a file or a cluster can cause. Printed once, by the rank where it began, as
///   error: CODE what; WHERE rank=R host=H step=S; do: REMEDY
class Error : public std::runtime_error {
 public:
  Error(ExitCode exit_code, std::string code, const std::string& what, std::string remedy = {})
      : std::runtime_error(what), exit_code_(exit_code), code_(std::move(code)), remedy_(std::move(remedy)) {}

  /// Adds a place, e.g. at("file", path).at("row", 17). Whoever knows it attaches it; the order of calls is kept.
  template <class T>
  Error& at(std::string_view key, const T& value) {
    std::ostringstream out;
    out << where_ << (where_.empty() ? "" : " ") << key << '=' << value;
    where_ = out.str();
    return *this;
  }
  /// Sets what the user can do about it.
  Error& remedy(std::string text) {
    remedy_ = std::move(text);
    return *this;
  }

  ExitCode exit_code() const { return exit_code_; }
  const std::string& code() const { return code_; }
  const std::string& where() const { return where_; }
  const std::string& remedy() const { return remedy_; }

 private:
  ExitCode exit_code_;
  std::string code_;   // an F-number of the fault catalogue in docs/faults.md, or a short name such as "config"
  std::string where_;  // "file=a.jsonl row=3"
  std::string remedy_;
};

/// Streams its parts into one string: cat("rank ", 3) == "rank 3".
template <class... Parts>
std::string cat(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

[[noreturn]] inline void throw_internal(const char* file, int line, const char* condition, const std::string& message) {
  throw Error(ExitCode::internal, "internal", message.empty() ? cat("check failed: ", condition) : message,
              "report this with the command that caused it")
      .at("source", cat(file, ":", line));
}

}  // namespace lodestone

/// Always on. For what a caller, file or cluster can get wrong when no better error is known; file formats and
/// configuration throw Error directly, with their own exit code, place and remedy.
#define LODE_CHECK(condition, ...)                                                                                \
  do {                                                                                                            \
    if (!(condition)) ::lodestone::throw_internal(__FILE__, __LINE__, #condition, ::lodestone::cat(__VA_ARGS__)); \
  } while (false)
