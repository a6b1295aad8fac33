// Is every backward operation of the reference the gradient of its forward? Central differences in f64, dropout on.
#include "core/choice.h"
#include "core/cpu/reference/reference_backend.h"
#include "core/nn/config.h"
#include "tests/core/op_fixture.h"

namespace lodestone {

using test::dot;
using test::expect_gradient;
using test::matrix;
using test::random_values;
using test::Texts;
using Values = std::vector<double>;

static Tensor vec(Values& v) { return view(std::span<double>(v)); }

// In each test the loss is <r, y> for random r, so dy = r.

TEST(ReferenceGradients, ResidualLayerNorm) {
  ReferenceBackend be;
  const Texts texts({3, 1, 2});
  const int64_t S = texts.tokens(), H = 5;
  const Dropout dropout{0.3, Key(1).with("place")};
  Values residual = random_values(S * H, 1), branch = random_values(S * H, 2), gamma = random_values(H, 3), beta = random_values(H, 4);
  Values r = random_values(S * H, 5), sum(r.size()), y(r.size()), mean(6), rstd(6), d_residual(r.size()), d_branch(r.size()), dg(5), db(5);
  const auto loss = [&] {
    be.residual_layer_norm_forward(texts.on(be), matrix(residual, S, H), matrix(branch, S, H), dropout, vec(gamma), vec(beta), 1e-3,
                                   matrix(sum, S, H), matrix(y, S, H), vec(mean), vec(rstd));
    return dot(r, y);
  };
  loss();
  be.residual_layer_norm_backward(texts.on(be), matrix(r, S, H), matrix(sum, S, H), dropout, vec(gamma), vec(mean), vec(rstd),
                                  matrix(d_residual, S, H), matrix(d_branch, S, H), vec(dg), vec(db));
  expect_gradient("residual", residual, d_residual, loss);
  expect_gradient("branch", branch, d_branch, loss);
  expect_gradient("gamma", gamma, dg, loss);
  expect_gradient("beta", beta, db, loss);
}

TEST(ReferenceGradients, Attention) {
  ReferenceBackend be;
  const Texts texts({4, 1, 3});
  const int64_t S = texts.tokens(), A = 2, H = 6;
  const Dropout dropout{0.25, Key(2).with("attention")};
  Values qkv = random_values(S * 3 * H, 1, 1.5), r = random_values(S * H, 2), ctx(r.size()), lse(16), d_qkv(qkv.size(), NAN);
  const auto loss = [&] {
    be.attention_forward(texts.on(be), matrix(qkv, S, 3 * H), A, dropout, matrix(ctx, S, H), matrix(lse, S, A));
    return dot(r, ctx);
  };
  loss();
  be.attention_backward(texts.on(be), matrix(qkv, S, 3 * H), matrix(ctx, S, H), matrix(lse, S, A), matrix(r, S, H), A, dropout,
                        matrix(d_qkv, S, 3 * H));
  expect_gradient("qkv", qkv, d_qkv, loss);
}

TEST(ReferenceGradients, MaskedAttentionOfTwoStreams) {
  ReferenceBackend be;
  const Texts texts({4, 1, 3, 5});
  const test::RandomMasks masks(texts.batch(), 3, 2);
  const int64_t S = texts.tokens(), A = 2, H = 6;
  const Dropout dropout{0.25, Key(2).with("attention")};
  Values q = random_values(S * H, 1, 1.5), kv = random_values(S * 2 * H, 2, 1.5), r = random_values(S * H, 3), ctx(r.size());
  Values lse(static_cast<size_t>(S * A)), d_q(q.size(), NAN), d_kv(kv.size(), NAN);
  const auto loss = [&] {
    be.masked_attention_forward(texts.on(be), masks.on(be, texts), matrix(q, S, H), matrix(kv, S, 2 * H), A, dropout, matrix(ctx, S, H),
                                matrix(lse, S, A));
    return dot(r, ctx);
  };
  loss();
  be.masked_attention_backward(texts.on(be), masks.on(be, texts), matrix(q, S, H), matrix(kv, S, 2 * H), matrix(ctx, S, H),
                               matrix(lse, S, A), matrix(r, S, H), A, dropout, matrix(d_q, S, H), matrix(d_kv, S, 2 * H));
  expect_gradient("q", q, d_q, loss);
  expect_gradient("kv", kv, d_kv, loss);
  EXPECT_GT(dot(d_kv, d_kv), 0.01);
}

TEST(ReferenceGradients, CrossEntropyInTilesOfAVocabulary) {
  ReferenceBackend be;
  const int64_t R = 3, V = 7, cut = 4;
  const std::vector<int32_t> ids = {5, 0, 3};
  const ConstTensor labels = view(std::span(ids));
  Values logits = random_values(R * V, 1, 3), lse(3), target(3);
  const auto tile = [&](int64_t first, int64_t end) {
    Values part;
    for (int64_t i = 0; i < R; ++i) part.insert(part.end(), logits.begin() + i * V + first, logits.begin() + i * V + end);
    return part;
  };
  const auto loss = [&] {
    Values left = tile(0, cut), right = tile(cut, V);
    be.cross_entropy_forward(matrix(left, R, cut), labels, 0, vec(lse), vec(target));
    be.cross_entropy_forward(matrix(right, R, V - cut), labels, cut, vec(lse), vec(target));
    double sum = 0;
    for (size_t i = 0; i < 3; ++i) sum += lse[i] - target[i];
    return 0.7 * sum;
  };
  loss();
  Values gradient(logits.size());
  for (const auto& [first, end] : {std::pair{int64_t{0}, cut}, {cut, V}}) {
    Values part = tile(first, end);
    be.cross_entropy_backward(matrix(part, R, end - first), labels, first, vec(lse), 0.7, matrix(part, R, end - first));
    for (int64_t i = 0; i < R; ++i) std::copy_n(part.begin() + i * (end - first), end - first, gradient.begin() + i * V + first);
  }
  expect_gradient("logits", logits, gradient, loss);
}

TEST(ReferenceGradients, GeluAndTanh) {
  ReferenceBackend be;
  Values x = random_values(40, 1, 4), r = random_values(40, 2), y(40), dx(40);
  const auto gelu = [&] { return be.gelu_forward(vec(x), vec(y)), dot(r, y); };
  be.gelu_backward(vec(x), vec(r), vec(dx));
  expect_gradient("gelu", x, dx, gelu);
  const auto tanh = [&] { return be.tanh_forward(vec(x), vec(y)), dot(r, y); };
  tanh();
  be.tanh_backward(vec(y), vec(r), vec(dx));
  expect_gradient("tanh", x, dx, tanh);
}

TEST(ReferenceGradients, Pooling) {
  ReferenceBackend be;
  const Texts texts({3, 1, 2});
  const int64_t S = texts.tokens(), B = 3, H = 4;
  for (const Pooling pooling : values_of<Pooling>()) {
    Values x = random_values(S * H, 1), r = random_values(B * H, 2), y(r.size()), dx(x.size(), NAN);
    be.pool_backward(texts.on(be), matrix(r, B, H), pooling, matrix(dx, S, H));
    expect_gradient("x", x, dx, [&] { return be.pool_forward(texts.on(be), matrix(x, S, H), pooling, matrix(y, B, H)), dot(r, y); });
  }
}

TEST(ReferenceGradients, NormalizingAddsIntoTheFirstColumns) {
  ReferenceBackend be;
  const int64_t B = 3, E = 5, d = 4;
  Values x = random_values(B * E, 1), r = random_values(B * d, 2), y(r.size()), norms(3), dx(x.size(), 1.0);
  const auto loss = [&] { return be.l2_normalize_forward(matrix(x, B, E), matrix(y, B, d), vec(norms)), dot(r, y); };
  loss();
  be.l2_normalize_backward(matrix(r, B, d), matrix(y, B, d), vec(norms), matrix(dx, B, E));
  for (double& g : dx) g -= 1;  // it held ones
  expect_gradient("x", x, dx, loss);
}

TEST(ReferenceGradients, SoftmaxRowsIsTheGradientOfLogSumExp) {
  ReferenceBackend be;
  const int64_t B = 3, N = 4;
  Values x = random_values(B * N, 1, 2), lse(3), gradient = x;
  const auto loss = [&] { return be.log_sum_exp_rows(matrix(x, B, N), 1.7, vec(lse)), lse[0] + lse[1] + lse[2]; };
  loss();
  be.softmax_rows(matrix(gradient, B, N), 1.7, vec(lse), 1.7);
  expect_gradient("x", x, gradient, loss);
}

TEST(ReferenceGradients, EmbeddingBackwardIsTheTransposeOfForward) {
  ReferenceBackend be;
  Texts texts({3, 2}, 4);
  texts.second = {1, 2};  // two tokens of type 1, then none
  const int64_t S = texts.tokens(), H = 3;
  Values word = random_values(4 * H, 1), position = random_values(3 * H, 2), type = random_values(2 * H, 3), r = random_values(S * H, 4);
  Values y(r.size()), dw(word.size()), dp(position.size()), dt(type.size());
  const auto loss = [&] {
    be.embed_forward(texts.on(be), matrix(word, 4, H), matrix(position, 3, H), matrix(type, 2, H), matrix(y, S, H));
    return dot(r, y);
  };
  be.embed_backward(texts.on(be), matrix(r, S, H), matrix(dw, 4, H), matrix(dp, 3, H), matrix(dt, 2, H));
  expect_gradient("word", word, dw, loss);
  expect_gradient("position", position, dp, loss);
  expect_gradient("type", type, dt, loss);
}

}  // namespace lodestone
