// The reranker as a whole: its gradient, its dropout, its memory and its hook.
#include "core/nn/reranker.h"

#include <gtest/gtest.h>

#include "core/null/dry_run.h"
#include "tests/support/arena_peak.h"
#include "tests/support/gradcheck.h"
#include "tests/support/rounding.h"
#include "tests/support/tiny_model.h"

namespace lodestone::test {
namespace {

constexpr int64_t vocab = 13;

RerankerConfig tiny_reranker() { return {.encoder = tiny_encoder(), .classifier_dropout = 0.3}; }

/// Three pairs of 9 tokens in all.
ModelTexts tiny_pairs(Masks masks) {
  ModelTexts pairs = make_texts({4, 2, 3}, vocab, masks);
  pairs.second = {2, 1, 3};  // the last has no second text
  return pairs;
}

struct PairModel {
  explicit PairModel(DType compute, const char* kind = "reference", Checkpointing checkpointing = Checkpointing::none)
      : backend(any_backend(kind)),
        params(backend->memory(), reranker_layout(tiny_reranker()), compute),
        reranker(tiny_reranker(), params, checkpointing),
        ex{*backend, arena, Key(5).with("train").with(uint64_t{0}), compute} {
    edit_on_host(params, *backend, [](ParamStore& host) { randomize(host); });
  }

  std::vector<double> as_doubles(ConstTensor t) { return to_double(*backend, arena, t); }
  std::vector<double> score(const ModelTexts& pairs) {
    const auto scope = arena.scope();
    const Tensor scores = arena.tensor(ex.wide(), {pairs.tokens().texts()});
    reranker.forward(ex, upload_texts(*backend, arena, pairs.tokens()), scores);
    return as_doubles(scores);
  }
  /// The gradient of <d_scores, scores>.
  std::vector<double> gradient(const ModelTexts& pairs, std::span<const double> d_scores, const std::function<void(Slice)>& ready = {}) {
    const auto scope = arena.scope();
    const int64_t n = params.layout().count();
    const Buffer memory(backend->memory(), static_cast<size_t>(n) * size_of(ex.wide()));
    const Tensor grads = memory.tensor(ex.wide(), {n}), scores = arena.tensor(ex.wide(), {pairs.tokens().texts()});
    const DeviceTexts texts = upload_texts(*backend, arena, pairs.tokens());
    const RerankerSaved saved = reranker.forward_saved(ex, texts, scores);
    const Tensor d = tensor_of(*backend, arena, d_scores, scores.shape(), ex.wide());
    reranker.backward(ex, texts, saved, d, grads, ready);
    return as_doubles(grads);
  }

