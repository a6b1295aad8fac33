// Do the reference operations give what a hand calculation gives?
#include <algorithm>

#include "core/cpu/reference/reference_backend.h"
#include "tests/core/op_fixture.h"

namespace lodestone {

using test::matrix;
using test::Texts;
using Values = std::vector<double>;

static Tensor vec(Values& v) { return view(std::span<double>(v)); }

TEST(ReferenceValues, LinearMultipliesByTheTransposeAndAddsTheBias) {
  ReferenceBackend be;
  Values x{1, 2, 3, 4}, w{1, 0, 0, 1, 1, 1}, b{10, 20, 30}, y(6);
  be.linear(matrix(x, 2, 2), matrix(w, 3, 2), vec(b), matrix(y, 2, 3));
  EXPECT_EQ(y, (Values{11, 22, 33, 13, 24, 37}));
}

TEST(ReferenceValues, GemmHonoursBothTransposesAlphaAndBeta) {
  ReferenceBackend be;
  Values a{1, 2, 3, 4, 5, 6}, at{1, 4, 2, 5, 3, 6}, b{1, 0, 2, 1, 0, 3}, bt{1, 2, 0, 0, 1, 3};
  const Values product{5, 11, 14, 23};  // [[1,2,3],[4,5,6]] [[1,0],[2,1],[0,3]]
  for (const Op op_a : {Op::none, Op::transpose})
    for (const Op op_b : {Op::none, Op::transpose}) {
      Values c{1, 1, 1, 1};
      be.gemm(op_a, op_a == Op::none ? matrix(a, 2, 3) : matrix(at, 3, 2), op_b, op_b == Op::none ? matrix(b, 3, 2) : matrix(bt, 2, 3), 2,
              3, matrix(c, 2, 2));
      for (size_t i = 0; i < 4; ++i) EXPECT_EQ(c[i], 2 * product[i] + 3);
    }
}

TEST(ReferenceValues, BetaZeroIgnoresWhatTheResultHeld) {
  ReferenceBackend be;
  Values a{2}, c{NAN};
  be.gemm(Op::none, matrix(a, 1, 1), Op::none, matrix(a, 1, 1), 1, 0, matrix(c, 1, 1));
  EXPECT_EQ(c[0], 4);
}

TEST(ReferenceValues, LayerNormOfTwoValuesIsPlusMinusOne) {
  ReferenceBackend be;
  Values x{3, 7}, g{2, 4}, b{1, 1}, y(2), mean(1), rstd(1);
  be.layer_norm_forward(matrix(x, 1, 2), vec(g), vec(b), 0, matrix(y, 1, 2), vec(mean), vec(rstd));
  EXPECT_EQ(y, (Values{-1, 5}));
  EXPECT_EQ(mean[0], 5);
  EXPECT_EQ(rstd[0], 0.5);
}

TEST(ReferenceValues, GeluIsTheErrorFunctionForm) {
  ReferenceBackend be;
  Values x{-1, 0, 1, 2}, y(4);
  be.gelu_forward(vec(x), vec(y));
  const Values phi{0.15865525393145705, 0.5, 0.8413447460685429, 0.9772498680518208};
  for (size_t i = 0; i < 4; ++i) EXPECT_NEAR(y[i], x[i] * phi[i], 1e-15);
}

TEST(ReferenceValues, EmbeddingAddsWordPositionAndFirstType) {
  ReferenceBackend be;
  Values word{1, 2, 3, 4}, position{10, 20, 30, 40}, type{100, 200, 300, 400}, y(6), dw(4), dp(4), dt(4);
  Texts texts({2, 1});
  texts.ids = {1, 0, 1};
  be.embed_forward(texts.on(be), matrix(word, 2, 2), matrix(position, 2, 2), matrix(type, 2, 2), matrix(y, 3, 2));
  EXPECT_EQ(y, (Values{113, 224, 131, 242, 113, 224}));
  Values dy{1, 2, 4, 8, 16, 32};
  be.embed_backward(texts.on(be), matrix(dy, 3, 2), matrix(dw, 2, 2), matrix(dp, 2, 2), matrix(dt, 2, 2));
  EXPECT_EQ(dw, (Values{4, 8, 17, 34}));
  EXPECT_EQ(dp, (Values{17, 34, 4, 8}));
  EXPECT_EQ(dt, (Values{21, 42, 0, 0}));
}

TEST(ReferenceValues, EmbeddingGivesTheSecondTypeFromItsBeginningOn) {
  ReferenceBackend be;
  Values word{1, 2, 3, 4}, position{10, 20, 30, 40}, type{100, 200, 300, 400}, y(6), dw(4), dp(4), dt(4);
  Texts texts({2, 1});
  texts.ids = {1, 0, 1};
  texts.second = {1, 1};  // the second token of the first text; none of the second text
  be.embed_forward(texts.on(be), matrix(word, 2, 2), matrix(position, 2, 2), matrix(type, 2, 2), matrix(y, 3, 2));
  EXPECT_EQ(y, (Values{113, 224, 331, 442, 113, 224}));
  Values dy{1, 2, 4, 8, 16, 32};
  be.embed_backward(texts.on(be), matrix(dy, 3, 2), matrix(dw, 2, 2), matrix(dp, 2, 2), matrix(dt, 2, 2));
  EXPECT_EQ(dt, (Values{17, 34, 4, 8}));
}

TEST(ReferenceValues, ASecondTypeOutsideItsTextOrTableIsRefused) {
  ReferenceBackend be;
  Values word(4), position(4), type(4), y(6);
  Texts texts({2, 1});
  texts.ids = {1, 0, 1};
  const auto embed = [&](const std::vector<int64_t>& second, int64_t types) {
    texts.second = second;
    be.embed_forward(texts.on(be), matrix(word, 2, 2), matrix(position, 2, 2), matrix(type, types, 4 / types), matrix(y, 3, 2));
  };
  EXPECT_NO_THROW(embed({0, 1}, 2));
  for (const std::vector<int64_t>& second : {std::vector<int64_t>{3, 0}, {0, -1}, {0}, {0, 0, 0}}) EXPECT_THROW(embed(second, 2), Error);
  EXPECT_THROW(embed({0, 1}, 1), Error);
}

TEST(ReferenceValues, AttentionWithEqualScoresAveragesTheValuesOfItsOwnText) {
  ReferenceBackend be;
  Texts texts({2, 1});
  Values qkv{0, 0, 1, 0, 0, 3, 0, 0, 100}, ctx(3), lse(3);
  be.attention_forward(texts.on(be), matrix(qkv, 3, 3), 1, {}, matrix(ctx, 3, 1), matrix(lse, 3, 1));
  EXPECT_NEAR(ctx[0], 2, 1e-15);
  EXPECT_NEAR(ctx[1], 2, 1e-15);
  EXPECT_EQ(ctx[2], 100);
  EXPECT_NEAR(lse[0], std::log(2.0), 1e-15);
  EXPECT_EQ(lse[2], 0);
}

TEST(ReferenceValues, PoolingTakesFirstMeanOrLast) {
  ReferenceBackend be;
  Texts texts({3, 0, 1});
  Values x{1, 2, 6, 5}, y(3);
  const auto pooled = [&](Pooling p) {
    be.pool_forward(texts.on(be), matrix(x, 4, 1), p, matrix(y, 3, 1));
    return y;
  };
  EXPECT_EQ(pooled(Pooling::cls), (Values{1, 0, 5}));
  EXPECT_NEAR(pooled(Pooling::mean)[0], 3, 1e-15);
  EXPECT_EQ(pooled(Pooling::last_token), (Values{6, 0, 5}));
}

TEST(ReferenceValues, NormalizingTruncatesAndLeavesTheZeroVectorAlone) {
  ReferenceBackend be;
  Values x{3, 4, 9, 0, 0, 9}, y(4), norms(2);
  be.l2_normalize_forward(matrix(x, 2, 3), matrix(y, 2, 2), vec(norms));
  EXPECT_EQ(y, (Values{0.6, 0.8, 0, 0}));
  EXPECT_EQ(norms, (Values{5, 0}));
}

TEST(ReferenceValues, LogSumExpDoesNotOverflow) {
  ReferenceBackend be;
  Values x{1000, 1000, -1000, -1000}, lse(2);
  be.log_sum_exp_rows(matrix(x, 2, 2), 2, vec(lse));
  EXPECT_NEAR(lse[0], 2000 + std::log(2.0), 1e-12);
  EXPECT_NEAR(lse[1], -2000 + std::log(2.0), 1e-12);
  be.softmax_rows(matrix(x, 2, 2), 2, vec(lse), 3);
  for (const double p : x) EXPECT_NEAR(p, 1.5, 1e-12);
}

// First step with g = 2 scaled by 0.5: bias correction makes m' = g and sqrt(v') = |g|, so p moves by lr (1 + wd p).
TEST(ReferenceValues, FirstAdamWStepMovesByTheLearningRate) {
  ReferenceBackend be;
  Values g{2, -2}, p{1, 1}, m(2), v(2);
  const std::vector<UpdateRun> runs{{{0, 2}}};
  be.adamw({.lr = 0.1, .eps = 0, .weight_decay = 0.5, .gradient_scale = 0.5}, runs, vec(g), vec(p), vec(m), vec(v));
  EXPECT_NEAR(p[0], 1 - 0.1 * (1 + 0.5), 1e-15);
  EXPECT_NEAR(p[1], 1 - 0.1 * (-1 + 0.5), 1e-15);
  EXPECT_NEAR(m[0], 0.1, 1e-15);
  EXPECT_NEAR(v[0], 0.001, 1e-15);
}

TEST(ReferenceValues, MismatchedShapesAreRefusedWithTheOperationsName) {
  ReferenceBackend be;
  Values x(6), w(6), y(4);
  try {
    be.linear(matrix(x, 2, 3), matrix(w, 3, 2), {}, matrix(y, 2, 2));
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.exit_code(), ExitCode::internal);
    EXPECT_NE(std::string(e.what()).find("linear"), std::string::npos);
  }
}

