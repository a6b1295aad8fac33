// RowFilter: which rows of a corpus are trained on at all, and FilteredRows: the corpus without the others.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "data/batches/candidates.h"
#include "data/corpus/row_source.h"

namespace lodestone {

enum class RowsWithoutNegatives : uint8_t {
  refuse,     // the row is used, and choosing its group fails where G > 1
  leave_out,  // where G > 1
};

/// As configurations name it.
constexpr std::string_view name_of(RowsWithoutNegatives value) {
  switch (value) {
    case RowsWithoutNegatives::refuse:
      return "refuse";
    case RowsWithoutNegatives::leave_out:
      return "leave_out";
  }
  return {};
}

struct RowFilter {
  std::optional<double> positive_score_min{};     // scored pairs whose gold score is below are no positives: they are left out
  std::optional<double> teacher_scores_min{};     // rows whose highest teacher score is below are left out
  std::optional<double> teacher_scores_margin{};  // and those whose highest and lowest differ by less; rows without scores stay
  RowsWithoutNegatives without_negatives = RowsWithoutNegatives::refuse;

  bool active() const {
    return positive_score_min || teacher_scores_min || teacher_scores_margin || without_negatives == RowsWithoutNegatives::leave_out;
  }
};

enum class Verdict : uint8_t { kept = 0, score_too_low, margin_too_small, no_negative, no_positive };
constexpr size_t verdicts = 5;

/// Of the hashes of a row's texts and its scores alone: ids are not looked at. `usable` is work memory. Throws Error (data): scores that
/// do not match the texts.
Verdict judge(const PackedRow& row, const RowFilter& filter, const CandidateConfig& candidates, std::vector<int64_t>& usable);

/// The verdict on rows [begin, end) of the corpus, in the order of their global ids: each rank judges a share of them, and every rank
/// needs all. Reads no token ids. `source_groups`: G of each source in place of candidates.group; empty: that one everywhere.
std::vector<uint8_t> judge_rows(const RowSource& rows, const RowFilter& filter, const CandidateConfig& candidates, int64_t begin,
                                int64_t end, std::span<const int64_t> source_groups = {});

/// A corpus of which some rows are left out. Sources count and number the rows that are kept, in their order; global row ids stay
/// those of the corpus. So a plan made of these sources is as pure, and its epochs as exact, as any other. Two bits a row.
class FilteredRows final : public RowSource {
 public:
  /// `rows` must outlive it. verdict [rows.rows()] by global row id.
  FilteredRows(const RowSource& rows, std::span<const uint8_t> verdict);

  int64_t rows() const override { return rows_.rows(); }
  const std::vector<CorpusSource>& sources() const override { return sources_; }
  const std::vector<std::string>& prompts() const override { return rows_.prompts(); }
  int64_t row_of(int32_t source, int64_t k) const override;
  void read(int64_t row, PackedRow& out) const override { rows_.read(row, out); }
  void read_without_ids(int64_t row, PackedRow& out) const override { rows_.read_without_ids(row, out); }

  /// Bytes of what it keeps of each row.
  size_t memory_bytes() const;
  /// How many rows have each verdict.
  const std::array<int64_t, verdicts>& counts() const { return counts_; }

 private:
  struct Kept {                   // of one source, by the places of its rows in the corpus
    std::vector<uint64_t> bits;   // 64 places each
    std::vector<int64_t> before;  // rows kept before each
  };

  const RowSource& rows_;
  std::vector<CorpusSource> sources_;
  std::vector<Kept> kept_;
  std::array<int64_t, verdicts> counts_{};
};

}  // namespace lodestone
