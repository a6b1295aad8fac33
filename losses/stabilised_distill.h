// Stabilised distillation: each candidate of a query is a positive in turn, weighted by its reward, against all that rank below.
#pragma once

#include <string_view>

#include "core/group_losses.h"
#include "losses/info_nce.h"
#include "losses/score_block.h"
#include "losses/settings.h"

namespace lodestone {

/// In which order a query's own candidates stand.
enum class RewardOrder : uint8_t {
  full_sort,      // by falling reward; equal rewards as they come in the group
  released_code,  // as the code released for LLM-Embedder: the first candidate stays first whatever its reward, the others are
                  // sorted, and the teacher temperature is 1
};

/// As configurations name it.
constexpr std::string_view name_of(RewardOrder value) {
  switch (value) {
    case RewardOrder::full_sort:
      return "paper";
    case RewardOrder::released_code:
      return "released_code";
  }
  return {};
}

/// One query. With its own candidates in order, w = softmax(reward / teacher_temperature) and z = cosine / temperature:
///   loss = sum_g w_g (log(exp(z_g) + sum_{k>g} exp(z_k) + exp(others)) - z_g)
/// so candidate g competes with itself, its lower-ranked companions and all passages of other queries, not with better ones.
struct StabilisedRow {
  std::span<const double> logits, rewards;  // [G] z and reward of the own candidates, in the order of the group
  double others;                            // log sum exp of z over the passages of other queries; -infinity if there are none
  double teacher_temperature;
  RewardOrder order;
};
/// d_logits [G] = gradient. places [G] is overwritten: the order of the candidates; log_weights [G] too. terms [G] (or empty) += the
/// summands of the loss, best candidate first.
CascadeLoss stabilised_row(const StabilisedRow& row, std::span<int64_t> places, std::span<double> log_weights, std::span<double> d_logits,
                           std::span<double> terms);

/// The specification, on plain arrays and one process: the mean of all rows.
struct StabilisedInput {
  std::span<const double> logits = {};   // [N,N*G] cosine / temperature; columns i*G .. i*G+G-1 are query i's own
  std::span<const double> rewards = {};  // [N,G]
  int64_t group = 1;
  double teacher_temperature = 1;  // alpha
  RewardOrder order = RewardOrder::full_sort;
};
/// Returns the loss; d_logits [N,N*G] = its gradient; position_terms [G] = the parts of the loss by place in the order.
double stabilised_distillation(const StabilisedInput& in, std::span<double> d_logits, std::span<double> position_terms);

struct StabilisedOptions {
  double temperature = 0.05;
  double teacher_temperature = 1;
  RewardOrder order = RewardOrder::full_sort;
  Candidates candidates = Candidates::all_ranks;         // whose passages the others are
  Duplicates duplicates = Duplicates::kept;              // masked: other queries' passages only, the own candidates all stay
  ScorePrecision score_precision = ScorePrecision::f32;  // with own_group they are f32
  int64_t tile_elements = int64_t{1} << 20;              // logits held at once, as in InfoNceOptions
};
/// A temperature that is not positive; masking among other queries' passages, or rounded scores, with own_group.
std::optional<Refusal> refused(const StabilisedOptions& options);

/// The same on tensors and ranks, tile by tile: local queries meet all candidates, the gradient of every candidate goes back to
/// the rank that owns it. A source without in-batch negatives has no others. Throws Error (data) on rows without teacher scores.
class StabilisedDistillation final : public Loss {
 public:
  /// Throws Error (usage, "config") where its settings are refused.
  explicit StabilisedDistillation(const StabilisedOptions& options);
  LossResult evaluate(Exec& ex, const Group& group, ConstTensor emb, const Pairs& pairs, double weight, Tensor d_emb,
                      Tensor share) override;

 private:
  struct Problem;
  void distil(Exec& ex, const Problem& problem) const;
  /// tile [R,M]: cosines with other queries' passages (-infinity elsewhere) in, d loss / d cosine out. own [R,G] f64: cosines with
  /// the own passages in, d loss / d cosine out. rows: of the problem. total += the sum of the rows' losses, unweighted.
  void distil_rows(Exec& ex, const Problem& problem, Slice rows, Tensor tile, Tensor own, Tensor total) const;

  StabilisedOptions options_;
};

}  // namespace lodestone
