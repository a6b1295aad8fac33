// Losses of a query's own group of scores, on plain arrays of double: cross-entropy, binary cross-entropy, what a teacher's scores say.
#pragma once

#include <cstdint>
#include <span>
#include <variant>

namespace lodestone {

// scores [B,G], query-major, the positive in column 0. `weight` is that of one row's loss: 1/N for the mean over N queries, so
// the shares of ranks add up. Each returns weight * the sum of its rows' losses; d_scores [B,G] += its gradient. No allocation.

/// Row: log sum_g exp(s_g) - s_0.
double group_cross_entropy(std::span<const double> scores, int64_t group, double weight, std::span<double> d_scores);

/// Row: 1/G (softplus(-s_0) + sum_{g>0} softplus(s_g)), each pair on its own with target 1 or 0.
double group_binary_cross_entropy(std::span<const double> scores, int64_t group, double weight, std::span<double> d_scores);

/// What a teacher makes of the same texts: w = softmax(scores / temperature) over each group.
struct Teacher {
  std::span<const double> scores = {};  // [B,G]
  double temperature = 1;               // alpha: small values leave only the best candidate
};

/// Whether a divergence from a teacher keeps the teacher's own entropy, which has no gradient.
enum class Entropy : uint8_t { kept, removed };

/// Row, with the entropy kept: - sum_g w_g log softmax(s)_g, the soft cross-entropy. Removed: sum_g w_g (log w_g - log softmax(s)_g), the
/// Kullback-Leibler divergence; with weight 1/N this is what PyTorch calls reduction "batchmean". Equal gradients.
double group_distillation(std::span<const double> scores, const Teacher& teacher, int64_t group, Entropy entropy, double weight,
                          std::span<double> d_scores);

/// Row, of at least two (Hofstaetter et al. 2021): 1/(G-1) sum_{g>0} ((s_0 - s_g) - (t_0 - t_g))^2. With weight 1/N the mean over all
/// margins.
double group_margin_mse(std::span<const double> scores, std::span<const double> teacher, int64_t group, double weight,
                        std::span<double> d_scores);

// The same, as an operation is told which: one struct a loss, with its settings.
struct GroupCrossEntropy {};
struct GroupBinaryCrossEntropy {};
struct GroupTeacherEntropy {  // group_distillation()
  double temperature = 1;     // of the teacher
  Entropy entropy = Entropy::kept;
};
struct GroupMarginMse {};
using GroupLoss = std::variant<GroupCrossEntropy, GroupBinaryCrossEntropy, GroupTeacherEntropy, GroupMarginMse>;
/// Whether a loss reads a teacher's scores.
bool reads_teacher(const GroupLoss& loss);
/// teacher [B,G], or empty for a loss that reads none.
double group_loss(const GroupLoss& loss, std::span<const double> scores, std::span<const double> teacher, int64_t group, double weight,
                  std::span<double> d_scores);

/// One row of stabilised distillation. With the candidates in order and w = exp(log_weights):
///   loss = sum_k w_k (log(exp(z_k) + sum_{l>k} exp(z_l) + exp(others)) - z_k)
/// so each competes with itself, with those behind it and with the others, not with better ones.
struct CascadeRow {
  std::span<const double> logits;       // [G] z
  std::span<const int64_t> order;       // [G] places in logits, best first
  std::span<const double> log_weights;  // [G] of the candidates as they stand in logits
  double others;                        // log sum exp of z over all other candidates; -infinity if there are none
};
struct CascadeLoss {
  double loss;
  double others_normaliser;  // d loss / d z = exp(z - others_normaliser) for every other candidate
};
/// d_logits [G] = gradient. terms [G] (or empty) += the summands of the loss, best candidate first.
CascadeLoss group_cascade(const CascadeRow& row, std::span<double> d_logits, std::span<double> terms);

}  // namespace lodestone
