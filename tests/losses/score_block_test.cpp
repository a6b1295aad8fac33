// Tiles of scores: those of vectors in bf16 are the scores, softmax and gradients of the rounded vectors, with sums in f32.
#include "losses/score_block.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <vector>

#include "losses/loss.h"
#include "tests/support/any_backend.h"
#include "tests/support/tiny_model.h"

namespace lodestone::test {
namespace {

constexpr int64_t rows = 70, columns = 90, width = 24;  // two tiles where they are as small as they may be
constexpr double temperature = 0.5;

/// To the nearest number of 8 bits, ties to even: written here anew.
double in_bf16(double x) {
  const auto bits = std::bit_cast<uint32_t>(static_cast<float>(x));
  return std::bit_cast<float>((bits + 0x7fffU + ((bits >> 16) & 1U)) & 0xffff0000U);
}

/// Unit vectors, in f32.
std::vector<double> unit_vectors(int64_t count, const char* name) {
  std::vector<double> x(static_cast<size_t>(count * width));
  fill_uniform(std::span(x), name, 1);
  for (size_t i = 0; i < x.size(); i += width) {
    double squares = 0;
    for (size_t e = i; e < i + width; ++e) squares += x[e] * x[e];
    for (size_t e = i; e < i + width; ++e) x[e] = static_cast<float>(x[e] / std::sqrt(squares));
  }
  return x;
}

std::vector<double> rounded(std::vector<double> x) {
  for (double& v : x) v = in_bf16(v);
  return x;
}

/// Of vectors in double, the positive of row i being column i: the sum over rows, and the gradient of every score.
struct CrossEntropy {
  CrossEntropy(const std::vector<double>& x, const std::vector<double>& y) {
    for (int64_t i = 0; i < rows; ++i) {
      std::vector<double> s(columns);
      double sum = 0;
      for (int64_t j = 0; j < columns; ++j) {
        for (int64_t e = 0; e < width; ++e) s[at(j)] += x[at(i * width + e)] * y[at(j * width + e)];
        sum += std::exp(s[at(j)] / temperature);
      }
      loss += std::log(sum) - s[at(i)] / temperature;
      for (int64_t j = 0; j < columns; ++j) {
        p.push_back(std::exp(s[at(j)] / temperature) / sum);
        d.push_back((p.back() - (i == j ? 1 : 0)) / temperature);
      }
    }
  }
  static size_t at(int64_t i) { return static_cast<size_t>(i); }
  double loss = 0;
  std::vector<double> p, d;  // [rows,columns]
};

/// What one in f32 may add to a logarithm: a score's products and its division (Higham: terms times the unit), exponentials and logarithm
/// of four units each, a sum over the columns.
double logarithm_rounding() { return 0x1p-24 * (2 * width / temperature + 8 * std::log(columns) + columns + 8); }

class ScoreBlockTest : public ::testing::Test {
 protected:
  /// The sum of the rows' losses; gradients in d_rows and d_columns.
  double run(const std::vector<double>& x, const std::vector<double>& y, ScorePrecision precision) {
    Exec ex{*backend_, arena_, Key{}, DType::f32};
    const auto scope = arena_.scope();
    const Shape of_rows{rows, width}, of_columns{columns, width};
    const Tensor a = tensor_of(*backend_, arena_, x, of_rows, DType::f32), b = tensor_of(*backend_, arena_, y, of_columns, DType::f32);
    const Tensor d_a = arena_.tensor(DType::f32, of_rows), d_b = arena_.tensor(DType::f32, of_columns), share = zero_total(ex);
    backend_->fill_zero(d_a);
    backend_->fill_zero(d_b);
    const ScoreBlock block{score_operand(ex, precision, a), score_operand(ex, precision, b), d_a, d_b};
    cross_entropy(
        ex, {&block, 1}, {.temperature = temperature, .tile_elements = 1, .positive_stride = 1}, [](size_t, int64_t, Tensor) {}, share);
    d_rows_ = to_double(*backend_, arena_, d_a);
    d_columns_ = to_double(*backend_, arena_, d_b);
    return fetch<double>(*backend_, arena_, share)[0];
  }

  std::unique_ptr<Backend> backend_ = any_backend("cpu");
  Arena arena_{backend_->memory()};
  std::vector<double> d_rows_, d_columns_;
};

TEST_F(ScoreBlockTest, VectorsInBf16GiveTheCrossEntropyOfTheRoundedVectors) {
  const std::vector<double> x = unit_vectors(rows, "rows"), y = unit_vectors(columns, "columns"), xr = rounded(x), yr = rounded(y);
  const CrossEntropy exact(x, y), expected(xr, yr);
  const double allowed = rows * logarithm_rounding();
  EXPECT_NEAR(run(x, y, ScorePrecision::f32), exact.loss, allowed);
  ASSERT_GT(std::abs(expected.loss - exact.loss), 2 * allowed) << "rounded or not would be the same";
  EXPECT_NEAR(run(x, y, ScorePrecision::bf16), expected.loss, allowed);
  // The bound that score_block.h states, twice: in the logarithm and in the positive's score.
  EXPECT_LE(std::abs(expected.loss - exact.loss), rows * 2 * (0x1p-7 + 0x1p-16) / temperature);

  // A gradient is a sum of gradients of scores times rounded components: each of the former is off by a share of its probability, by
  // its own rounding of 2^-8, and the sum adds a unit a term.
  const double of_p = 2 * logarithm_rounding() / temperature;
  for (int64_t e = 0; e < width; ++e) {
    for (int64_t i = 0; i < rows; ++i) {
      double want = 0, off = 0;
      for (int64_t j = 0; j < columns; ++j) {
        const auto ij = static_cast<size_t>(i * columns + j);
        const double c = yr[static_cast<size_t>(j * width + e)];
        want += expected.d[ij] * c;
        off += std::abs(c) * (expected.p[ij] * of_p + std::abs(expected.d[ij]) * (0x1p-8 + columns * 0x1p-24));
      }
      EXPECT_NEAR(d_rows_[static_cast<size_t>(i * width + e)], want, off) << "row " << i << ", " << e;
    }
    for (int64_t j = 0; j < columns; ++j) {
      double want = 0, off = 0;
      for (int64_t i = 0; i < rows; ++i) {
        const auto ij = static_cast<size_t>(i * columns + j);
        const double c = xr[static_cast<size_t>(i * width + e)];
        want += expected.d[ij] * c;
        off += std::abs(c) * (expected.p[ij] * of_p + std::abs(expected.d[ij]) * (0x1p-8 + rows * 0x1p-24));
      }
      EXPECT_NEAR(d_columns_[static_cast<size_t>(j * width + e)], want, off) << "column " << j << ", " << e;
    }
  }
}

// Components of one sign that all lie just above a number of 8 bits and the middle to the next: rounding adds up instead of cancelling.
TEST_F(ScoreBlockTest, TheBoundOfARoundedScoreIsNearlyReached) {
  const double component = 1 + 0x1p-8 + 0x1p-16, norm = component * std::sqrt(static_cast<double>(width));
  double exact = 0, score = 0;
  for (int64_t e = 0; e < width; ++e) {
    exact += component * component;
    score += in_bf16(component) * in_bf16(component);
  }
  const double off = (score - exact) / (norm * norm);
  EXPECT_LE(off, 0x1p-7 + 0x1p-16);
  EXPECT_GT(off, 0.98 * 0x1p-7);
}

}  // namespace
}  // namespace lodestone::test
