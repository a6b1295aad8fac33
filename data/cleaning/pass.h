// CleaningPass: rows are read once, judged, and written where they belong, byte for byte and in their order.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "data/cleaning/tally.h"
#include "data/records/jsonl.h"
#include "data/records/line_writer.h"

namespace lodestone {

/// What is said of a row.
struct RowVerdict {
  std::string_view reason = {};  // empty: it is kept
  std::string note = {};         // members of a JSON object for the side file, each with a comma behind it
};
using RowJudge = std::function<RowVerdict(std::span<const Field> fields)>;

/// The reason of rows that cannot be read.
inline constexpr std::string_view bad_row_reason = "bad_row";

class CleaningPass {
 public:
  struct Settings {
    std::string source_field;      // names the source of a row; empty: source_of()
    int64_t allowed_bad_rows = 0;  // so many are dropped, and the next one ends the pass
  };
  /// dropped, which may be null: the side file. A line {"reason": .., "file": .., "line": .., "row": THE ROW} for each row that is dropped;
  /// of a bad one "error" and "text" take the place of "row".
  CleaningPass(Settings settings, RowJudge judge, Tally& tally, LineWriter* dropped)
      : settings_(std::move(settings)), judge_(std::move(judge)), tally_(tally), dropped_(dropped) {}

  /// Reads a file of JSON lines to its end. source: what its rows are called that do not say it. tick(consumed bytes of this file) after
  /// every row. Throws what the judge and the readers throw; BadRow beyond the number allowed.
  void run(const std::filesystem::path& file, const std::string& source, LineWriter& kept, const std::function<void(int64_t)>& tick);

 private:
  void judge_row(const JsonLines& rows, const std::string& source, LineWriter& kept);
  void drop_bad_row(const BadRow& bad, const JsonLines& rows, const std::string& source);
  void write_dropped(const JsonLines& rows, const RowVerdict& verdict, std::string_view row);

  Settings settings_;
  RowJudge judge_;
  Tally& tally_;
  LineWriter* dropped_;
  int64_t bad_rows_ = 0;
  std::string entry_;
};

}  // namespace lodestone
