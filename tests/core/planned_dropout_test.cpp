// Does cuDNN drop as many probabilities as it should, forward and backward the same, and others for another layer or chunk? Which ones it
// drops is its own affair, so they are read off what it computes.
#include <gtest/gtest.h>

#include "core/buffer.h"
#include "core/dtype.h"
#include "tests/core/op_fixture.h"
#include "tests/core/operation_parity.h"
#include "tests/support/any_backend.h"

namespace lodestone::test {
namespace {

/// Numbers that bf16 holds.
std::vector<double> rounded_values(int64_t n, uint64_t seed, double spread) {
  std::vector<double> values = random_values(n, seed, spread);
  for (double& v : values) v = static_cast<double>(static_cast<float>(bfloat16(static_cast<float>(v))));
  return values;
}

/// A probability of one text's attention.
struct Place {
  int64_t begin, length, head, i, j;
};

/// Texts under dropout p, and their queries and keys, which stay: texts longer than a head is wide and than a tile of keys, and an empty
/// one.
class PlannedAttentionDropoutParity : public testing::TestWithParam<double> {
 protected:
  static constexpr int64_t heads = 2, D = 64, H = heads * D;

  void SetUp() override {
    try {
      backend_ = make_backend({.kind = BackendKind::cuda, .attention = AttentionChoice::cudnn});
    } catch (const Error& error) {
      GTEST_SKIP() << error.what();
    }
    ++device_backends_made();
    arena_ = std::make_unique<Arena>(backend_->memory(), size_t{64} << 20);
  }

  Dropout dropout() const { return {GetParam(), Key(4).with("a layer")}; }
  /// What is kept is multiplied with it.
  double kept() const { return 1 / (1 - dropout_threshold(GetParam()) / 65536.0); }
  int64_t S() const { return texts_.tokens(); }

  /// f(place) for every probability, in one order.
  template <class F>
  void for_places(F f) const {
    for (size_t b = 0; b + 1 < texts_.offsets.size(); ++b) {
      const int64_t begin = texts_.offsets[b], length = texts_.offsets[b + 1] - begin;
      for (int64_t head = 0; head < heads; ++head)
        for (int64_t i = 0; i < length; ++i)
          for (int64_t j = 0; j < length; ++j) f(Place{begin, length, head, i, j});
    }
  }
  double& element(std::vector<double>& rows, int64_t columns, int64_t s, int64_t column) const {
    return rows[static_cast<size_t>(s * columns + column)];
  }
  double dot(const std::vector<double>& x, size_t x_begin, const std::vector<double>& y, size_t y_begin) const {
    double sum = 0;
    for (size_t d = 0; d < static_cast<size_t>(D); ++d) sum += x[x_begin + d] * y[y_begin + d];
    return sum;
  }
  /// Where the head's part of a row of qkv begins; which: 0 queries, 1 keys, 2 values. And of ctx.
  size_t in_qkv(const Place& at, int64_t row, int64_t which) const {
    return static_cast<size_t>((at.begin + row) * 3 * H + which * H + at.head * D);
  }
  size_t in_ctx(const Place& at, int64_t row) const { return static_cast<size_t>((at.begin + row) * H + at.head * D); }

  struct Given {
    std::vector<double> ctx, d_qkv{};
    bool operator==(const Given&) const = default;
  };
  /// Forward, and backward where there is a d_ctx. cuDNN must have computed both.
  Given attention(const std::vector<double>& qkv, const Texts& texts, Dropout dropout, const std::vector<double>& d_ctx = {}) {
    const auto scope = arena_->scope();
    const DeviceTexts on_device = upload_texts(*backend_, *arena_, texts.batch());
    const auto bf16 = [&](int64_t columns) { return arena_->tensor(DType::bf16, {S(), columns}); };
    const Tensor of_qkv = bf16(3 * H), ctx = bf16(H), lse = arena_->tensor(DType::f32, {S(), heads}), of_d_ctx = bf16(H),
                 d_qkv = bf16(3 * H);
    from_double(*backend_, *arena_, qkv, of_qkv);
    const int64_t before = executions();
    backend_->attention_forward(on_device, of_qkv, heads, dropout, ctx, lse);
    Given given{.ctx = to_double(*backend_, *arena_, ctx)};
    if (!d_ctx.empty()) {
      from_double(*backend_, *arena_, d_ctx, of_d_ctx);
      backend_->attention_backward(on_device, of_qkv, ctx, lse, of_d_ctx, heads, dropout, d_qkv);
      given.d_qkv = to_double(*backend_, *arena_, d_qkv);
    }
    EXPECT_EQ(executions() - before, d_ctx.empty() ? 1 : 2) << "own kernels computed it";
    return given;
  }
  /// What ctx has of every probability: values are unit vectors, D keys at a time, so that each is an element of ctx. 0: dropped.
  std::vector<double> probabilities(const Texts& texts, Dropout dropout) {
    std::vector<double> found;
    std::vector<std::vector<double>> parts;
    for (int64_t first = 0; first < longest; first += D) {
      std::vector<double> qkv = qkv_;
      for_places([&](const Place& at) {
        if (at.i > 0) return;
        for (int64_t d = 0; d < D; ++d) qkv[in_qkv(at, at.j, 2) + static_cast<size_t>(d)] = at.j == first + d ? 1 : 0;
      });
      parts.push_back(attention(qkv, texts, dropout).ctx);
    }
    for_places(
        [&](const Place& at) { found.push_back(parts[static_cast<size_t>(at.j / D)][in_ctx(at, at.i) + static_cast<size_t>(at.j % D)]); });
    return found;
  }
  /// In how many places both have dropped, or both have kept. Of masks that have nothing to do with each other a share of p^2 + (1 - p)^2,
  /// by chance within 5 standard deviations.
  void expect_unrelated(const char* what, std::span<const double> a, std::span<const double> b) const {
    const double p = GetParam(), share = p * p + (1 - p) * (1 - p), n = static_cast<double>(a.size());
    double alike = 0;
    for (size_t i = 0; i < a.size(); ++i) alike += (a[i] == 0) == (b[i] == 0);
    EXPECT_NEAR(alike, n * share, 5 * std::sqrt(n * share * (1 - share))) << what;
  }

