// Does the counting backend count what the files of core/cuda say at their heads? Numbers are derived here, by hand.
#include "core/null/counting_backend.h"

#include <gtest/gtest.h>

#include <numeric>

namespace lodestone {
namespace {

constexpr int64_t S = 128, H = 24, A = 2;  // tokens of two texts, width, heads
constexpr double elements = S * H;

class CountingBackendTest : public testing::Test {
 protected:
  Tensor take(DType dtype, Shape shape) { return arena_.tensor(dtype, shape); }
  Tensor rows(int64_t width = H) { return take(DType::bf16, {S, width}); }
  Tensor vector(int64_t n) { return take(DType::f32, {n}); }
  /// Texts of 100 and 28 tokens.
  DeviceTexts texts() { return upload_texts(backend_, arena_, {ids_, offsets_, keys_, {}}); }

  /// All that was counted since the last call, added up.
  Work counted() {
    Work sum;
    for (; seen_ < backend_.work().size(); ++seen_) {
      const Work& work = backend_.work()[seen_];
      if (work.kind == WorkKind::uploads) continue;
      sum.kind = work.kind;
      sum.dtype = work.dtype;
      sum.product_flops += work.product_flops;
      sum.other_flops += work.other_flops;
      sum.bytes += work.bytes;
      sum.launches += work.launches;
    }
    return sum;
  }

