// Which shapes do the kernels on tensor cores take, are their masks the named ones, and do a text's bits depend on that text alone? What
// they compute stands in tests/core/attention_parity_test.cpp.
#include <gtest/gtest.h>

#include <algorithm>

#include "core/buffer.h"
#include "core/cuda/cuda_backend.h"
#include "core/cuda/device/ptx.h"
#include "tests/core/op_fixture.h"
#include "tests/cuda/doubles/counts.h"
#include "tests/cuda/emulator/fibers.h"
#include "tests/cuda/emulator/ptx.h"
#include "tests/support/any_backend.h"

namespace lodestone {
namespace {

using emulator::ThreadOrder;
using test::to_double;

class FlashAttention : public testing::Test {
 protected:
  FlashAttention() : be_(0, AttentionChoice::own), arena_(be_.memory(), size_t{32} << 20) {}
  ~FlashAttention() override { emulator::set_thread_order(ThreadOrder::ascending); }

  Tensor drawn(Shape shape, uint64_t seed) {
    return test::tensor_of(be_, arena_, test::random_values(shape.count(), seed), shape, DType::bf16);
  }
  DeviceTexts on_device(const test::Texts& texts) { return upload_texts(be_, arena_, texts.batch()); }

  CudaBackend be_;
  Arena arena_;
};

struct Given {
  std::vector<double> ctx, lse, d_qkv;
  int64_t forward = 0, backward = 0;  // kernels
};

/// Forward and backward on rows `rows` of qkv and d_ctx, which the texts have.
Given attention(CudaBackend& be, Arena& arena, const DeviceTexts& texts, ConstTensor qkv, ConstTensor d_ctx, int64_t heads,
                Dropout dropout) {
  const int64_t S = texts.tokens(), H = d_ctx.dim(1);
  const Tensor ctx = arena.tensor(DType::bf16, {S, H}), lse = arena.tensor(DType::f32, {S, heads}),
               d_qkv = arena.tensor(DType::bf16, {S, 3 * H});
  Given given;
  const int64_t before = doubles::counts().kernels;
  be.attention_forward(texts, qkv, heads, dropout, ctx, lse);
  given.forward = doubles::counts().kernels - before;
  be.attention_backward(texts, qkv, ctx, lse, d_ctx, heads, dropout, d_qkv);
  given.backward = doubles::counts().kernels - before - given.forward;
  given.ctx = to_double(be, arena, ctx);
  given.lse = to_double(be, arena, lse);
  given.d_qkv = to_double(be, arena, d_qkv);
  return given;
}

// CUTLASS states the fragments of this instruction as layouts: place of a value in its matrix, columns first, from lane and number.
TEST(TensorCores, FragmentsLieAsCutlassHasThem) {
  float left[16][16], right[16][8], sums[16][8];
  for (int i = 0; i < 256; ++i) left[i % 16][i / 16] = static_cast<float>(i * 37 % 101 - 50);
  for (int i = 0; i < 128; ++i) right[i / 8][i % 8] = static_cast<float>(i * 53 % 89 - 44);
  const auto pair = [](float low, float high) {
    return std::bit_cast<uint32_t>(low) >> 16 | (std::bit_cast<uint32_t>(high) & 0xffff0000u);
  };
  emulator::run_grid(dim3(1), dim3(32), 0, [&] {
    const int lane = emulator::lane(), t0 = lane % 4, t1 = lane / 4;
    const auto a = [&](int v0, int v1, int v2) {
      const int at = 32 * t0 + t1 + 16 * v0 + 8 * v1 + 128 * v2;
      return left[at % 16][at / 16];
    };
    const auto b = [&](int v0, int v1) {
      const int at = 16 * t0 + t1 + 8 * v0 + 64 * v1;
      return right[at / 8][at % 8];
    };
    cuda::LeftTile l{};
    cuda::RightTile r{};
    for (int v1 = 0; v1 < 2; ++v1) {
      for (int v2 = 0; v2 < 2; ++v2) l.at[v1 + 2 * v2] = pair(a(0, v1, v2), a(1, v1, v2));
      r.at[v1] = pair(b(0, v1), b(1, v1));
    }
    cuda::SumTile sum{{1, 1, 1, 1}};
    cuda::multiply_add(sum, l, r);
    for (int v1 = 0; v1 < 2; ++v1)
      for (int v0 = 0; v0 < 2; ++v0) {
        const int at = 32 * t0 + t1 + 16 * v0 + 8 * v1;
        sums[at % 16][at / 16] = sum.at[v0 + 2 * v1];
      }
  });
  for (int m = 0; m < 16; ++m)
    for (int n = 0; n < 8; ++n) {
      float expected = 1;
      for (int k = 0; k < 16; ++k) expected += left[m][k] * right[k][n];
      EXPECT_EQ(sums[m][n], expected) << m << ',' << n;
    }
}

// With dropout they start one kernel more each way than the plain ones, which decides what is kept, and with heads of 128 another one.
TEST_F(FlashAttention, TakesHeadsOf32And64And128InBf16AtAlignedRows) {
  const test::Texts texts({5, 40, 0, 3});
  const DeviceTexts there = on_device(texts);
  const int64_t S = texts.tokens();
  for (const auto& [size, heads, forward, backward] :
       {std::array{32, 2, 2, 3}, {64, 1, 2, 3}, {128, 1, 2, 4}, {16, 2, 1, 2}, {96, 1, 1, 2}}) {
    const int64_t H = size * heads;
    const Tensor room = drawn({S * 3 * H + 1}, 1), d_ctx = drawn({S, H}, 2);
    const auto kernels = [&, heads = heads](ConstTensor qkv, Dropout dropout) {
      const Given given = attention(be_, arena_, there, qkv, d_ctx, heads, dropout);
      return std::pair{given.forward, given.backward};
    };
    const Dropout dropout{0.1, Key(4)};
    EXPECT_EQ(kernels(room.slice({0, S * 3 * H}).reshape({S, 3 * H}), dropout), (std::pair<int64_t, int64_t>(forward, backward))) << size;
    EXPECT_EQ(kernels(room.slice({1, S * 3 * H + 1}).reshape({S, 3 * H}), dropout), (std::pair<int64_t, int64_t>(1, 2))) << size;
  }
}

// Equal scores and values that are one where the key is theirs: ctx of row i at d is what dropout leaves of key d of a window.
TEST_F(FlashAttention, DropsTheElementsThatAreNamed) {
  constexpr int64_t T = 200, heads = 2, D = 64, H = heads * D;
  const test::Texts texts({3, T});
  const DeviceTexts there = on_device(texts);
  const Dropout dropout{0.25, Key(11).with("attention")};
  const uint32_t threshold = dropout_threshold(dropout.p);
  int64_t dropped = 0;
  for (int64_t window = 0; window < T; window += D) {
    const auto scope = arena_.scope();
    std::vector<double> values(static_cast<size_t>((3 + T) * 3 * H));
    for (int64_t j = window; j < std::min(window + D, T); ++j)
      for (int64_t a = 0; a < heads; ++a) values[static_cast<size_t>((3 + j) * 3 * H + 2 * H + a * D + j - window)] = 1;
    const Tensor qkv = test::tensor_of(be_, arena_, values, {3 + T, 3 * H}, DType::bf16);
    const std::vector<double> ctx = attention(be_, arena_, there, qkv, drawn({3 + T, H}, 2), heads, dropout).ctx;
    for (int64_t i = 0; i < T; ++i)
      for (int64_t a = 0; a < heads; ++a)
        for (int64_t j = window; j < std::min(window + D, T); ++j) {
          const bool keeps =
              dropout_bits(dropout.key, texts.keys[1], static_cast<uint32_t>(a << 16 | i), static_cast<uint32_t>(j)) >= threshold;
          ASSERT_EQ(ctx[static_cast<size_t>((3 + i) * H + a * D + j - window)] != 0, keeps) << "row " << i << " head " << a << " key " << j;
          dropped += !keeps;
        }
  }
  EXPECT_NEAR(static_cast<double>(dropped) / (T * T * heads), 0.25, 0.01);
}

TEST_F(FlashAttention, ATextsBitsDependOnNothingElse) {
  const std::vector<int64_t> lengths{7, 1, 0, 130, 16, 3, 3, 3, 70};
  const test::Texts all(lengths);
  for (const auto& [D, heads] : {std::pair{32, 2}, {64, 1}, {128, 1}}) {
    const int64_t H = D * heads;
    const Tensor qkv = drawn({all.tokens(), 3 * H}, 1), d_ctx = drawn({all.tokens(), H}, 2);
    const Dropout dropout{0.1, Key(4)};
    const Given together = attention(be_, arena_, on_device(all), qkv, d_ctx, heads, dropout);
    for (size_t b = 0; b < lengths.size(); ++b) {
      const int64_t begin = all.offsets[b], end = all.offsets[b + 1];
      test::Texts alone({lengths[b]});
      alone.keys = {all.keys[b]};
      if (alone.tokens() == 0) continue;
      const Given given = attention(be_, arena_, on_device(alone), qkv.rows(begin, end), d_ctx.rows(begin, end), heads, dropout);
      const auto part = [&](const std::vector<double>& x, int64_t columns) {
        return std::vector<double>(x.begin() + begin * columns, x.begin() + end * columns);
      };
      EXPECT_EQ(given.ctx, part(together.ctx, H)) << b;
      EXPECT_EQ(given.lse, part(together.lse, heads)) << b;
      EXPECT_EQ(given.d_qkv, part(together.d_qkv, 3 * H)) << b;
    }
  }
}

TEST_F(FlashAttention, BitsDoNotDependOnTheOrderOfThreads) {
  const test::Texts texts({7, 130, 16, 3});
  const Tensor qkv = drawn({texts.tokens(), 192}, 1), d_ctx = drawn({texts.tokens(), 64}, 2);
  const auto bits = [&] {
    Given given = attention(be_, arena_, on_device(texts), qkv, d_ctx, 2, {0.1, Key(4)});
    given.ctx.insert(given.ctx.end(), given.d_qkv.begin(), given.d_qkv.end());
    return given.ctx;
  };
  const std::vector<double> expected = bits();
  emulator::set_thread_order(ThreadOrder::descending);
  EXPECT_EQ(bits(), expected);
  emulator::set_thread_order(ThreadOrder::shuffled, 2);
  EXPECT_EQ(bits(), expected);
}

}  // namespace
}  // namespace lodestone
