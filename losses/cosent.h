// CoSENT: scored pairs of texts are ordered by cosine as their gold scores order them.
#pragma once

#include "losses/loss.h"
#include "losses/settings.h"

namespace lodestone {

/// The specification, on plain arrays. Over all a, b with gold[a] > gold[b]:
///   loss = log(1 + sum_{a,b} exp((cosine[b] - cosine[a]) / temperature))
/// It is not divided by the number of pairs. Equal gold scores give no term; without terms loss and gradient are 0.
struct CosentInput {
  std::span<const double> cosines = {};  // [N]
  std::span<const double> gold = {};     // [N], finite
  double temperature = 0.05;
};

/// Working memory of one evaluation, [N] each; overwritten.
struct CosentScratch {
  std::span<int64_t> order;
  std::span<double> below, above;
};

/// Returns the loss; d_cosines [N] = its gradient. O(N log N): pairs are sorted by gold score and exponentials added up along
/// that order, relative to the largest, so that any temperature and cosine is safe. Throws Error (data) on a gold score that is
/// not finite.
double cosent(const CosentInput& in, const CosentScratch& scratch, std::span<double> d_cosines);

struct CosentOptions {
  double temperature = 0.05;
};
/// A temperature that is not positive.
std::optional<Refusal> refused(const CosentOptions& options);

/// The same on tensors and ranks. A query and its one passage are the two texts of a scored pair, Pairs::scores their gold
/// scores. This rank's cosines are downloaded, once; cosines and gold scores of all ranks are gathered (two numbers a pair), and the
/// gradient goes into this rank's cosines.
/// Every rank finds the same global loss and returns its part by its number of pairs. Throws Error (data) if the pairs have no
/// scores.
class Cosent final : public Loss {
 public:
  /// Throws Error (usage, "config") where its settings are refused.
  explicit Cosent(const CosentOptions& options);
  LossResult evaluate(Exec& ex, const Group& group, ConstTensor emb, const Pairs& pairs, double weight, Tensor d_emb,
                      Tensor share) override;

 private:
  CosentOptions options_;
};

}  // namespace lodestone
