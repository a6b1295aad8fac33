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

/// Kernels of masked attention each way, of two streams.
std::pair<int64_t, int64_t> masked_kernels(CudaBackend& be, Arena& arena, const DeviceTexts& texts, const DeviceMasks& masks, ConstTensor q,
                                           ConstTensor kv, int64_t heads, Dropout dropout) {
  const Tensor ctx = arena.tensor(DType::bf16, q.shape()), lse = arena.tensor(DType::f32, {q.dim(0), heads}),
               d_q = arena.tensor(DType::bf16, q.shape()), d_kv = arena.tensor(DType::bf16, kv.shape());
  const int64_t before = doubles::counts().kernels;
  be.masked_attention_forward(texts, masks, q, kv, heads, dropout, ctx, lse);
  const int64_t between = doubles::counts().kernels;
  be.masked_attention_backward(texts, masks, q, kv, ctx, lse, q, heads, dropout, d_q, d_kv);
  return {between - before, doubles::counts().kernels - between};
}

// With dropout they start one kernel more each way than the plain ones, which decides what is kept, and with heads of 128 another one.
// Without it they are known by their bits, which are those of rounded probabilities.
TEST_F(FlashAttention, TakesHeadsOf32And64And128InBf16AtAlignedRows) {
  using Kernels = std::pair<int64_t, int64_t>;
  const test::Texts texts({5, 40, 0, 3});
  const test::RandomMasks masks(texts.batch(), 2);
  const DeviceTexts there = on_device(texts);
  const DeviceMasks hidden = upload_masks(be_, arena_, texts.batch(), masks.view());
  const Dropout dropout{0.1, Key(4)};
  const Kernels plain{1, 2};
  const int64_t S = texts.tokens();
  for (const auto& [size, heads, forward, backward] :
       {std::array{32, 2, 2, 3}, {64, 1, 2, 3}, {128, 1, 2, 4}, {16, 2, 1, 2}, {96, 1, 1, 2}}) {
    const int64_t H = size * heads;
    const bool taken = forward == 2;
    const Tensor room = drawn({S * 3 * H + 1}, 1), more = drawn({S * H + 1}, 2);
    const auto at = [&](const Tensor& x, int64_t first, int64_t columns) {
      return x.slice({first, first + S * columns}).reshape({S, columns});
    };
    const auto run = [&, heads = heads](int64_t of_qkv, int64_t of_d_ctx, const Dropout& drop) {
      return attention(be_, arena_, there, at(room, of_qkv, 3 * H), at(more, of_d_ctx, H), heads, drop);
    };
    const auto kernels = [](const Given& given) { return Kernels(given.forward, given.backward); };
    EXPECT_EQ(kernels(run(0, 0, dropout)), Kernels(forward, backward)) << size;
    EXPECT_EQ(kernels(run(1, 0, dropout)), plain) << size << ": qkv at an odd address";
    EXPECT_EQ(kernels(run(0, 1, dropout)), Kernels(forward, plain.second)) << size << ": d_ctx at an odd address";
    const Tensor copy = arena_.tensor(DType::bf16, {S * 3 * H + 1});
    be_.copy(room.slice({0, S * 3 * H}), copy.slice({1, S * 3 * H + 1}));
    const Given apart = attention(be_, arena_, there, at(copy, 1, 3 * H), at(more, 0, H), heads, {});
    EXPECT_EQ(run(0, 0, {}).d_qkv != apart.d_qkv, taken) << size << " without dropout";
    EXPECT_EQ(masked_kernels(be_, arena_, there, hidden, at(more, 0, H), at(room, 0, 2 * H), heads, dropout), Kernels(forward, backward))
        << size << " masked";
    EXPECT_EQ(masked_kernels(be_, arena_, there, hidden, at(more, 0, H), at(room, 1, 2 * H), heads, dropout), plain)
        << size << " masked, kv at an odd address";
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

/// Each row's element at its own place of a window of D, from `window` on; 0 elsewhere. [T,D], of one head.
std::vector<double> one_hot(int64_t T, int64_t D, int64_t window) {
  std::vector<double> x(static_cast<size_t>(T * D));
  for (int64_t i = window; i < std::min(window + D, T); ++i) x[static_cast<size_t>(i * D + i - window)] = 1;
  return x;
}
/// Each row's first element 1, 0 elsewhere.
std::vector<double> first_column(int64_t T, int64_t D) {
  std::vector<double> x(static_cast<size_t>(T * D));
  for (int64_t i = 0; i < T; ++i) x[static_cast<size_t>(i * D)] = 1;
  return x;
}

// Scores are 0 where queries or keys are. Then what is kept and seen can be read off a gradient, element by element: of values, where rows
// of d_ctx are one-hot, it is not 0; of queries, where keys are one-hot, and of keys, where queries are, it is positive where a score is
// kept, for d_ctx v is 1 and its mean below that, negative where it is dropped, and 0 where it is hidden.
TEST_F(FlashAttention, BackwardDropsAndHidesWhatForwardDoes) {
  constexpr int64_t T = 200;
  const test::Texts texts({T});
  const test::RandomMasks masks(texts.batch(), 3);
  const DeviceTexts there = on_device(texts);
  const DeviceMasks hidden = upload_masks(be_, arena_, texts.batch(), masks.view());
  const Dropout dropout{0.25, Key(11).with("attention")};
  const auto sign_of = [&](int64_t i, int64_t j) {
    if (i == j || (masks.view().row(0, 0, T, i)[j / 64] >> (j % 64) & 1) != 0) return 0;
    const uint32_t bits = dropout_bits(dropout.key, texts.keys[0], static_cast<uint32_t>(i), static_cast<uint32_t>(j));
    return bits >= dropout_threshold(dropout.p) ? 1 : -1;
  };
  for (const int64_t D : {32, 64, 128})
    for (const int64_t window : {int64_t{0}, T - 40}) {
      const auto scope = arena_.scope();
      const std::vector<double> zero(static_cast<size_t>(T * D)), hot = one_hot(T, D, window), first = first_column(T, D);
      struct Gradients {
        std::vector<double> q, kv;
      };
      const auto gradients = [&](const std::vector<double>& q, const std::vector<double>& k, const std::vector<double>& v,
                                 const std::vector<double>& d_ctx) {
        std::vector<double> kv;
        for (int64_t i = 0; i < T; ++i)
          for (const auto* x : {&k, &v}) kv.insert(kv.end(), x->begin() + i * D, x->begin() + (i + 1) * D);
        const auto there_in_bf16 = [&](const std::vector<double>& x, int64_t columns) {
          return test::tensor_of(be_, arena_, x, {T, columns}, DType::bf16);
        };
        const Tensor on_q = there_in_bf16(q, D), on_kv = there_in_bf16(kv, 2 * D), on_d_ctx = there_in_bf16(d_ctx, D),
                     ctx = arena_.tensor(DType::bf16, {T, D}), lse = arena_.tensor(DType::f32, {T, 1}),
                     d_q = arena_.tensor(DType::bf16, {T, D}), d_kv = arena_.tensor(DType::bf16, {T, 2 * D});
        be_.masked_attention_forward(there, hidden, on_q, on_kv, 1, dropout, ctx, lse);
        be_.masked_attention_backward(there, hidden, on_q, on_kv, ctx, lse, on_d_ctx, 1, dropout, d_q, d_kv);
        return Gradients{to_double(be_, arena_, d_q), to_double(be_, arena_, d_kv)};
      };
      const auto sign = [](double x) { return (x > 0) - (x < 0); };
      const std::vector<double> d_v = gradients(zero, zero, zero, hot).kv, d_q = gradients(zero, hot, first, first).q,
                                d_k = gradients(hot, zero, first, first).kv;
      for (int64_t at = window; at < std::min(window + D, T); ++at)
        for (int64_t other = 0; other < T; ++other) {
          const int64_t column = at - window;
          ASSERT_EQ(d_v[static_cast<size_t>(other * 2 * D + D + column)] != 0, sign_of(at, other) > 0)
              << D << ": d_v " << at << ',' << other;
          ASSERT_EQ(sign(d_q[static_cast<size_t>(other * D + column)]), sign_of(other, at)) << D << ": d_q " << other << ',' << at;
          ASSERT_EQ(sign(d_k[static_cast<size_t>(other * 2 * D + column)]), sign_of(at, other)) << D << ": d_k " << at << ',' << other;
        }
    }
}

// In any company, with dropout and without, under masks and without, texts of one tile of keys and of several.
TEST_F(FlashAttention, ATextsBitsDependOnNothingElse) {
  const std::vector<int64_t> lengths{7, 1, 0, 300, 16, 3, 3, 3, 70};
  const test::Texts all(lengths);
  for (const auto& [D, heads, p] : {std::tuple{32, 2, 0.1}, {64, 1, 0.1}, {128, 1, 0.1}, {64, 1, 0.0}}) {
    const auto scope = arena_.scope();
    const int64_t H = D * heads;
    const Tensor qkv = drawn({all.tokens(), 3 * H}, 1), d_ctx = drawn({all.tokens(), H}, 2);
    const Dropout dropout{p, Key(4)};
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
  for (const auto& [D, heads] : {std::pair{32, 2}, {64, 1}, {128, 1}}) {
    const int64_t H = D * heads;
    const Tensor qkv = drawn({texts.tokens(), 3 * H}, 1), d_ctx = drawn({texts.tokens(), H}, 2);
    const auto bits = [&, heads = heads] {
      Given given = attention(be_, arena_, on_device(texts), qkv, d_ctx, heads, {0.1, Key(4)});
      for (const auto* x : {&given.lse, &given.d_qkv}) given.ctx.insert(given.ctx.end(), x->begin(), x->end());
      return given.ctx;
    };
    emulator::set_thread_order(ThreadOrder::ascending);
    const std::vector<double> expected = bits();
    emulator::set_thread_order(ThreadOrder::descending);
    EXPECT_EQ(bits(), expected);
    emulator::set_thread_order(ThreadOrder::shuffled, 2);
    EXPECT_EQ(bits(), expected);
  }
}

}  // namespace
}  // namespace lodestone