  static constexpr int64_t longest = 131;
  const Texts texts_{{1, 40, 0, longest, 64}};
  const std::vector<double> qkv_ = rounded_values(S() * 3 * H, 1, 2);
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Arena> arena_;

 private:
  /// As the backend counts them in its description.
  int64_t executions() const {
    const std::string said = backend_->description();
    const size_t end = said.find(" executions so far");
    return end == std::string::npos ? 0 : std::stoll(said.substr(said.rfind(' ', end - 1)));
  }
};
INSTANTIATE_TEST_SUITE_P(Dropout, PlannedAttentionDropoutParity,
                         testing::ValuesIn(device_asked_for() == "cuda" ? std::vector{0.1, 0.5} : std::vector<double>{}));
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(PlannedAttentionDropoutParity);

// Every rounding is as attention_parity_test.cpp derives it for bf16; a factor of dropout is a constant that multiplies error and value.
TEST_P(PlannedAttentionDropoutParity, BackwardDropsWhatForwardDropped) {
  const std::vector<double> found = probabilities(texts_, dropout());
  std::vector<double> log_sums(static_cast<size_t>(S() * heads));
  const auto score = [&](const Place& at) { return dot(qkv_, in_qkv(at, at.i, 0), qkv_, in_qkv(at, at.j, 1)) / std::sqrt(D); };
  for_places([&](const Place& at) { element(log_sums, heads, at.begin + at.i, at.head) += std::exp(score(at)); });
  for (double& sum : log_sums) sum = std::log(sum);
  const auto probability = [&](const Place& at) { return std::exp(score(at) - element(log_sums, heads, at.begin + at.i, at.head)); };

  size_t n = 0;
  double dropped = 0;
  for_places([&](const Place& at) {
    const double z = found[n++], expected = kept() * probability(at);
    dropped += z == 0;
    if (z != 0) {
      ASSERT_NEAR(z, expected, tolerance(DType::bf16) * expected) << at.begin << ' ' << at.head << ' ' << at.i << ' ' << at.j;
    }
  });
  const double p = GetParam(), all = static_cast<double>(n);
  EXPECT_NEAR(dropped, all * p, 5 * std::sqrt(all * p * (1 - p)));

  const std::vector<double> d_ctx = rounded_values(S() * H, 2, 1);
  const Given given = attention(qkv_, texts_, dropout(), d_ctx);
  std::vector<double> ctx(static_cast<size_t>(S() * H)), d_qkv(static_cast<size_t>(S() * 3 * H));
  const auto add = [&](std::vector<double>& to, size_t begin, double factor, const std::vector<double>& x, size_t x_begin) {
    for (size_t d = 0; d < static_cast<size_t>(D); ++d) to[begin + d] += factor * x[x_begin + d];
  };
  n = 0;
  for_places([&](const Place& at) {
    const double zp = found[n++] == 0 ? 0 : kept() * probability(at);
    add(ctx, in_ctx(at, at.i), zp, qkv_, in_qkv(at, at.j, 2));
    add(d_qkv, in_qkv(at, at.j, 2), zp, d_ctx, in_ctx(at, at.i));
  });
  n = 0;
  for_places([&](const Place& at) {
    const double P = probability(at), z = found[n++] == 0 ? 0 : kept(), along = dot(d_ctx, in_ctx(at, at.i), ctx, in_ctx(at, at.i)),
                 ds = P * (z * dot(d_ctx, in_ctx(at, at.i), qkv_, in_qkv(at, at.j, 2)) - along) / std::sqrt(D);
    add(d_qkv, in_qkv(at, at.i, 0), ds, qkv_, in_qkv(at, at.j, 1));
    add(d_qkv, in_qkv(at, at.j, 1), ds, qkv_, in_qkv(at, at.i, 0));
  });
  const auto expect_same = [](const char* what, const std::vector<double>& got, const std::vector<double>& expected) {
    double most = 0;
    for (const double v : expected) most = std::max(most, std::abs(v));
    for (size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], expected[i], tolerance(DType::bf16) * most) << what << ' ' << i;
  };
  expect_same("ctx", given.ctx, ctx);
  expect_same("d_qkv", given.d_qkv, d_qkv);
  EXPECT_EQ(attention(qkv_, texts_, dropout(), d_ctx), given) << "a second pass over the same chunk, bit for bit";
}

TEST_P(PlannedAttentionDropoutParity, MasksOfOtherLayersChunksAndHeadsHaveNothingToDoWithEachOther) {
  const std::vector<double> mask = probabilities(texts_, dropout());
  EXPECT_EQ(probabilities(texts_, dropout()), mask);
  expect_unrelated("another layer or step", mask, probabilities(texts_, {GetParam(), Key(4).with("another layer")}));
  Texts others = texts_;
  std::swap(others.keys.front(), others.keys.back());
  expect_unrelated("another first text", mask, probabilities(others, dropout()));
  std::vector<double> first, second;
  size_t n = 0;
  for_places([&](const Place& at) { (at.head == 0 ? first : second).push_back(mask[n++]); });
  expect_unrelated("another head", first, second);
}

}  // namespace
}  // namespace lodestone::test
