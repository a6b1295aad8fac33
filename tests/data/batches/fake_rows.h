// Rows in memory, in place of a corpus.
#pragma once

#include <limits>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/rng.h"
#include "data/corpus/row_source.h"

namespace lodestone::test {

struct FakeRow {
  std::vector<int32_t> query{};
  std::vector<std::vector<int32_t>> positives{}, negatives{};
  int32_t source = 0, prompt = -1;
  double score = std::numeric_limits<double>::quiet_NaN();
  std::vector<double> teacher_scores{};
};

class FakeRows final : public RowSource {
 public:
  explicit FakeRows(std::vector<FakeRow> rows, std::vector<std::string> prompts = {})
      : rows_(std::move(rows)), prompts_(std::move(prompts)) {
    for (const FakeRow& row : rows_) {
      while (static_cast<int32_t>(sources_.size()) <= row.source) {
        sources_.push_back({"s" + std::to_string(sources_.size()), 0});
        of_source_.emplace_back();
      }
      ++sources_[static_cast<size_t>(row.source)].rows;
      of_source_[static_cast<size_t>(row.source)].push_back(&row - rows_.data());
    }
  }
  int64_t rows() const override { return static_cast<int64_t>(rows_.size()); }
  const std::vector<CorpusSource>& sources() const override { return sources_; }
  const std::vector<std::string>& prompts() const override { return prompts_; }
  int64_t row_of(int32_t source, int64_t k) const override { return of_source_.at(static_cast<size_t>(source)).at(static_cast<size_t>(k)); }
  void read(int64_t row, PackedRow& out) const override {
    if (row == fail_at) throw Error(ExitCode::data, "F34", "the row cannot be read").at("row", row);
    const FakeRow& from = rows_.at(static_cast<size_t>(row));
    out.query = text(from.query);
    out.positives.clear();
    out.negatives.clear();
    for (const auto& ids : from.positives) out.positives.push_back(text(ids));
    for (const auto& ids : from.negatives) out.negatives.push_back(text(ids));
    out.source = from.source;
    out.prompt = from.prompt;
    out.score = from.score;
    out.teacher_scores = from.teacher_scores;
  }

  int64_t fail_at = -1;  // reading this row fails

  static uint64_t hash(const std::vector<int32_t>& ids) {
    Key key(17);
    for (const int32_t id : ids) key = key.with(static_cast<uint64_t>(id));
    return key.value();
  }

 private:
  static PackedText text(const std::vector<int32_t>& ids) { return {ids, hash(ids), hash(ids)}; }

  std::vector<FakeRow> rows_;
  std::vector<std::string> prompts_;
  std::vector<CorpusSource> sources_;
  std::vector<std::vector<int64_t>> of_source_;
};

/// n rows of one source whose texts have 1 to 9 tokens, all different: query of row r starts with 1000 r.
inline std::vector<FakeRow> make_rows(int n, int positives, int negatives) {
  std::vector<FakeRow> rows;
  for (int r = 0; r < n; ++r) {
    const auto text = [r](int place) {
      std::vector<int32_t> ids(static_cast<size_t>(1 + (r * 7 + place * 3) % 9));
      for (size_t i = 0; i < ids.size(); ++i) ids[i] = 1000 * r + 20 * place + static_cast<int>(i);
      return ids;
    };
    FakeRow row{.query = text(0)};
    for (int p = 0; p < positives; ++p) row.positives.push_back(text(1 + p));
    for (int k = 0; k < negatives; ++k) row.negatives.push_back(text(1 + positives + k));
    rows.push_back(row);
  }
  return rows;
}

}  // namespace lodestone::test
