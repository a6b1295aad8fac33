// CoSENT on plain arrays of double: scored pairs of texts are ordered by cosine as their gold scores order them.
#pragma once

#include <cstdint>
#include <span>

namespace lodestone {

/// Over all a, b with gold[a] > gold[b]:
///   loss = log(1 + sum_{a,b} exp((cosine[b] - cosine[a]) / temperature))
/// It is not divided by the number of pairs. Equal gold scores give no term; without terms loss and gradient are 0.
struct CosentInput {
  std::span<const double> cosines = {};  // [N]
  std::span<const double> gold = {};     // [N], finite
  std::span<const int64_t> order = {};   // [N] the pairs by rising gold score
  double temperature = 0.05;
};

/// Working memory of one evaluation, [N] each; overwritten.
struct CosentScratch {
  std::span<double> below, above;
};

/// Returns the loss; d_cosines [N] = its gradient. O(N): exponentials are added up along the order, relative to the largest, so that any
/// temperature and cosine is safe.
double cosent(const CosentInput& in, const CosentScratch& scratch, std::span<double> d_cosines);

}  // namespace lodestone
