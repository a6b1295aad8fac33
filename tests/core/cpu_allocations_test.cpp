// Does a repeated operation allocate nothing?
#include <string>

#include "core/arena.h"
#include "core/cpu/cpu_backend.h"
#include "tests/core/op_fixture.h"
#include "tests/support/onednn_calls.h"

namespace lodestone {

using test::Texts;

class CpuAllocations : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Threads, CpuAllocations, testing::Values(1, 2), [](const auto& info) { return std::to_string(info.param); });

// oneDNN itself takes one small array for each product on several threads, and a table of arguments for each execution of a primitive.
TEST_P(CpuAllocations, OperationsOfSeenShapesAllocateNothing) {
  CpuBackend be(GetParam());
  Arena arena(be.memory(), size_t{1} << 30);
  const Texts texts({33, 70, 25}, 50);
  const DeviceTexts tokens = texts.on(be);
  const int64_t S = texts.tokens(), B = 3, A = 4, H = 128, F = 256;
  const Dropout dropout{0.1, Key(1)};
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const auto scope = arena.scope();
    const auto take = [&](DType t, Shape shape) {
      const Tensor x = arena.tensor(t, shape);
      be.fill_zero(x);
      return x;
    };
    const auto activation = [&](int64_t columns) { return take(dtype, {S, columns}); };
    const auto wide = [&](Shape shape) { return take(DType::f32, shape); };
    const Tensor x = activation(H), y = activation(H), sum = activation(H), qkv = activation(3 * H), d_qkv = activation(3 * H),
                 u = activation(F);
    const Tensor weight = take(dtype, {F, H}), d_weight = wide({F, H}), bias = wide({F}), lse = wide({S, A}), gamma = wide({H}),
                 beta = wide({H});
    const Tensor mean = wide({S}), rstd = wide({S}), word = wide({50, H}), position = wide({70, H}), type = wide({2, H}),
                 emb = wide({B, H}), squares = take(DType::f64, {1});
    const Tensor normal = wide({B, H}), norms = wide({B}), scores = wide({B, B});
    const std::vector<UpdateRun> all_weights{{{0, F * H}}};
    const std::vector<int64_t> row_offsets{0, 1, 1, 2};
    const std::vector<int32_t> row_columns{2, 0};
    const ConstTensor offsets = view(std::span(row_offsets)), columns = view(std::span(row_columns));
    const Tensor own = wide({B, 1}), own_exact = take(DType::f64, {B, 1}), groups = take(DType::f64, {B, 2}),
                 d_groups = take(DType::f64, {B, 2});
    const Tensor order = take(DType::i64, {B, 2}), d_emb = wide({B, H}), d_normal = wide({B, H});
    order.host<int64_t>()[1] = order.host<int64_t>()[3] = order.host<int64_t>()[5] = 1;
    const Tensor pair_cosines = take(DType::f64, {B}), d_pair_cosines = take(DType::f64, {B}), pair_order = take(DType::i64, {B}),
                 cosent_work = take(DType::f64, {3, B});
    pair_order.host<int64_t>()[1] = 1;
    pair_order.host<int64_t>()[2] = 2;
    const auto score = [&] {
      be.fill_band(scores, {0, 1, 1}, 0.5);
      be.add_to_band(scores, {0, 1, 1}, 0.5);
      be.read_band(scores, {0, 1, 1}, own_exact);
      be.write_band(own_exact, {0, 1, 1}, scores);
      be.add_band_sum(scores, {0, 1, 1}, 1, squares);
      be.mask_elements(offsets, columns, scores);
      be.log_add(norms, norms);
      be.exp_difference(norms, norms, norms);
      be.add_log(norms, norms, norms);
      be.add_differences(norms, norms, squares);
      be.scale(0.5, norms, norms);
      be.group_products(emb, normal, own);
      be.group_products_backward(own, emb, normal, d_emb, d_normal);
      be.group_dots(emb, normal, own_exact);
      be.group_dots_backward(own_exact, emb, normal, d_emb, d_normal);
      be.group_loss(GroupCrossEntropy{}, groups, {}, 1, d_groups, squares);
      be.group_loss(GroupBinaryCrossEntropy{}, groups, {}, 1, d_groups, squares);
      be.group_loss(GroupTeacherEntropy{1, Entropy::removed}, groups, groups, 1, d_groups, squares);
      be.group_loss(GroupMarginMse{}, groups, groups, 1, d_groups, squares);
      be.group_cascade(groups, order, groups, norms, d_groups, squares);
      be.cosent(pair_cosines, pair_cosines, pair_order, 0.05, 1, {0, B}, cosent_work, d_pair_cosines, squares);
    };
    const auto step = [&] {
      be.embed_forward(tokens, word, position, type, x);
      be.linear(x, weight, bias, u);
      be.gemm(Op::none, u, Op::none, weight, 1, 1, y);
      be.linear_gradients(u, x, d_weight, bias);
      be.gelu_forward(u, u);
      be.gelu_backward(u, u, u);
      be.attention_forward(tokens, qkv, A, dropout, y, lse);
      be.attention_backward(tokens, qkv, y, lse, y, A, dropout, d_qkv);
      be.residual_layer_norm_forward(tokens, x, y, dropout, gamma, beta, 1e-12, sum, y, mean, rstd);
      be.residual_layer_norm_backward(tokens, y, sum, dropout, gamma, mean, rstd, y, x, gamma, beta);
      be.pool_forward(tokens, x, Pooling::mean, emb);
      be.l2_normalize_forward(emb, normal, norms);
      be.gemm(Op::none, normal, Op::transpose, normal, 1, 0, scores);
      be.log_sum_exp_rows(scores, 20, norms);
      be.softmax_rows(scores, 20, norms, 1);
      score();
      be.l2_normalize_backward(normal, normal, norms, emb);
      be.pool_backward(tokens, emb, Pooling::mean, x);
      be.embed_backward(tokens, x, word, position, type);
      be.adamw({.lr = 1e-3}, all_weights, d_weight, d_weight, d_weight, d_weight);
      be.cast(d_weight, weight);
      be.sum_squares(d_weight, squares);
    };
    step();
    const uint64_t before = test::own_allocations();
    const test::LibraryCalls library_before = test::library_calls();
    step();
    EXPECT_EQ(test::own_allocations(), before) << name_of(dtype);
    const test::LibraryCalls library = test::library_calls();
    const uint64_t a_product = be.threads() == 1 ? 0 : 1;
    EXPECT_LE(library.allocations - library_before.allocations,
              a_product * (library.products - library_before.products) + (7 + a_product) * (library.primitives - library_before.primitives))
        << name_of(dtype);
  }
}

}  // namespace lodestone
