// CoSENT: scored pairs of texts are ordered by cosine as their gold scores order them.
#pragma once

#include "losses/loss.h"
#include "losses/settings.h"

namespace lodestone {

/// order [N] = the pairs by rising gold score, equal ones by index. O(N log N). Throws Error (data) on a gold score that is not finite.
void sort_by_gold(std::span<const double> gold, std::span<int64_t> order);

struct CosentOptions {
  double temperature = 0.05;
};
/// A temperature that is not positive.
std::optional<Refusal> refused(const CosentOptions& options);

/// The loss of core/cosent.h. A query and its one passage are the two texts of a scored pair, Pairs::scores their gold scores. Gold scores
/// of all ranks are gathered and sorted on the host, cosines on the device (one number a pair each); the gradient goes into this rank's.
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
