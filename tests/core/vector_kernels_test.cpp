// Are the vector kernels exact where they must be, and as accurate as they claim, on every instruction set of this processor?
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "core/cpu/isa.h"
#include "core/dtype.h"
#include "core/rng.h"

namespace lodestone {

class VectorKernels : public testing::TestWithParam<const vec::Table*> {
 protected:
  const vec::Table& table() const { return *GetParam(); }
};

static std::vector<const vec::Table*> tables() {
  std::vector<const vec::Table*> all;
  for (const vec::Table* t : {&vec_v2::table(), &vec_v3::table(), &vec_v4::table()})
    if (std::string(t->name) <= best_vector_table().name) all.push_back(t);
  return all;
}
INSTANTIATE_TEST_SUITE_P(All, VectorKernels, testing::ValuesIn(tables()), [](const auto& info) { return std::string(info.param->name); });

TEST_P(VectorKernels, DropoutMasksEqualDropoutBitsBitForBit) {
  const Key key = Key(11).with("place");
  const std::vector<uint64_t> texts{text_key(5, Role::query, 0, 0), text_key(1234567890123, Role::positive, 3, 9)};
  const std::vector<int64_t> offsets{0, 3, 40};
  const int64_t columns = 700;
  const uint32_t threshold = dropout_threshold(0.37);
  const vec::RowMask mask{key.value(), threshold, 1.0f, texts.data(), offsets.data(), 2};
  std::vector<float> x(static_cast<size_t>(40 * columns), 1.0f), y(x.size());
  table().f32.dropout(mask, x.data(), y.data(), columns, 0, 17);  // in two ranges, the second from the middle of a text
  table().f32.dropout(mask, x.data(), y.data(), columns, 17, 40);
  for (int64_t s = 0; s < 40; ++s)
    for (int64_t e = 0; e < columns; ++e) {
      const int64_t text = s < 3 ? 0 : 1, t = s - offsets[static_cast<size_t>(text)];
      const bool kept =
          dropout_bits(key, texts[static_cast<size_t>(text)], static_cast<uint32_t>(t), static_cast<uint32_t>(e)) >= threshold;
      ASSERT_EQ(y[static_cast<size_t>(s * columns + e)], kept ? 1.0f : 0.0f) << "row " << s << " element " << e;
    }
}

// Every bf16 value, its neighbours halfway to the next, infinities and NaNs.
TEST_P(VectorKernels, RoundingToBf16IsTheScalarOne) {
  std::vector<float> x;
  for (uint32_t high = 0; high < 65536; ++high)
    for (const uint32_t low : {0x0000u, 0x7fffu, 0x8000u, 0x8001u}) x.push_back(std::bit_cast<float>(high << 16 | low));
  std::vector<uint16_t> y(x.size());
  table().bf16.from_float(x.data(), y.data(), static_cast<int64_t>(x.size()));
  for (size_t i = 0; i < x.size(); ++i) ASSERT_EQ(y[i], bfloat16(x[i]).bits) << std::bit_cast<uint32_t>(x[i]);
  std::vector<float> back(y.size());
  table().bf16.to_float(y.data(), back.data(), static_cast<int64_t>(y.size()));
  for (size_t i = 0; i < y.size(); ++i) ASSERT_EQ(std::bit_cast<uint32_t>(back[i]), static_cast<uint32_t>(y[i]) << 16);
}

TEST_P(VectorKernels, GeluIsWithinFourTenMillionthsOfTheErrorFunctionForm) {
  std::vector<float> x, y, one, dx;
  for (int i = -160000; i <= 160000; ++i) x.push_back(static_cast<float>(i) * 1e-4f);
  y.resize(x.size());
  dx.resize(x.size());
  one.assign(x.size(), 1.0f);
  table().f32.gelu_forward(x.data(), y.data(), static_cast<int64_t>(x.size()));
  table().f32.gelu_backward(x.data(), one.data(), dx.data(), static_cast<int64_t>(x.size()));
  for (size_t i = 0; i < x.size(); ++i) {
    const double v = x[i], cdf = 0.5 * std::erfc(-v * M_SQRT1_2), density = std::exp(-0.5 * v * v) / std::sqrt(2 * M_PI);
    ASSERT_NEAR(y[i], v * cdf, 4e-7 * std::max(1.0, std::abs(v))) << v;
    ASSERT_NEAR(dx[i], cdf + v * density, 4e-7) << v;
    if (v > -9 && v < 0) {
      ASSERT_NEAR(y[i] / (v * cdf), 1, 4e-6) << "the tail keeps its digits at " << v;
    }
  }
}

TEST_P(VectorKernels, NotANumberStaysVisible) {
  for (const int64_t n : {1, 3, 20, 40}) {
    std::vector<float> x(static_cast<size_t>(n), 0.5f), y(x.size());
    x.back() = NAN;
    const auto n_last = x.size() - 1;
    table().f32.gelu_forward(x.data(), y.data(), n);
    EXPECT_TRUE(std::isnan(y[n_last])) << "gelu of " << n;
    table().f32.tanh_forward(x.data(), y.data(), n);
    EXPECT_TRUE(std::isnan(y[n_last])) << "tanh of " << n;
    EXPECT_TRUE(std::isnan(table().log_sum_exp(x.data(), n, 1.0f))) << "log_sum_exp of " << n;
  }
}

}  // namespace lodestone
