// Small random operands for tests of operations, and the central-difference check of their backward forms.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <vector>

#include "core/backend.h"
#include "tests/support/host_memory.h"

namespace lodestone::test {

/// Where texts and masks go on their way to a backend on the host, which takes nothing from it.
inline Arena& host_arena() {
  static Arena arena(host_memory, size_t{1} << 20);
  return arena;
}

/// The same of a device, as long as a fixture keeps one.
inline Arena*& device_arena() {
  static Arena* arena = nullptr;
  return arena;
}
/// Where the texts of a test go on their way to a backend.
inline Arena& arena_for(const Backend& backend) { return backend.device() == Device::cpu ? host_arena() : *device_arena(); }

/// n numbers, uniform in [-spread, spread), a function of the seed.
inline std::vector<double> random_values(int64_t n, uint64_t seed, double spread = 1.0) {
  std::vector<double> out(static_cast<size_t>(n));
  const Key key = Key(seed).with("test values");
  for (size_t i = 0; i < out.size(); ++i) out[i] = spread * (2 * key.uniform(i) - 1);
  return out;
}

inline Tensor matrix(std::vector<double>& values, int64_t rows, int64_t columns) {
  return view(std::span<double>(values)).reshape({rows, columns});
}

/// Texts of the given lengths with ids below `vocab` and distinct keys.
struct Texts {
  std::vector<int32_t> ids;
  std::vector<int64_t> offsets{0};
  std::vector<uint64_t> keys;
  std::vector<int64_t> second{};  // where token type 1 begins; empty: nowhere
  explicit Texts(const std::vector<int64_t>& lengths, int32_t vocab = 7) {
    for (const int64_t n : lengths) {
      for (int64_t t = 0; t < n; ++t) ids.push_back(static_cast<int32_t>(Key(5).bits(ids.size()) % static_cast<uint64_t>(vocab)));
      offsets.push_back(static_cast<int64_t>(ids.size()));
      keys.push_back(text_key(17 + keys.size(), Role::query, 0, keys.size()));
    }
  }
  TokenBatch batch() const { return {ids, offsets, keys, second}; }
  /// As operations of a backend on the host read them: views of these texts.
  DeviceTexts on(Backend& backend) const { return upload_texts(backend, arena_for(backend), batch()); }
  int64_t tokens() const { return static_cast<int64_t>(ids.size()); }
};

/// Masks for masked attention over texts: `count` a text, each hiding about half of the positions, and for every row a random one of them.
/// The first mask shows position 0, the second and third, of a text that is longer, only what lies behind 64 and 128. A text named by
/// `blind` has masks that hide everything.
struct RandomMasks {
  std::vector<uint64_t> bits;
  std::vector<int64_t> first;
  std::vector<uint8_t> of_row;
  RandomMasks(const TokenBatch& tokens, int64_t count, int64_t blind = -1) {
    const Key key = Key(31).with("masks");
    for (int64_t b = 0; b < tokens.texts(); ++b) {
      const int64_t words = KeyMasks::words(tokens.length(b));
      first.push_back(std::ssize(bits));
      for (int64_t w = 0; w < count * words; ++w) {
        const uint64_t drawn = key.bits(bits.size());
        const int64_t word = w % words, seen = std::min(w / words % 3, words - 1);  // the first word that shows something
        bits.push_back(b == blind || word < seen ? ~uint64_t{0} : word == seen ? drawn & ~uint64_t{1} : drawn);
      }
      for (int64_t i = 0; i < tokens.length(b); ++i)
        of_row.push_back(static_cast<uint8_t>(key.with("row").bits(of_row.size()) % static_cast<uint64_t>(count)));
    }
  }
  KeyMasks view() const { return {bits, first, of_row}; }
  /// As Texts::on(): views of these masks.
  DeviceMasks on(Backend& backend, const Texts& texts) const { return upload_masks(backend, arena_for(backend), texts.batch(), view()); }
};

/// Compares `gradient` with central differences of `loss`, a smooth function of `values` of size and curvature about 1.
/// Step h = 1e-5: truncation h^2 |f'''| / 6 is about 1e-11 times the third derivative, rounding 2^-52 |f| / h about 1e-10
/// for |f| up to a few units; 2e-8 leaves room for third derivatives and sums of a few hundred.
inline void expect_gradient(const char* what, std::vector<double>& values, const std::vector<double>& gradient,
                            const std::function<double()>& loss) {
  ASSERT_EQ(values.size(), gradient.size()) << what;
  const double h = 1e-5;
  for (size_t i = 0; i < values.size(); ++i) {
    const double kept = values[i];
    values[i] = kept + h;
    const double above = loss();
    values[i] = kept - h;
    const double below = loss();
    values[i] = kept;
    EXPECT_NEAR(gradient[i], (above - below) / (2 * h), 2e-8 * (1 + std::abs(gradient[i]))) << what << " element " << i;
  }
}

inline double dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

}  // namespace lodestone::test
