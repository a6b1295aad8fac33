// Mining: carries scores of negatives to the ranks that judge them, and replacements to every rank.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "data/mining/hard_negatives.h"

namespace lodestone {

/// What mining anew needs of the rest of the program.
class NegativeRanker {
 public:
  virtual ~NegativeRanker() = default;
  /// Ranks the stored negatives of these rows by the current weights: for each row the places among those to choose from
  /// (usable_negatives), hardest first (losses/negative_scores.h: rank_candidates). Not collective: ranks are given different rows, or
  /// none.
  virtual std::vector<std::vector<int32_t>> rank(std::span<const int64_t> rows) = 0;
};

/// What probing needs of it: at a check, rows are scored that training has not drawn lately.
struct ProbedScores {
  std::vector<int32_t> available;  // [rows] lengths of their lists
  std::vector<double> scores;      // [rows, n] as the loss would see them
};
class NegativeProbe {
 public:
  virtual ~NegativeProbe() = default;
  /// Global ids of the rows at places [first, first + count) of a sequence without end, the same on all ranks.
  virtual std::vector<int64_t> rows(int64_t first, int64_t count) = 0;
  /// Scores of these rows' negatives in use, n = `negatives` each, by the current weights. `step` names dropout masks. A row's
  /// scores do not depend on the rows beside it. Not collective.
  virtual ProbedScores score(int64_t step, std::span<const int64_t> rows, int64_t negatives, const NegativeWindows& windows) = 0;
};

/// One per rank; all ranks make the same calls of the functions marked collective. What happens depends on the scores alone, so
/// any number of ranks gives the same windows, provided the scores are the same bits.
/// A check sends 40 bytes per score and 32 per event to every rank.
class Mining {
 public:
  /// `ranker` is needed for MiningRefill::remine, `probe` where config.probe is not 0; they must then outlive this.
  Mining(Communicator& comm, const HardNegativesConfig& config, NegativeRanker* ranker, NegativeProbe* probe = nullptr);

  /// What collating asks. Changes within end_of_step() and restore() only.
  const HardNegatives& negatives() const { return negatives_; }
  const HardNegativesConfig& config() const { return negatives_.config(); }

  /// Scores that this rank's batch had in `step`; kept until the next check. rows and available [B]: lengths of their lists.
  /// scores: under rule `each` n per row, in the order of the places in use; under rule `mean` any equal number per row (n, or
  /// their mean alone), of which the mean counts. `part` orders batches of one step that share rows.
  void observe(int64_t step, int64_t part, std::span<const int64_t> rows, std::span<const int32_t> available,
               std::span<const double> scores);
  /// Collective, after every optimizer step; `finished` counts steps from 1. Nothing unless a check is due. Probes first. Windows
  /// change here: nothing may collate ahead beyond the step of a check (Loader::release).
  std::optional<MiningReport> end_of_step(int64_t finished);

  /// Collective: the whole state, complete on every rank, to go into a checkpoint's documents as mining_state_file.
  MiningState state();
  /// Takes up a state, whatever the number of ranks that saved it. Not collective. On a new object only.
  void restore(const MiningState& state) { negatives_.restore(state, comm_.rank(), comm_.size()); }

 private:
  /// Observes this rank's share of the rows that the check after `finished` steps probes.
  void probe_rows(int64_t finished);
  /// Brings every score observed so far to its owner.
  void hand_over();
  NegativeRankings rank_anew(std::span<const NegativeEvent> events);

  Communicator& comm_;
  HardNegatives negatives_;
  NegativeRanker* ranker_;
  NegativeProbe* probe_;
  std::vector<NegativeScore> observed_;
};

}  // namespace lodestone
