// What a run says: lines for people on the terminal, records for programs in metrics.jsonl, the root cause in status.json.
#pragma once

#include <cstdio>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/error.h"

namespace lodestone {

/// "error: CODE what; file=.. row=..; do: remedy", in one line, control characters escaped. For what fails before there are ranks.
std::string error_line(const Error& error);
/// The same with "rank=R host=H" behind the other places, unless they name a rank.
std::string error_line(const Error& error, int rank, const std::string& host);

/// What an exception says to a user: itself if it is an Error, memory that ran out (resource, "F14"), what the system refused
/// (descriptors and threads "F15", space "F19", a name that nothing can have "missing", else "F37"), else a defect (internal).
Error as_error(const std::exception& exception);

/// Replaces control characters and bytes that are not UTF-8, so that no file name or text can forge lines or drive a terminal.
std::string printable(std::string_view text);
/// A line on stderr; on a terminal a line of progress that stands there is erased first. From any thread.
void print_line(const std::string& line);
/// "warning: " and the text, printable, as such a line.
void print_warning(const std::string& text);
void print_warnings(std::span<const std::string> lines);

/// Appends records to DIR/metrics.jsonl, flushing each. A full disk is counted, not fatal.
class MetricsFile {
 public:
  MetricsFile() = default;
  /// Opens for appending; with keep_steps >= 0 drops records of steps >= keep_steps first (a resumed run writes them again).
  MetricsFile(const std::filesystem::path& dir, int64_t keep_steps);
  ~MetricsFile();
  MetricsFile(MetricsFile&& other) noexcept;
  MetricsFile& operator=(MetricsFile&& other) noexcept;
  /// One record: {"step":S,"key":value,...,"name":[value,...]}. Values that are not finite are written as null.
  void write(int64_t step, std::span<const std::pair<std::string, double>> values,
             const std::vector<std::pair<std::string, std::span<const double>>>& lists = {});
  int64_t lost_records() const { return lost_; }

 private:
  std::FILE* file_ = nullptr;
  int64_t lost_ = 0;
};

/// The values of `key` in DIR/metrics.jsonl with their steps, in the order of writing; lines that are not complete are left out.
std::vector<std::pair<int64_t, double>> metric_history(const std::filesystem::path& dir, const std::string& key);

/// Seconds of a monotonic clock.
double now_s();
/// 754 -> "12m34s".
std::string duration_text(double seconds);

/// DIR/status.json, replaced atomically: {"state":"running|finished|stopped|failed","exit_code":..,"error":{..},"step":..}.
/// Best effort: a failure to write it never hides the failure that it reports.
void write_status(const std::filesystem::path& dir, std::string_view state, int exit_code, int64_t step, const std::string& error_text);
/// "running", "finished", "stopped" or "failed", as DIR/status.json says; empty where it cannot be read.
std::string recorded_state(const std::filesystem::path& dir);

}  // namespace lodestone