  CountingBackend backend_;
  Arena arena_{backend_.memory()};
  std::vector<int32_t> ids_ = std::vector<int32_t>(S, 5);
  std::vector<int64_t> offsets_ = {0, 100, S};
  std::vector<uint64_t> keys_ = {1, 2};
  size_t seen_ = 0;
};

TEST_F(CountingBackendTest, AProductIsTwoFlopsAWeightAndRowAndItsThreeMatrices) {
  backend_.gemm(Op::none, rows(), Op::none, take(DType::bf16, {H, 40}), 1, 0, rows(40));
  const Work product = counted();
  EXPECT_EQ(product.kind, WorkKind::products);
  EXPECT_EQ(product.product_flops, 2.0 * S * H * 40);
  EXPECT_EQ(product.bytes, 2.0 * (S * H + H * 40 + S * 40));
  EXPECT_EQ(product.launches, 1);
  backend_.gemm(Op::none, rows(), Op::none, take(DType::bf16, {H, 40}), 1, 1, rows(40));
  EXPECT_EQ(counted().bytes, product.bytes + 2.0 * S * 40) << "a result that is added to is read too";
}

TEST_F(CountingBackendTest, ABiasIsRoundedByAKernelAndItsGradientAddedByOne) {
  backend_.linear(rows(), take(DType::bf16, {40, H}), vector(40), rows(40));
  const Work linear = counted();
  EXPECT_EQ(linear.launches, 2);
  EXPECT_EQ(linear.bytes, 2.0 * (S * H + H * 40 + S * 40) + 4 * 40);
  backend_.linear_gradients(rows(40), rows(), take(DType::f32, {40, H}), vector(40));
  const Work gradients = counted();
  EXPECT_EQ(gradients.launches, 2);
  EXPECT_EQ(gradients.product_flops, linear.product_flops);
  EXPECT_EQ(gradients.bytes, 2.0 * (S * 40 + S * H) + 2 * 4.0 * 40 * H + 4 * 4 * 40);
  backend_.linear_gradients(rows(40), rows(), take(DType::f32, {40, H}), {});
  EXPECT_EQ(counted().launches, 1) << "no bias";
}

TEST_F(CountingBackendTest, ABiasThatLiesAlignedIsReadWhereItLies) {
  const Tensor x = take(DType::f32, {S, H}), w = take(DType::f32, {40, H}), y = take(DType::f32, {S, 40}), biases = vector(44);
  backend_.linear(x, w, biases.slice({4, 44}), y);
  EXPECT_EQ(counted().launches, 1);
  backend_.linear(x, w, biases.slice({3, 43}), y);
  EXPECT_EQ(counted().launches, 2);
}

// Heads of 12, which no tensor core takes.
TEST_F(CountingBackendTest, AttentionIsCountedByTheLengthOfEachText) {
  const DeviceTexts of_batch = texts();
  const double scores = 100.0 * 100 + 28 * 28;
  const Tensor qkv = rows(3 * H), ctx = rows(), lse = take(DType::f32, {S, A});
  const Dropout none, some{.p = 0.1, .key = {}};
  backend_.attention_forward(of_batch, qkv, A, none, ctx, lse);
  const Work forward = counted();
  EXPECT_EQ(forward.kind, WorkKind::attention);
  EXPECT_EQ(forward.dtype, DType::f32);
  EXPECT_EQ(forward.product_flops, 4 * scores * H) << "4 T D a row and head";
  EXPECT_EQ(forward.bytes, 2 * 4 * elements + 4 * S * A);
  EXPECT_EQ(forward.launches, 1);
  backend_.attention_forward(of_batch, qkv, A, some, ctx, lse);
  EXPECT_EQ(counted().other_flops - forward.other_flops, 10 * scores * A) << "Philox, a score and head";
  backend_.attention_backward(of_batch, qkv, ctx, lse, rows(), A, none, rows(3 * H));
  const Work backward = counted();
  EXPECT_EQ(backward.kind, WorkKind::attention_backward);
  EXPECT_EQ(backward.product_flops, 14 * scores * H);
  EXPECT_EQ(backward.bytes, 2 * 8 * elements + 4 * S * A + 2 * 4 * S * A) << "a number a row between two kernels";
  EXPECT_EQ(backward.launches, 2);
}

TEST_F(CountingBackendTest, AttentionOnTensorCoresTakesKeysBySixteenAndDropoutByBits) {
  const DeviceTexts of_batch = texts();
  const Dropout none, some{.p = 0.1, .key = {}};
  for (const int64_t size : {32, 64, 128}) {
    const auto W = static_cast<double>(A * size), scores = 112.0 * 112 + 32 * 32;
    const Tensor qkv = rows(3 * A * size), ctx = rows(A * size), lse = take(DType::f32, {S, A});
    backend_.attention_forward(of_batch, qkv, A, none, ctx, lse);
    const Work forward = counted();
    EXPECT_EQ(forward.dtype, DType::bf16);
    EXPECT_EQ(forward.product_flops, 4 * scores * W);
    EXPECT_EQ(forward.bytes, 2 * 4 * S * W + 4 * S * A);
    EXPECT_EQ(forward.launches, 1);
    backend_.attention_forward(of_batch, qkv, A, some, ctx, lse);
    const Work dropping = counted();
    EXPECT_EQ(dropping.launches, 2);
    EXPECT_EQ(dropping.bytes, forward.bytes + 2.0 * S * A * 128 / 8) << "a bit for each of 128 keys, written and read";
    backend_.attention_backward(of_batch, qkv, ctx, lse, rows(A * size), A, none, rows(3 * A * size));
    const Work backward = counted();
    EXPECT_EQ(backward.product_flops, (size == 128 ? 16 : 14) * scores * W);
    EXPECT_EQ(backward.bytes, 2 * 8 * S * W + 4 * S * A + 2 * 8 * S * A) << "two numbers a row between kernels";
    EXPECT_EQ(backward.launches, size == 128 ? 3 : 2);
  }
}

TEST_F(CountingBackendTest, NormsPassOverTheirRowsAsOftenAsTheirKernels) {
  const DeviceTexts of_batch = texts();
  const Tensor gamma = vector(H), beta = vector(H), mean = vector(S), rstd = vector(S);
  const double vectors = 4 * 2 * H + 4 * 2 * S;
  backend_.residual_layer_norm_forward(of_batch, rows(), rows(), {}, gamma, beta, 1e-12, rows(), rows(), mean, rstd);
  const Work forward = counted();
  EXPECT_EQ(forward.kind, WorkKind::norms);
  EXPECT_EQ(forward.bytes, 2 * 4 * elements + vectors) << "residual and branch; sum and y";
  EXPECT_EQ(forward.launches, 1);
  backend_.residual_layer_norm_backward(of_batch, rows(), rows(), {}, gamma, mean, rstd, rows(), rows(), gamma, beta);
  const Work backward = counted();
  // Two sums of dy and x, which for each of two tiles of 64 tokens, and at the end, are a row written and read. Then dy, x and two results.
  const double statistics = 4 * 2 * S + (4 * H + 4 * 2 * S);
  EXPECT_EQ(backward.bytes, 2 * 6 * elements + statistics + 2 * 2 * 4 * (2 + 1) * H);
  EXPECT_EQ(backward.launches, 3);
}

TEST_F(CountingBackendTest, AdamWReadsFourVectorsAndWritesThree) {
  const Tensor g = vector(1000), p = vector(1000), m = vector(1000), v = vector(1000);
  backend_.adamw({}, {{{0, 400}, true}, {{600, 1000}, false}}, g, p, m, v);
  const Work update = counted();
  EXPECT_EQ(update.bytes, 7.0 * 4 * 800) << "what no run names is left alone";
  EXPECT_EQ(update.other_flops, 14 * 800);
  EXPECT_EQ(update.launches, 1);
  std::vector<UpdateRun> many;
  for (int64_t i = 0; i < 513; ++i) many.push_back({{i, i + 1}, i % 2 == 0});
  backend_.adamw({}, many, g, p, m, v);
  EXPECT_EQ(counted().launches, 2) << "a kernel has room for 512 runs";
}

TEST_F(CountingBackendTest, WhatIsEmptyIsNoLaunch) {
  backend_.fill_zero(vector(0));
  backend_.copy(vector(0), vector(0));
  backend_.gemm(Op::none, take(DType::bf16, {0, H}), Op::none, take(DType::bf16, {H, 40}), 1, 0, take(DType::bf16, {0, 40}));
  backend_.select_rows(take(DType::f32, {3, H}), take(DType::i64, {0}), take(DType::f32, {0, H}));
  EXPECT_EQ(counted().launches, 0);
}

TEST_F(CountingBackendTest, UploadsTakeRoomAndStayReadable) {
  const size_t before = arena_.used_bytes();
  const ConstTensor uploaded = backend_.upload(view(std::span<const int64_t>(offsets_)), arena_);
  EXPECT_GE(arena_.used_bytes() - before, sizeof(int64_t) * 3);
  EXPECT_EQ(uploaded.host<int64_t>()[1], 100);
  ASSERT_EQ(backend_.work().size(), 1u);
  EXPECT_EQ(backend_.work()[0].kind, WorkKind::uploads);
  EXPECT_EQ(backend_.work()[0].bytes, 24);
  EXPECT_EQ(backend_.work()[0].launches, 0);
}

}  // namespace
}  // namespace lodestone
