// The batch-balanced retrieval loss of Conan: queries are shared between ranks, hard negatives never leave theirs.
#pragma once

#include <string_view>

#include "losses/candidates.h"
#include "losses/false_negatives.h"
#include "losses/loss.h"
#include "losses/score_precision.h"
#include "losses/settings.h"

namespace lodestone {

/// Whose negatives a query is told from.
enum class NegativeScope : uint8_t {
  all,  // those of every query of the global batch
  own,  // those mined for it
};

/// As configurations name it.
constexpr std::string_view name_of(NegativeScope value) {
  switch (value) {
    case NegativeScope::all:
      return "all";
    case NegativeScope::own:
      return "own";
  }
  return {};
}

/// Whether other queries' positives are candidates of a query.
enum class OtherPositives : uint8_t { excluded, included };

/// The specification, on plain scores and one process (Li et al. 2024, "Conan-embedding", equation 3, without its CoSENT term).
/// With s divided by the temperature, and c over the candidates of query i beside its positive:
///   loss = 1/N sum_i ( log( exp s(i, i G) + sum_c exp s(i, c) ) - s(i, i G) )
struct CbbInput {
  std::span<const double> scores = {};  // [N,N*G] of query and passage; passages query-major, the positive first
  int64_t group = 1;                    // G
  double temperature = 0.01;
  NegativeScope negatives = NegativeScope::all;
  OtherPositives other_positives = OtherPositives::excluded;
  TextHashes hashes = {};  // given: false negatives are masked
};

/// Returns the loss; d_scores [N,N*G] is set to its gradient.
double cbb(const CbbInput& in, std::span<double> d_scores);

struct CbbOptions {
  double temperature = 0.01;
  NegativeScope negatives = NegativeScope::all;
  OtherPositives other_positives = OtherPositives::excluded;
  Duplicates duplicates = Duplicates::kept;
  ScorePrecision score_precision = ScorePrecision::f32;  // of passages that all queries meet; a query's own alone are f32
  int64_t tile_elements = int64_t{1} << 20;              // scores held at once; a tile has at least min(N, 64) rows
};
/// A temperature that is not positive; rounded scores where no query meets another one's passages.
std::optional<Refusal> refused(const CbbOptions& options);

/// The same on tensors and ranks. The queries' vectors are gathered; each rank scores all of them against its own passages, and
/// of those scores only the maximum and the sum of exponentials of each query travel. The gradient of a query is summed over
/// ranks and returned to its owner, that of a passage is complete where it is. What is sent does not depend on G. Scores are
/// computed twice, for the sums and for the gradient, so that one tile of them exists at a time. Where a batch's source says that
/// other queries' passages are no negatives, a query has its own group only. To mask false negatives, a rank needs three hashes of every
/// query and its positive besides, and those of its own passages.
class Cbb final : public Loss {
 public:
  /// Throws Error (usage, "config") where its settings are refused.
  explicit Cbb(const CbbOptions& options);
  LossResult evaluate(Exec& ex, const Group& group, ConstTensor emb, const Pairs& pairs, double weight, Tensor d_emb,
                      Tensor share) override;

 private:
  bool own_group_only(const Pairs& pairs) const {
    return !pairs.in_batch_negatives || (options_.negatives == NegativeScope::own && options_.other_positives == OtherPositives::excluded);
  }
  LossCounts own_group(Exec& ex, const Pairs& pairs, const UnitTexts& texts, double row_weight, Tensor share) const;
  LossCounts shared_queries(Exec& ex, const Group& group, const Pairs& pairs, const UnitTexts& texts, double row_weight,
                            Tensor share) const;

  CbbOptions options_;
};

}  // namespace lodestone