/// Asks for what operations on a device read.
class PlaceReader final : public ReferenceBackend {
 public:
  bool wants_token_places() const override { return true; }
};

TEST(UploadTexts, SaysWhatIsKnownOfTheTextsAndGivesTheSameOnTheHostAgain) {
  PlaceReader be;
  Arena arena(be.memory(), size_t{1} << 20);
  Texts texts({3, 1, 2});
  texts.ids = {4, 0, 2, 9, 1, 1};
  texts.second = {1, 1, 0};
  const DeviceTexts on = upload_texts(be, arena, texts.batch());
  EXPECT_EQ((std::vector<int64_t>{on.texts(), on.tokens(), on.shortest, on.longest, on.ids_end}), (std::vector<int64_t>{3, 6, 1, 3, 10}));
  const auto values = [](ConstTensor t) { return std::vector<int32_t>(t.host<int32_t>().begin(), t.host<int32_t>().end()); };
  EXPECT_EQ(values(on.text_of), (std::vector<int32_t>{0, 0, 0, 1, 2, 2}));
  EXPECT_EQ(values(on.place), (std::vector<int32_t>{0, 1, 2, 0, 0, 1}));
  const TokenBatch back = on_host(on);
  EXPECT_TRUE(std::ranges::equal(back.ids, texts.ids) && std::ranges::equal(back.offsets, texts.offsets));
  EXPECT_TRUE(std::ranges::equal(back.keys, texts.keys) && std::ranges::equal(back.second, texts.second));
  EXPECT_TRUE(on_host(on.without_dropout()).keys.empty());
  const std::vector<int32_t> other(6, 3);
  const DeviceTexts with_other = on.with_ids(view(std::span(other)), 4);
  EXPECT_EQ(with_other.ids_end, 4);
  EXPECT_TRUE(std::ranges::equal(on_host(with_other).ids, other));
  const DeviceTexts none = upload_texts(be, arena, {{}, std::span<const int64_t>(texts.offsets).first(1), {}});
  EXPECT_EQ(none.texts() + none.tokens() + none.longest + none.ids_end, 0);
}

