// How rows are judged, and how those that are kept are found.
#include "data/batches/row_filter.h"

#include <algorithm>
#include <bit>

#include "core/error.h"

namespace lodestone {

Verdict judge(const PackedRow& row, const RowFilter& filter, const CandidateConfig& candidates, std::vector<int64_t>& usable) {
  require_matching_scores(row);
  if (filter.positive_score_min && row.score < *filter.positive_score_min) return Verdict::no_positive;  // NaN, of no score, is not below
  if (!row.teacher_scores.empty()) {
    const auto [lowest, highest] = std::minmax_element(row.teacher_scores.begin(), row.teacher_scores.end());
    if (filter.teacher_scores_min && *highest < *filter.teacher_scores_min) return Verdict::score_too_low;
    if (filter.teacher_scores_margin && *highest - *lowest < *filter.teacher_scores_margin) return Verdict::margin_too_small;
  }
  if (filter.without_negatives != RowsWithoutNegatives::leave_out || candidates.group == 1) return Verdict::kept;
  usable_negatives(row, candidates.positive, usable);
  return usable.empty() ? Verdict::no_negative : Verdict::kept;
}

std::vector<uint8_t> judge_rows(const RowSource& rows, const RowFilter& filter, const CandidateConfig& candidates, int64_t begin,
                                int64_t end, std::span<const int64_t> source_groups) {
  std::vector<uint8_t> result;
  CandidateConfig of_source = candidates;
  PackedRow row;
  std::vector<int64_t> usable;
  for (int64_t id = begin; id < end; ++id) {
    rows.read_without_ids(id, row);
    try {
      of_source.group = group_of_source(source_groups, row.source, candidates.group);
      result.push_back(static_cast<uint8_t>(judge(row, filter, of_source, usable)));
    } catch (Error& error) {
      error.at("row", id).at("source", rows.sources().at(static_cast<size_t>(row.source)).name);
      throw;
    }
  }
  return result;
}

FilteredRows::FilteredRows(const RowSource& rows, std::span<const uint8_t> verdict)
    : rows_(rows), sources_(rows.sources()), kept_(sources_.size()) {
  LODE_CHECK(std::ssize(verdict) == rows.rows(), verdict.size(), " verdicts on ", rows.rows(), " rows");
  for (const uint8_t v : verdict) ++counts_.at(v);
  for (size_t s = 0; s < sources_.size(); ++s) {
    Kept& kept = kept_[s];
    const auto all = static_cast<size_t>(sources_[s].rows);
    kept.bits.assign((all + 63) / 64, 0);
    for (size_t k = 0; k < all; ++k) {
      const auto row = static_cast<size_t>(rows.row_of(static_cast<int32_t>(s), static_cast<int64_t>(k)));
      if (verdict[row] == static_cast<uint8_t>(Verdict::kept)) kept.bits[k / 64] |= uint64_t{1} << k % 64;
    }
    int64_t before = 0;
    for (const uint64_t word : kept.bits) {
      kept.before.push_back(before);
      before += std::popcount(word);
    }
    sources_[s].rows = before;
  }
}

size_t FilteredRows::memory_bytes() const {
  size_t bytes = 0;
  for (const Kept& kept : kept_) bytes += std::span(kept.bits).size_bytes() + std::span(kept.before).size_bytes();
  return bytes;
}

int64_t FilteredRows::row_of(int32_t source, int64_t k) const {
  const Kept& kept = kept_.at(static_cast<size_t>(source));
  LODE_CHECK(k >= 0 && k < sources_[static_cast<size_t>(source)].rows, "row ", k, " of source ",
             sources_[static_cast<size_t>(source)].name);
  const auto w = static_cast<size_t>(std::upper_bound(kept.before.begin(), kept.before.end(), k) - kept.before.begin() - 1);
  uint64_t word = kept.bits[w];
  for (int64_t i = kept.before[w]; i < k; ++i) word &= word - 1;  // forget the lowest
  return rows_.row_of(source, static_cast<int64_t>(64 * w) + std::countr_zero(word));
}

}  // namespace lodestone
