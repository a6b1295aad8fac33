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
/// The same with "rank=R host=H" behind the other places.
std::string error_line(const Error& error, int rank, const std::string& host);

/// What an exception says to a user: itself if it is an Error, memory that ran out (resource, "F14"), what the system refused
/// (descriptors and threads "F15", space "F19", a name that nothing can have "missing", else "F37"), else a defect (internal).
Error as_error(const std::exception& exception);

/// Replaces control characters and bytes that are not UTF-8, so that no file name or text can forge lines or drive a terminal.
std::string printable(std::string_view text);
/// A line on stderr for each, printable.
void print_warnings(std::span<const std::string> lines);

/// Appends records to DIR/metrics.jsonl, flushing each. A full disk is counted, not fatal (F52).
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

/// One line of progress that redraws itself on a terminal and is a plain line elsewhere. Rank 0 only.
class Progress {
 public:
  Progress(std::string what, int64_t total, bool enabled);
  ~Progress();
  /// `text` holds the figures; a bar, the count and the time left are added. plain: also print it when stdout is a file.
  enum class Plain { skip, print };
  void show(int64_t done, const std::string& text, Plain plain);
  /// Ends the redrawn line so that other output starts on its own line.
  void clear();

 private:
  std::string what_;
  int64_t total_, first_ = -1;
  bool enabled_, terminal_, open_ = false;
  double start_s_;
};

/// Seconds of a monotonic clock.
double now_s();
/// 754 -> "12m34s".
std::string duration_text(double seconds);

/// DIR/status.json, replaced atomically: {"state":"running|finished|stopped|failed","exit_code":..,"error":{..},"step":..}.
/// Best effort: a failure to write it never hides the failure that it reports.
void write_status(const std::filesystem::path& dir, std::string_view state, int exit_code, int64_t step, const std::string& error_text);

}  // namespace lodestone
