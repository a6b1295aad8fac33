// Do the fast bodies of an operation, of the CPU or of a device, give what the reference gives? Attention has a file of its own.
#include "tests/core/operation_parity.h"

#include "core/choice.h"
#include "core/nn/config.h"
#include "tests/support/squares.h"

namespace lodestone::test {

INSTANTIATE_TEST_SUITE_P(All, OperationParity, testing::ValuesIn(parity_settings()), name_of_setting);

TEST_P(OperationParity, Linear) {
  for (const auto& [s, k, n] : {std::tuple{1, 1, 1}, {33, 20, 37}, {130, 64, 96}, {7, 384, 5}, {0, 4, 4}}) {
    const Operand x = activation({s, k}, 1), weight = activation({n, k}, 2), bias = wide({n}, 3), y = activation({s, n}, 4),
                  z = wide({s, n}, 5);
    run([&](Backend& be, auto pick) { be.linear(pick(x), pick(weight), pick(bias), pick(y)); });
    expect_same("y", y, {.terms = k + 1});
    run([&](Backend& be, auto pick) { be.linear(pick(x), pick(weight), ConstTensor{}, pick(z)); });
    expect_same("y in f32 without bias", z, {.terms = k});
    const Operand rounded = activation({n}, 6);
    if (!fast_.wants_rounded_biases()) {
      if (dtype() == DType::bf16) {
        EXPECT_THROW(fast_.linear(x.fast, weight.fast, rounded.fast, y.fast), Error);
      }
      continue;
    }
    run([&](Backend& be, auto pick) { be.linear(pick(x), pick(weight), pick(rounded), pick(y)); });
    expect_same("y with a bias of its dtype", y, {.terms = k + 1});
  }
}

TEST_P(OperationParity, GemmWithEveryTransposeAlphaAndBeta) {
  for (const Op op_a : {Op::none, Op::transpose})
    for (const Op op_b : {Op::none, Op::transpose})
      for (const auto& [alpha, beta] : {std::pair{1.0, 0.0}, {1.0, 1.0}, {-0.5, 2.0}}) {
        const int64_t m = 45, n = 31, k = 70;
        const Operand a = activation(op_a == Op::none ? Shape{m, k} : Shape{k, m}, 1),
                      b = activation(op_b == Op::none ? Shape{k, n} : Shape{n, k}, 2);
        const Operand c = activation({m, n}, 3), d = wide({m, n}, 4);
        run([&, alpha = alpha, beta = beta](Backend& be, auto pick) {
          be.gemm(op_a, pick(a), op_b, pick(b), alpha, beta, pick(c));
          be.gemm(op_a, pick(a), op_b, pick(b), alpha, beta, pick(d));
        });
        expect_same("c", c, {.terms = k + 1});
        expect_same("c in f32", d, {.terms = k + 1});
      }
}

TEST_P(OperationParity, GemmOfDepthZeroOnlyScales) {
  const Operand a = activation({3, 0}, 1), b = activation({0, 2}, 2), c = wide({3, 2}, 3);
  run([&](Backend& be, auto pick) { be.gemm(Op::none, pick(a), Op::none, pick(b), 1, 0.5, pick(c)); });
  expect_same("c", c);
}

TEST_P(OperationParity, ColumnSums) {
  for (const auto& [s, m] : {std::pair{1, 1}, {9, 3}, {7, 20}, {65, 8}, {61, 384}, {130, 136}, {1600, 33}, {1600, 40}}) {
    const Operand x = activation({s, m}, 1), sums = wide({m}, 2);
    run([&](Backend& be, auto pick) { be.column_sums(pick(x), pick(sums)); });
    expect_same("sums", sums, {.terms = s});
    const Operand flat = activation({s * m + 1}, 3), more = wide({m + 1}, 4);
    run([&, s = s, m = m](Backend& be, auto pick) {
      be.column_sums(behind_the_first(pick(flat), {s, m}), behind_the_first(pick(more), {m}));
    });
    expect_same("sums of rows that lie otherwise", more, {.terms = s});
  }
}

TEST_P(OperationParity, LinearGradients) {
  for (const auto& [s, m, k] : {std::tuple{1, 1, 1}, {7, 20, 3}, {64, 48, 40}, {320, 33, 24}})
    for (const bool biased : {true, false}) {
      const Operand dy = activation({s, m}, 1), x = activation({s, k}, 2), d_weight = wide({m, k}, 3), d_bias = wide({m}, 4);
      run([&](Backend& be, auto pick) { be.linear_gradients(pick(dy), pick(x), pick(d_weight), biased ? pick(d_bias) : Tensor{}); });
      expect_same("d_weight", d_weight, {.terms = s + 1});
      expect_same("d_bias", d_bias, {.terms = s + 1});
    }
}

TEST_P(OperationParity, EmbeddingsOfOneAndTwoTokenTypes) {
  for (const std::vector<int64_t>& second : {std::vector<int64_t>{}, {2, 0, 0, 17}, {5, 1, 0, 9}}) {
    Texts texts({5, 1, 0, 17}, 9);
    texts.second = second;
    const int64_t S = texts.tokens(), H = second.empty() ? 88 : second[0] == 2 ? 84 : 83;
    const Operand word = wide({9, H}, 1), position = wide({20, H}, 2), type = wide({2, H}, 3), y = activation({S, H}, 4);
    run([&](Backend& be, auto pick) { be.embed_forward(texts.on(be), pick(word), pick(position), pick(type), pick(y)); });
    expect_same("y", y, {.terms = 3});
    const Operand dy = activation({S, H}, 5);
    run([&](Backend& be, auto pick) { be.embed_backward(texts.on(be), pick(dy), pick(word), pick(position), pick(type)); });
    expect_same("d_word", word, {.terms = S});
    expect_same("d_position", position, {.terms = S});
    expect_same("d_type", type, {.terms = S});
  }
}

TEST_P(OperationParity, LayerNorm) {
  for (const auto& [S, H] : {std::pair<int64_t, int64_t>{1, 7}, {2, 3}, {70, 36}, {129, 384}, {3, 1000}}) {
    const Rounding of_sums{.terms = std::max(S, H)};  // of a row, or of what all rows add to a parameter
    const Operand x = activation({S, H}, 1, 3), gamma = wide({H}, 2), beta = wide({H}, 3), y = activation({S, H}, 4);
    const Operand mean = wide({S}, 5), rstd = wide({S}, 6), dy = activation({S, H}, 7), dg = wide({H}, 8), db = wide({H}, 9);
    run([&](Backend& be, auto pick) { be.layer_norm_forward(pick(x), pick(gamma), pick(beta), 1e-12, pick(y), pick(mean), pick(rstd)); });
    expect_same("y", y, of_sums);
    expect_same("mean", mean, of_sums);
    expect_same("rstd", rstd, of_sums);
    run([&](Backend& be, auto pick) {
      be.layer_norm_backward(pick(dy), pick(x), pick(gamma), pick(mean), pick(rstd), pick(dy), pick(dg), pick(db));
    });
    expect_same("dx", dy, of_sums);
    expect_same("d_gamma", dg, of_sums);
    expect_same("d_beta", db, of_sums);
  }
}

TEST_P(OperationParity, ResidualLayerNormAndDropoutDropTheSameElements) {
  const Texts texts({3, 0, 70, 1, 30});
  for (const double p : {0.0, 0.1, 0.6})
    for (const int64_t H : {20, 128, 200, 384}) {
      const int64_t S = texts.tokens();
      const Dropout dropout{p, Key(9).with("place")};
      const Rounding of_sums{.terms = std::max(S, H)};
      const Operand residual = activation({S, H}, 1), branch = activation({S, H}, 2), gamma = wide({H}, 3), beta = wide({H}, 4);
      const Operand sum = activation({S, H}, 5), y = activation({S, H}, 6), mean = wide({S}, 7), rstd = wide({S}, 8);
      run([&](Backend& be, auto pick) {
        be.residual_layer_norm_forward(texts.on(be), pick(residual), pick(branch), dropout, pick(gamma), pick(beta), 1e-12, pick(sum),
                                       pick(y), pick(mean), pick(rstd));
      });
      expect_same("sum", sum, {.terms = 2});
      expect_same("y", y, of_sums);
      expect_same("mean", mean, tolerance(dtype(), of_sums));  // those of the rounded sum
      expect_same("rstd", rstd, tolerance(dtype(), of_sums));
      fast_.residual_layer_norm_forward(texts.on(fast_), residual.fast, branch.fast, dropout, gamma.fast, beta.fast, 1e-12, branch.fast,
                                        y.fast, mean.fast, rstd.fast);
      EXPECT_EQ(fast_values(branch), fast_values(sum)) << "in place of the branch";
      const Operand x = activation({S, H}, 9), m = wide({S}, 10), r = wide({S}, 11), dy = activation({S, H}, 12),
                    d_branch = activation({S, H}, 13);
      const Operand dg = wide({H}, 14), db = wide({H}, 15);
      run([&](Backend& be, auto pick) {
        be.residual_layer_norm_backward(texts.on(be), pick(dy), pick(x), dropout, pick(gamma), pick(m), pick(r), pick(dy), pick(d_branch),
                                        pick(dg), pick(db));
      });
      expect_same("d_residual", dy, of_sums);
      expect_same("d_branch", d_branch, of_sums);
      expect_same("d_gamma", dg, of_sums);
      expect_same("d_beta", db, of_sums);
      run([&](Backend& be, auto pick) { be.dropout(texts.on(be), pick(x), dropout, pick(y)); });
      expect_same("dropout", y);
    }
}

TEST_P(OperationParity, Activations) {
  for (const int64_t n : {1, 15, 5003}) {
    const Operand x = activation({n}, 1, 14), dy = activation({n}, 2), y = activation({n}, 3), dx = activation({n}, 4);
    run([&](Backend& be, auto pick) { be.gelu_forward(pick(x), pick(y)), be.gelu_backward(pick(x), pick(dy), pick(dx)); });
    expect_same("gelu", y);
    expect_same("d_gelu", dx, {.condition = 4});  // of exp(-x^2 / 2), where it is not small: x^2
    const Operand t = activation({n}, 5, 3), dt = activation({n}, 6);
    run([&](Backend& be, auto pick) { be.tanh_forward(pick(t), pick(y)), be.tanh_backward(pick(t), pick(dy), pick(dt)); });
    expect_same("tanh", y);
    expect_same("d_tanh", dt, {.condition = 6});  // of 1 - tanh(x)^2: 2 |x|
  }
}

TEST_P(OperationParity, CrossEntropyInTiles) {
  const Rounding of_exponents{.condition = 40};  // of logits and of their lse, 20 each
  for (const auto& [R, K] : {std::pair{4, 2}, {9, 33}, {5, 1003}, {3, 2056}}) {
    std::vector<int32_t> ids;
    for (int64_t i = 0; i < R; ++i) ids.push_back(static_cast<int32_t>(i * 400 % (2 * K)));
    const ConstTensor labels = view(std::span(ids));
    const Operand left = wide({R, K}, 1, 20), right = wide({R, K}, 2, 20), lse = wide({R}, 3), target = wide({R}, 4);
    run([&, K = K](Backend& be, auto pick) {
      be.cross_entropy_forward(pick(left), pick(labels), 0, pick(lse), pick(target));
      be.cross_entropy_forward(pick(right), pick(labels), K, pick(lse), pick(target));
    });
    expect_same("lse", lse, {.terms = 2 * K});
    expect_same("target", target);
    const Operand d = activation({R, K}, 5);
    run([&, K = K](Backend& be, auto pick) { be.cross_entropy_backward(pick(right), pick(labels), K, pick(lse), 0.25, pick(d)); });
    expect_same("d_logits", d, of_exponents);
    run([&](Backend& be, auto pick) { be.cross_entropy_backward(pick(left), pick(labels), 0, pick(lse), 0.25, pick(left)); });
    expect_same("d_logits in place", left, of_exponents);
  }
}

TEST_P(OperationParity, RowsAreChosenAndPutBack) {
  const std::vector<int64_t> chosen = {49, 0, 17}, outside = {0, 1, 50};
  const ConstTensor places = view(std::span(chosen));
  for (const int64_t H : {33, 34, 40}) {
    const Operand x = activation({50, H}, 1), few = activation({3, H}, 2), y = activation({50, H}, 3);
    run([&](Backend& be, auto pick) { be.select_rows(pick(x), pick(places), pick(few)), be.place_rows(pick(few), pick(places), pick(y)); });
    expect_same("chosen", few, 0);
    expect_same("put back", y, 0);
    if (fast_.device() == Device::cpu) {  // elsewhere nobody looks before the rows are there
      EXPECT_THROW(fast_.select_rows(x.fast, view(std::span(outside)), few.fast), Error);
    }
  }
}

TEST_P(OperationParity, SentenceVectors) {
  const Texts texts({4, 1, 0, 33});
  const int64_t S = texts.tokens(), B = 4;
  for (const Pooling pooling : values_of<Pooling>())
    for (const int64_t width : {33, 52, 56}) {
      const Operand x = activation({S, width}, 1), y = wide({B, width}, 2), dy = wide({B, width}, 3), dx = activation({S, width}, 4);
      run([&](Backend& be, auto pick) {
        be.pool_forward(texts.on(be), pick(x), pooling, pick(y));
        be.pool_backward(texts.on(be), pick(dy), pooling, pick(dx));
      });
      expect_same("pooled", y, {.terms = S});
      expect_same("d_pooled", dx);
    }
}

TEST_P(OperationParity, NormalizedVectors) {
  const int64_t B = 4;
  for (const auto& [H, d] : {std::pair{52, 1}, {3, 3}, {52, 19}, {52, 20}, {53, 52}, {52, 52}, {640, 600}}) {
    const Operand x = wide({B, H}, 5), y = wide({B, d}, 6), norms = wide({B}, 7), dy = wide({B, d}, 8), dx = wide({B, H}, 9);
    run([&](Backend& be, auto pick) {
      be.l2_normalize_forward(pick(x), pick(y), pick(norms));
      be.l2_normalize_backward(pick(dy), pick(y), pick(norms), pick(dx));
    });
    expect_same("normalized", y, {.terms = H});
    expect_same("norms", norms, {.terms = H});
    expect_same("d_normalized", dx, {.terms = H});
    const Operand flat = wide({B * H + 1}, 10), z = wide({B * d + 1}, 11), d_flat = wide({B * H + 1}, 12);
    run([&, H = H, d = d](Backend& be, auto pick) {
      const Tensor normalized = behind_the_first(pick(z), {B, d});
      be.l2_normalize_forward(behind_the_first(pick(flat), {B, H}), normalized, pick(norms));
      be.l2_normalize_backward(pick(dy), normalized, pick(norms), behind_the_first(pick(d_flat), {B, H}));
    });
    expect_same("normalized where rows lie otherwise", z, {.terms = H});
    expect_same("d_normalized where rows lie otherwise", d_flat, {.terms = H});
  }
}

// Below the smallest norm the divisor is a constant.
TEST_P(OperationParity, ZeroVectorsStayZero) {
  for (const int64_t d : {3, 20}) {
    const Operand x = wide({2, d}, 1, 0), y = wide({2, d}, 2), norms = wide({2}, 3), dy = wide({2, d}, 4), dx = wide({2, d}, 5);
    run([&](Backend& be, auto pick) {
      be.l2_normalize_forward(pick(x), pick(y), pick(norms));
      be.l2_normalize_backward(pick(dy), pick(y), pick(norms), pick(dx));
    });
    expect_same("normalized", y, 0);
    expect_same("norms", norms, 0);
    expect_same("d_normalized", dx, {.terms = 2});
  }
}

TEST_P(OperationParity, RowStatistics) {
  for (const auto& [B, N] : {std::pair{1, 1}, {9, 33}, {5, 1003}, {3, 2056}}) {
    const Operand x = wide({B, N}, 1), lse = wide({B}, 2);
    run([&](Backend& be, auto pick) { be.log_sum_exp_rows(pick(x), 20, pick(lse)); });
    expect_same("lse", lse, {.terms = N});
    run([&](Backend& be, auto pick) { be.softmax_rows(pick(x), 20, pick(lse), 0.25); });
    expect_same("softmax", x, {.condition = 40});  // exponents of x and of lse, 20 each
  }
}

TEST_P(OperationParity, RowsMaskedByMinusInfinityHaveNoProbability) {
  const double inf = std::numeric_limits<double>::infinity();
  Operand x = wide({2, 20}, 1), lse = wide({2}, 2);
  std::fill(x.exact.begin(), x.exact.end(), -inf);
  x.exact[7] = 3;
  set_fast(x);
  fast_.log_sum_exp_rows(x.fast, 2, lse.fast);
  EXPECT_FLOAT_EQ(static_cast<float>(fast_values(lse)[0]), 6);
  EXPECT_EQ(fast_values(lse)[1], -inf);
  fast_.softmax_rows(x.fast.rows(0, 1), 2, lse.fast.slice({0, 1}), 1);
  for (size_t i = 0; i < 20; ++i) EXPECT_FLOAT_EQ(static_cast<float>(fast_values(x)[i]), i == 7 ? 1 : 0);
}

TEST_P(OperationParity, OptimizerAndVectors) {
  const int64_t n = 70001;
  Operand g = wide({n}, 1), p = wide({n}, 2), m = wide({n}, 3, 0.1), v = wide({n}, 4, 0.1);
  for (double& second : v.exact) second = std::abs(second);
  set_fast(v);
  const AdamWStep step{.lr = 0.01, .weight_decay = 0.1, .gradient_scale = 0.7, .t = 3};
  // One run of all; some with gaps between them, one of which begins nowhere in particular; many short ones.
  std::vector<UpdateRun> many;
  for (int64_t i = 0; i < 300; ++i) many.push_back({{7 * i, 7 * i + 1 + i % 7}, i % 3 == 0});
  for (const std::vector<UpdateRun>& runs :
       {std::vector<UpdateRun>{{{0, n}}}, {{{8, 3000}, false}, {{3001, 3003}}, {{4000, n - 1}}}, many}) {
    run([&](Backend& be, auto pick) { be.adamw(step, runs, pick(g), pick(p), pick(m), pick(v)); });
    expect_same("p", p, {.terms = 3});
    expect_same("m", m, {.terms = 2});
    expect_same("v", v, {.terms = 2});
  }
  const Operand squares = operand({1}, DType::f64, 8, 0);
  run([&](Backend& be, auto pick) { be.sum_squares(pick(g), pick(squares)); });
  expect_same("sum of squares", squares, {.terms = n});
  for (const int64_t few : {0, 1, 3, 6}) {
    run([&](Backend& be, auto pick) { be.sum_squares(pick(g).slice({1, 1 + few}), pick(squares)); });
    expect_same("sum of few squares", squares, {.terms = few});
  }
  const Operand x = activation({n}, 5), y = activation({n}, 6), z = wide({n}, 7);
  run([&](Backend& be, auto pick) { be.axpy(-1.5, pick(x), pick(y)), be.cast(pick(y), pick(z)); });
  expect_same("axpy", y, {.terms = 2});
  expect_same("cast up", z, tolerance(dtype()));
  run([&](Backend& be, auto pick) { be.cast(pick(g), pick(x)), be.fill_zero(pick(y)), be.copy(pick(g), pick(z)); });
  expect_same("cast down", x);
  expect_same("zero", y, 0);
  expect_same("copy", z, 0);
}

// Everything but the products gives the same bits for any number of threads.
TEST(CpuBackendThreads, SumsDoNotDependOnTheNumberOfThreads) {
  const int64_t S = 1003, H = 200;
  const Texts texts({1003});
  std::vector<std::vector<float>> results;
  for (const int threads : {1, 2, 5}) {
    CpuBackend be(threads);
    std::vector<float> x(static_cast<size_t>(S * H)), statistics(static_cast<size_t>(S), 0.5f), gamma(static_cast<size_t>(H), 1.0f),
        dx(x.size());
    std::vector<float> sums(static_cast<size_t>(3 * H)), word(static_cast<size_t>(7 * H)), position(x.size()), type(static_cast<size_t>(H));
    for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(Key(1).uniform(i) - 0.5);
    const Tensor X = view(std::span(x)).reshape({S, H}), DX = view(std::span(dx)).reshape({S, H}), all = view(std::span(sums));
    const Tensor stat = view(std::span(statistics));
    be.column_sums(X, all.slice({0, H}));
    be.layer_norm_backward(X, X, view(std::span(gamma)), stat, stat, DX, all.slice({H, 2 * H}), all.slice({2 * H, 3 * H}));
    be.embed_backward(texts.on(be), X, view(std::span(word)).reshape({7, H}), view(std::span(position)).reshape({S, H}),
                      view(std::span(type)).reshape({1, H}));
    sums.insert(sums.end(), word.begin(), word.end());
    sums.push_back(static_cast<float>(squares_of(be, X)));
    results.push_back(sums);
  }
  EXPECT_EQ(results[0], results[1]);
  EXPECT_EQ(results[0], results[2]);
}

TEST(CpuBackend, DescriptionNamesLibraryKernelsAndHowBf16IsMultiplied) {
  const std::string text = CpuBackend(1).description();
  for (const char* part : {"oneDNN 2", "x86-64-v", "bf16", "1 thread"}) EXPECT_NE(text.find(part), std::string::npos) << text;
}

}  // namespace lodestone::test