  std::unique_ptr<Backend> backend;
  Arena arena{backend->memory(), size_t{4} << 30};
  ParamStore params;
  Reranker reranker;
  Exec ex;
};

const std::vector<double> weights{0.7, -1.3, 0.4};

TEST(Reranker, GradientOfEveryParameterMatchesCentralDifferencesWithDropout) {
  PairModel model(DType::f64);
  const ModelTexts pairs = tiny_pairs(Masks::on);
  const std::vector<double> gradient = model.gradient(pairs, weights);
  std::vector<double> values = model.as_doubles(model.params.masters());
  expect_gradient("reranker", values, gradient, [&] {
    from_double(*model.backend, model.arena, values, model.params.masters());
    return dot(model.score(pairs), weights);
  });
  const Param& types = model.params.layout().find("embeddings.token_type_embeddings.weight");
  double second_row = 0;
  for (int64_t i = types.slice.begin + types.shape[1]; i < types.slice.end; ++i) second_row += std::abs(gradient[static_cast<size_t>(i)]);
  EXPECT_GT(second_row, 1e-3);  // the passage's type learns
}

TEST(Reranker, ScoreIsLinearInTheTanhOfADenseLayerOnTheFirstToken) {
  PairModel model(DType::f64);
  const ModelTexts pairs = tiny_pairs(Masks::off);
  Model encoder(tiny_embedder(Pooling::cls), DType::f64, "reference");  // the same parameters by name
  const std::vector<double> first = encoder.embed(pairs), scores = model.score(pairs);
  const auto value = [&](const char* name) { return model.as_doubles(model.params.master(model.params.layout().find(name))); };
  const auto weight = value("pooler.dense.weight"), bias = value("pooler.dense.bias"), classifier = value("classifier.weight");
  const size_t H = 8;
  for (size_t b = 0; b < 3; ++b) {
    double score = value("classifier.bias")[0];
    for (size_t o = 0; o < H; ++o) {
      double y = bias[o];
      for (size_t i = 0; i < H; ++i) y += weight[o * H + i] * first[b * H + i];
      score += classifier[o] * std::tanh(y);
    }
    EXPECT_NEAR(scores[b], score, 1e-13);
  }
}

TEST(Reranker, DropsElementsOfTheVectorByTheNameOfThePair) {
  PairModel model(DType::f64);
  const std::vector<double> on = model.score(tiny_pairs(Masks::on)), off = model.score(tiny_pairs(Masks::off));
  EXPECT_NE(on, off);
  EXPECT_EQ(on, model.score(tiny_pairs(Masks::on)));
  const ModelTexts pairs = tiny_pairs(Masks::on);
  for (size_t b = 0; b < 3; ++b) EXPECT_NEAR(model.score(pairs.part(b, b + 1))[0], on[b], 1e-14);  // whatever its neighbours
}

TEST(Reranker, RecomputingBlocksAndFastBackendsGiveTheSameGradient) {
  const ModelTexts pairs = tiny_pairs(Masks::on);
  PairModel exact(DType::f64);
  const std::vector<double> expected = exact.gradient(pairs, weights), scores = exact.score(pairs);
  PairModel recomputing(DType::f64, "reference", Checkpointing::per_block);
  EXPECT_LT(relative_error(recomputing.gradient(pairs, weights), expected), 1e-14);
  PairModel fast(DType::f32, "cpu"), rounded(DType::bf16, "cpu");
  from_double(*exact.backend, exact.arena, beside(exact.as_doubles(exact.params.masters())), exact.params.masters());
  constexpr int64_t terms = 12;  // of the longest sum: over the feed-forward's width, and over the nine tokens
  const std::vector<double> single = fast.gradient(pairs, weights), there = exact.gradient(pairs, weights);
  EXPECT_LT(distance_between(fast.score(pairs), scores), rounding_of(scores, exact.score(pairs), terms));
  EXPECT_LT(distance_between(single, expected), rounding_of(expected, there, terms));
  EXPECT_LT(distance_between(rounded.gradient(pairs, weights), expected), stored_rounding_of(expected, there));
}

TEST(Reranker, HookCoversEveryParameterOnceScoreHeadFirst) {
  PairModel model(DType::f64);
  for (const bool any : {true, false}) {
    int64_t next_end = model.params.layout().count();
    const ModelTexts pairs = any ? tiny_pairs(Masks::on) : ModelTexts{};
    model.gradient(pairs, std::span(weights).first(any ? 3 : 0), [&](Slice slice) {
      EXPECT_EQ(slice.end, next_end);
      next_end = slice.begin;
    });
    EXPECT_EQ(next_end, 0);
  }
}

TEST(Reranker, BytesSaidAreBytesTaken) {
  for (const Checkpointing checkpointing : {Checkpointing::none, Checkpointing::per_block}) {
    PairModel model(DType::f64, "reference", checkpointing);
    const ModelTexts pairs = tiny_pairs(Masks::on);
    const int64_t n = model.params.layout().count();
    std::vector<size_t> kept;
    const auto forward = [&](Exec ex) {
      const auto scope = ex.arena.scope();
      model.reranker.forward(ex, upload_texts(ex.backend, ex.arena, pairs.tokens()), ex.arena.tensor(DType::f64, {3}));
    };
    const auto train = [&](Exec ex) {
      const auto scope = ex.arena.scope();
      const Buffer grads(ex.backend.memory(), static_cast<size_t>(n) * 8);
      const DeviceTexts texts = upload_texts(ex.backend, ex.arena, pairs.tokens());
      const Tensor scores = ex.arena.tensor(DType::f64, {3});
      const size_t before = ex.arena.used_bytes();
      const RerankerSaved saved = model.reranker.forward_saved(ex, texts, scores);
      kept.push_back(ex.arena.used_bytes() - before);
      model.reranker.backward(ex, texts, saved, scores, grads.tensor(DType::f64, {n}), {});
      EXPECT_EQ(ex.arena.used_bytes() - before, kept.back());
    };
    DryRun dry(*model.backend);
    EXPECT_EQ(peak_of(dry.exec(model.ex), forward), peak_of(model.ex, forward));
    EXPECT_EQ(peak_of(dry.exec(model.ex), train), peak_of(model.ex, train));
    EXPECT_EQ(kept.at(0), kept.at(1));
    EXPECT_GT(kept.at(0), 0u);
  }
}

TEST(RerankerLayout, IsTheEncodersFollowedByPoolerAndClassifier) {
  const ParamLayout layout = reranker_layout(tiny_reranker()), encoder = embedder_layout(tiny_embedder());
  ASSERT_EQ(layout.params().size(), encoder.params().size() + 4);
  for (size_t i = 0; i < encoder.params().size(); ++i) EXPECT_EQ(layout.params()[i].name, encoder.params()[i].name);
  EXPECT_EQ(layout.find("pooler.dense.weight").shape, (Shape{8, 8}));
  EXPECT_EQ(layout.find("classifier.weight").shape, (Shape{1, 8}));
  for (const Param& p : layout.params()) EXPECT_EQ(p.decay == Decay::yes, p.shape.rank() == 2) << p.name;
}

}  // namespace
}  // namespace lodestone::test
