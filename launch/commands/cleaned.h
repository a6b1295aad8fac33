// What `filter` and `dedup` share: where rows go, how far the work is, and what it came to.
#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "comm/world.h"
#include "data/cleaning/pass.h"
#include "launch/config/options.h"
#include "launch/console/progress.h"

namespace lodestone {

/// --output, --dropped, --report, --fields, --source-field and --on-bad-row, for the list of a command's options.
std::vector<std::string> cleaning_option_names();
/// What they say, one a line, for its usage text.
extern const char* const cleaning_options_help;

/// A run of either command.
class Cleaning {
 public:
  /// Throws Error (usage): several ranks, an input that is no file of JSON lines, an output that exists or is an input.
  Cleaning(const World& world, const Options& given, std::string command, std::span<const std::string> arguments);

  const std::vector<std::filesystem::path>& inputs() const { return inputs_; }
  const std::filesystem::path& out() const { return out_; }
  CleaningPass::Settings settings() const;

  /// Judges the rows of every input. to(i) is where those of input i go that are kept. Throws Error (data, "F39") without rows.
  void run(const RowJudge& judge, Tally& tally, const std::function<LineWriter&(size_t)>& to);
  /// Gives the side files their names and prints what came of it. `more` joins the report.
  void finish_side_files(const Tally& tally, const OrderedJson& more);
  void print_summary(const Tally& tally) const;

 private:
  std::string command_;
  std::vector<std::string> arguments_;
  std::vector<std::filesystem::path> inputs_;
  std::filesystem::path out_, report_;
  std::string source_field_;
  int64_t allowed_bad_rows_;
  std::optional<LineWriter> dropped_;
  int64_t read_bytes_ = 0;
  double start_s_;
};

}  // namespace lodestone
