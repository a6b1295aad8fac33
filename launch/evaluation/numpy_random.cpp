#include "launch/evaluation/numpy_random.h"

#include <algorithm>
#include <numeric>

#include "core/error.h"

namespace lodestone {

int64_t NumpyRandom::up_to(int64_t most) {
  LODE_CHECK(most >= 0 && most < int64_t{1} << 32, "a draw of up to ", most);
  if (most == 0) return 0;
  uint32_t mask = static_cast<uint32_t>(most);
  for (int shift = 1; shift < 32; shift *= 2) mask |= mask >> shift;
  for (;;)
    if (const int64_t value = static_cast<uint32_t>(engine_()) & mask; value <= most) return value;
}

double NumpyRandom::uniform() {
  const auto high = static_cast<double>(engine_() >> 5), low = static_cast<double>(engine_() >> 6);
  return (high * 67108864.0 + low) / 9007199254740992.0;
}

std::vector<int64_t> NumpyRandom::integers(int64_t n, int64_t count) {
  std::vector<int64_t> drawn(static_cast<size_t>(count));
  for (int64_t& value : drawn) value = up_to(n - 1);
  return drawn;
}

std::vector<int64_t> NumpyRandom::choose(int64_t n, int64_t count) {
  std::vector<double> sums(static_cast<size_t>(n), 1 / static_cast<double>(n));
  std::partial_sum(sums.begin(), sums.end(), sums.begin());
  const double all = sums.back();
  for (double& sum : sums) sum /= all;
  std::vector<int64_t> drawn(static_cast<size_t>(count));
  for (int64_t& value : drawn) value = std::upper_bound(sums.begin(), sums.end(), uniform()) - sums.begin();
  return drawn;
}

void NumpyRandom::shuffle(std::span<int64_t> items) {
  for (int64_t i = std::ssize(items) - 1; i > 0; --i) std::swap(items[static_cast<size_t>(i)], items[static_cast<size_t>(up_to(i))]);
}

std::vector<int64_t> NumpyRandom::choose_distinct(int64_t n, int64_t count) {
  LODE_CHECK(count <= n, count, " distinct draws of ", n);
  std::vector<int64_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), int64_t{0});
  shuffle(order);
  order.resize(static_cast<size_t>(count));
  return order;
}

}  // namespace lodestone
