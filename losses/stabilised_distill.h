// Stabilised distillation: each of a query's candidates is a positive in turn, weighted by its reward, against all that rank below.
#pragma once

#include "losses/info_nce.h"

namespace lodestone {

/// In which order a query's own candidates stand.
enum class RewardOrder : uint8_t {
  full_sort,      // by falling reward; equal rewards as they come in the group
  released_code,  // as the code released for LLM-Embedder: the first candidate stays first whatever its reward, the others are
                  // sorted, and the teacher temperature is 1
};

/// One query. With its own candidates in order, w = softmax(reward / teacher_temperature) and z = cosine / temperature:
///   loss = sum_g w_g (log(exp(z_g) + sum_{k>g} exp(z_k) + exp(others)) - z_g)
/// so candidate g competes with itself, its lower-ranked companions and all passages of other queries, not with better ones.
struct StabilisedRow {
  std::span<const double> logits, rewards;  // [G] z and reward of the own candidates, in the order of the group
  double others;                            // log sum exp of z over the passages of other queries; -infinity if there are none
  double teacher_temperature;
  RewardOrder order;
};
struct StabilisedRowLoss {
  double loss;
  double others_normaliser;  // d loss / d z = exp(z - others_normaliser) for every passage of another query
};
/// d_logits [G] = gradient. places [G] is overwritten: the order of the candidates. terms [G] (or empty) += the summands of the
/// loss, best candidate first.
StabilisedRowLoss stabilised_row(const StabilisedRow& row, std::span<int64_t> places, std::span<double> d_logits,
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
  Candidates candidates = Candidates::all_ranks;  // whose passages the others are
  int64_t tile_elements = int64_t{1} << 20;       // logits held at once, as in InfoNceOptions
};

/// The same on tensors and ranks, tile by tile: local queries meet all candidates, the gradient of every candidate goes back to the
/// rank that owns it. A source without in-batch negatives has no others. Throws Error (data) on rows without teacher scores.
class StabilisedDistillation final : public Loss {
 public:
  explicit StabilisedDistillation(const StabilisedOptions& options) : options_(options) {}
  double evaluate(Exec& ex, Communicator& group, ConstTensor emb, const Pairs& pairs, double weight, Tensor d_emb) override;

 private:
  /// Queries against their own passages only.
  double own_group(Exec& ex, ConstTensor emb, const Pairs& pairs, double row_weight, Tensor d_emb) const;
  /// Unit queries [B,E] against unit candidates [M,E]; the passages of query i begin at column (first + i) * G.
  double shared_candidates(Exec& ex, ConstTensor queries, ConstTensor candidates, int64_t first, const Pairs& pairs,
                           double row_weight, Tensor d_queries, Tensor d_candidates) const;
  /// Turns a tile of cosines [R,M] into d loss / d cosine and returns the sum of its rows' losses, unweighted. rewards [R,G]; the
  /// own passages of row i begin at column first_column + i * G.
  double distil_rows(Exec& ex, Tensor tile, int64_t first_column, std::span<const double> rewards, int64_t group,
                     double row_weight) const;
  StabilisedOptions options_;
};

}  // namespace lodestone
