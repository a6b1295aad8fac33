#include "core/cosent.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/log_sum.h"

namespace lodestone {

namespace {

/// out[i] = log sum over the pairs that stand before i in `order` with another gold score of exp(slope cosine).
template <class Iterator>
void log_sums_before(const CosentInput& in, double slope, Iterator begin, Iterator end, std::span<double> out) {
  LogSum sum;
  const auto at = [](auto it) { return static_cast<size_t>(*it); };
  while (begin != end) {
    const double before = sum.value(), gold = in.gold[at(begin)];
    const Iterator next = std::find_if(begin, end, [&](int64_t i) { return in.gold[static_cast<size_t>(i)] != gold; });
    for (Iterator it = begin; it != next; ++it) out[at(it)] = before;
    for (Iterator it = begin; it != next; ++it) sum.add(slope * in.cosines[at(it)]);
    begin = next;
  }
}

}  // namespace

double cosent(const CosentInput& in, const CosentScratch& scratch, std::span<double> d_cosines) {
  const size_t n = in.cosines.size();
  LODE_CHECK(in.gold.size() == n && in.order.size() == n && scratch.below.size() == n && scratch.above.size() == n &&
                 d_cosines.size() == n && in.temperature > 0,
             "cosent: ", n, " cosines, ", in.gold.size(), " gold scores, ", in.order.size(), " in order, temperature ", in.temperature);
  const double scale = 1 / in.temperature;
  log_sums_before(in, scale, in.order.begin(), in.order.end(), scratch.below);
  log_sums_before(in, -scale, in.order.rbegin(), in.order.rend(), scratch.above);

  LogSum total;
  total.add(0);
  for (const int64_t i : in.order) total.add(scratch.below[static_cast<size_t>(i)] - scale * in.cosines[static_cast<size_t>(i)]);
  const double loss = total.value();
  for (size_t i = 0; i < n; ++i) {
    const double x = scale * in.cosines[i];
    d_cosines[i] = scale * (std::exp(scratch.above[i] + x - loss) - std::exp(scratch.below[i] - x - loss));
  }
  return loss;
}

}  // namespace lodestone