TEST(UploadTexts, RefusesWhatAreNoTextsAndNoMasksOfThem) {
  ReferenceBackend be;
  const auto upload = [&](const auto& change) {
    Texts texts({3, 1, 2});
    change(texts);
    (void)texts.on(be);
  };
  EXPECT_NO_THROW(upload([](Texts&) {}));
  EXPECT_THROW(upload([](Texts& t) { t.ids.pop_back(); }), Error);
  EXPECT_THROW(upload([](Texts& t) { t.ids[1] = -1; }), Error);
  EXPECT_THROW(upload([](Texts& t) { t.offsets = {0, 4, 3, 6}; }), Error);
  EXPECT_THROW(upload([](Texts& t) { t.offsets = {1, 3, 4, 6}; }), Error);
  EXPECT_THROW(upload([](Texts& t) { t.keys.pop_back(); }), Error);
  EXPECT_THROW(upload([](Texts& t) { t.second = {0, 0, 3}; }), Error);
  const Texts texts({3, 70, 2});
  const auto upload_mask = [&](const auto& change) {
    test::RandomMasks masks(texts.batch(), 3);
    change(masks);
    (void)masks.on(be, texts);
  };
  EXPECT_NO_THROW(upload_mask([](test::RandomMasks&) {}));
  EXPECT_THROW(upload_mask([](test::RandomMasks& m) { m.bits.resize(m.bits.size() - 1 - m.bits.size() / 2); }), Error);
  EXPECT_THROW(upload_mask([](test::RandomMasks& m) { m.of_row[20] = 200; }), Error);
  EXPECT_THROW(upload_mask([](test::RandomMasks& m) { m.first[0] = -1; }), Error);
  EXPECT_THROW(upload_mask([](test::RandomMasks& m) { m.first.pop_back(); }), Error);
  EXPECT_THROW(upload_mask([](test::RandomMasks& m) { m.of_row.pop_back(); }), Error);
}

TEST(Backends, AChosenDeviceIsOneThatThisBuildHas) {
  for (const DeviceChoice device : {DeviceChoice::automatic, DeviceChoice::cpu}) EXPECT_EQ(backend_for(device), BackendKind::cpu);
  try {
    (void)backend_for(DeviceChoice::cuda);
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.exit_code(), ExitCode::usage);
    EXPECT_NE(e.remedy().find("cpu"), std::string::npos);
  }
}

}  // namespace lodestone
