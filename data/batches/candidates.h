// CandidateChooser: which of a row's texts are its passages in a batch.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "core/rng.h"
#include "data/corpus/corpus.h"
#include "data/mining/negative_windows.h"

namespace lodestone {

/// Which text is the positive. Of equal scores the first in the row counts.
enum class SelectPositive : uint8_t {
  random,  // one of the positives, drawn
  first,
  teacher,      // the text with the highest teacher score among positives and negatives; one of the negatives then is none any more
  teacher_pos,  // "teacher-pos": the positive with the highest teacher score
};

/// As configurations name it.
constexpr std::string_view name_of(SelectPositive value) {
  switch (value) {
    case SelectPositive::random:
      return "random";
    case SelectPositive::first:
      return "first";
    case SelectPositive::teacher:
      return "teacher";
    case SelectPositive::teacher_pos:
      return "teacher-pos";
  }
  return {};
}

/// Which of the negatives are taken. A list shorter than G-1 is gone through again from its start.
enum class SelectNegative : uint8_t {
  random,  // drawn without replacement from the list, which is first repeated ceil((G-1) / count) times
  first,
  teacher_minus,  // "teacher-": those with the lowest teacher scores, the lowest first
  teacher_plus,   // "teacher+": those with the highest, the highest first
  window,         // those in use by NegativeWindows, of the list as it stands
};

/// As configurations name it.
constexpr std::string_view name_of(SelectNegative value) {
  switch (value) {
    case SelectNegative::random:
      return "random";
    case SelectNegative::first:
      return "first";
    case SelectNegative::teacher_minus:
      return "teacher-";
    case SelectNegative::teacher_plus:
      return "teacher+";
    case SelectNegative::window:
      return "window";
  }
  return {};
}

struct CandidateConfig {
  int64_t group = 1;  // G: the positive and G-1 negatives
  SelectPositive positive = SelectPositive::random;
  SelectNegative negative = SelectNegative::random;
};

/// G of a source where some have less: its entry of `source_groups`, or where these are empty `group`.
inline int64_t group_of_source(std::span<const int64_t> source_groups, int32_t source, int64_t group) {
  if (source_groups.empty()) return group;
  LODE_CHECK(static_cast<size_t>(source) < source_groups.size(), "source ", source, " of ", source_groups.size());
  return source_groups[static_cast<size_t>(source)];
}

/// Throws Error (data): not one teacher score for each positive and negative, or for none.
void require_matching_scores(const PackedRow& row);
/// places = the row's negatives to choose from, in their order, as places in its texts: neither one that the highest teacher score makes
/// the positive, nor any whose text is that positive's or one of the row's positives. Whatever chooses, counts or ranks a row's negatives
/// asks here, so that their numbers mean the same everywhere. Of hashes and scores alone.
void usable_negatives(const PackedRow& row, SelectPositive positive, std::vector<int64_t>& places);
/// How many of the row's negatives are texts of its positives, and so never used as negatives.
int64_t positives_among_negatives(const PackedRow& row);
/// Throws Error (data), of the row's hashes and scores alone: what CandidateChooser::choose() would throw for it. usable =
/// usable_negatives() where G > 1, else nothing.
void require_choosable(const PackedRow& row, const CandidateConfig& config, std::vector<int64_t>& usable);

class CandidateChooser {
 public:
  /// `windows` must outlive it; needed by SelectNegative::window alone. Throws Error (usage): an empty group, no windows.
  explicit CandidateChooser(const CandidateConfig& config, const NegativeWindows* windows = nullptr);

  /// Passages of the next choices, at least 1.
  void set_group(int64_t group) { config_.group = group; }
  /// Makes the choice for a row: choice() then has it. Random ones are drawn from `key`, which names row and step.
  /// Throws Error (data): no positive, no negative where G > 1, no teacher scores where they decide, as many as are no use.
  void choose(const PackedRow& row, int64_t row_id, Key key);

  /// [G] places in the row's texts, positives then negatives, of the positive and the negatives chosen. Teacher scores have the
  /// same order.
  std::span<const int64_t> choice() const { return choice_; }
  /// How many negatives there were to choose from (usable_negatives); 0 where G = 1.
  int64_t usable() const { return usable_; }
  const CandidateConfig& config() const { return config_; }

 private:
  void choose_positive(const PackedRow& row, Key key);
  void choose_negatives(const PackedRow& row, int64_t row_id, Key key);

  CandidateConfig config_;
  const NegativeWindows* windows_;
  std::vector<int64_t> choice_;
  std::vector<int64_t> negatives_;  // places of those to choose from
  int64_t usable_ = 0;
};

/// The text at a place of a row's positives and negatives.
inline const PackedText& text_at(const PackedRow& row, int64_t place) {
  const auto p = static_cast<int64_t>(row.positives.size());
  return place < p ? row.positives[static_cast<size_t>(place)] : row.negatives[static_cast<size_t>(place - p)];
}

}  // namespace lodestone
