// HardNegatives: which rows' negatives have become easy, and what takes their place.
#pragma once

#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/tensor.h"
#include "data/mining/mining_state.h"
#include "data/mining/negative_windows.h"

namespace lodestone {

enum class MiningRule : uint8_t { mean, each };  // judged by the mean score of a row's negatives, or one by one

/// As configurations name it.
constexpr std::string_view name_of(MiningRule value) {
  switch (value) {
    case MiningRule::mean:
      return "mean";
    case MiningRule::each:
      return "each";
  }
  return {};
}

enum class MiningRefill : uint8_t { slide, remine };  // the next ones of the list, or the first ones of a list made anew

/// As configurations name it.
constexpr std::string_view name_of(MiningRefill value) {
  switch (value) {
    case MiningRefill::slide:
      return "slide";
    case MiningRefill::remine:
      return "remine";
  }
  return {};
}

/// Dynamic hard-negative mining of Conan-embedding (arXiv 2408.15710, section 3.3); rule `each` is that of its second version.
/// A score is the similarity of query and negative over the whole vector, as the model folder means it; the thresholds are for cosines.
/// S_init is the first score of what is in use, S_cur the last.
struct HardNegativesConfig {
  int64_t negatives = 8;  // n in use per row
  int64_t every = 100;    // optimizer steps from check to check
  int64_t probe = 0;      // rows that are scored besides at each check, over all ranks
  MiningRule rule = MiningRule::mean;
  MiningRefill refill = MiningRefill::slide;
  int64_t first_end = 10;                      // the first window ends here: what lies before it is too close to the positive
  double mean_ratio = 1.15, mean_limit = 0.8;  // mean: replaced when ratio S_cur < S_init and |S_cur| < limit
  double each_ratio = 1.2, each_limit = 0.7, each_floor = 0.4;  // each: when ratio S_cur < S_init and S_cur < limit, or at
                                                                // first sight when S_init < floor
};

/// Throws Error (usage, "config") on impossible values, and on `each` together with `remine`.
void require_valid(const HardNegativesConfig& config);

bool mean_became_easy(const HardNegativesConfig& config, double initial, double current);
bool negative_became_easy(const HardNegativesConfig& config, double initial, double current);
/// Places [(i-1) n + first_end, i n + first_end) of the list after i replacements, moved to begin at 0 where they would begin
/// before it.
Slice negative_window(const HardNegativesConfig& config, int64_t replacements);
/// Whether a check follows after so many optimizer steps.
inline bool mining_due(const HardNegativesConfig& config, int64_t finished_steps) {
  return finished_steps > 0 && finished_steps % config.every == 0;
}
/// The rank that holds a row's scores.
int mining_owner(int64_t row, int world);

/// One score as the loss saw it. `available` is the length of the row's list of negatives. Scores of the same row, negative and
/// step (a batch whose parts hold different negatives of one row) are averaged in the order of `part`.
struct NegativeScore {
  int64_t row = 0, step = 0;
  int32_t negative = 0;  // rule `each`: which of the n; rule `mean`: 0, and `score` is the mean
  int32_t part = 0;
  int64_t available = 0;
  double score = 0;
};

/// What a check found, to be told to all ranks.
struct NegativeEvent {
  enum Kind : int32_t { became_easy, first_scored };
  int64_t row = 0;
  int32_t negative = 0, kind = became_easy;
  int64_t available = 0;
  double score = 0;  // S_cur of what became easy; S_init of what took the place of others
};

struct MiningCheck {
  std::vector<NegativeEvent> events;  // by row, negative and kind
  int64_t checked = 0;                // scores that were looked at
};

struct MiningReport {
  int64_t checked = 0, replaced = 0, exhausted = 0;  // exhausted: rows whose list ended at this check; they keep what they have
  int64_t first_scored = 0;                          // replacements that were scored for the first time
  double old_score_sum = 0, new_score_sum = 0;
  /// Mean score of the negatives that were replaced, when they were; of their successors, when first scored. NaN without any.
  double old_score() const { return old_score_sum / static_cast<double>(replaced); }
  double new_score() const { return new_score_sum / static_cast<double>(first_scored); }
};

/// Places in the row's list of negatives, hardest first.
using NegativeRankings = std::unordered_map<int64_t, std::vector<int32_t>>;

/// Of one rank: the scores of the rows it owns (56 bytes each), and of all ranks' rows what was replaced (40 bytes each), the
/// same everywhere. It does not communicate: the caller carries scores to owners and events to everyone (launch/mining/mining.h).
/// What comes out depends on the scores alone, not on who owns what.
class HardNegatives final : public NegativeWindows {
 public:
  explicit HardNegatives(const HardNegativesConfig& config);
  const HardNegativesConfig& config() const { return config_; }

  int64_t first(int64_t row) const override;
  std::span<const int32_t> chosen(int64_t row) const override;
  /// How often a row's window was replaced; under rule `each`, how many of its negatives.
  int64_t replacements(int64_t row) const;
  bool exhausted(int64_t row) const;

  /// Takes scores of rows owned here, in any order, none of an earlier step than those of the call before. Ignores scores that
  /// are not finite.
  void add(std::vector<NegativeScore> scores);
  /// Judges the rows scored since the last check.
  MiningCheck check();
  /// Carries out the events of all ranks, sorted by row, negative and kind. With MiningRefill::remine, `rankings` holds new lists
  /// of rows that became easy; a row without one, or with no more than n places, keeps its negatives for good. Returns counts
  /// without `checked`.
  MiningReport replace(std::span<const NegativeEvent> events, const NegativeRankings& rankings);

  MiningState state() const;
  /// Keeps what rank `rank` of `world` needs. Only on a new object.
  void restore(const MiningState& state, int rank, int world);

 private:
  struct Score {
    double initial = 0, current = 0;
    int32_t available = 0, flags = 0;
  };
  struct Row {
    int32_t replacements = 0, next = 0;  // next: place of the first negative never used (rule `each`)
    bool exhausted = false;
  };
  int64_t key(int64_t row, int64_t negative) const { return row * per_row_ + negative; }
  /// Puts something of the list in the place of what became easy; false when the list has nothing left.
  bool refill(Row& row, const NegativeEvent& easy, const NegativeRankings& rankings);

  HardNegativesConfig config_;
  int64_t per_row_;                            // scores per row
  std::unordered_map<int64_t, Score> scores_;  // by key(); of rows owned here
  std::vector<int64_t> refreshed_;             // keys scored since the last check
  std::unordered_map<int64_t, Row> rows_;      // the same on all ranks
  std::unordered_map<int64_t, std::vector<int32_t>> chosen_;
};

}  // namespace lodestone
