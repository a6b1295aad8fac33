// The encoder as a whole: its gradient, its invariances, its memory and its hook.
#include "core/nn/encoder.h"

#include <gtest/gtest.h>

#include "core/cpu/reference/reference_backend.h"
#include "core/nn/chunk_meter.h"
#include "core/null/dry_run.h"
#include "tests/support/arena_peak.h"
#include "tests/support/gradcheck.h"
#include "tests/support/host_memory.h"
#include "tests/support/tiny_model.h"

namespace lodestone::test {
namespace {

constexpr int64_t vocab = 13;

std::vector<double> random_vector(size_t n, const char* name) {
  std::vector<double> v(n);
  fill_uniform(std::span(v), name, 1.0);
  return v;
}

void expect_whole_gradient(EmbedderConfig config, size_t stride) {
  Model model(config, DType::f64, "reference");
  const ModelTexts texts = make_texts({3, 1, 5}, vocab, Masks::on);
  const std::vector<double> weights = random_vector(3 * static_cast<size_t>(config.embedding()), "weights");
  const std::vector<double> gradient = model.gradient(texts, weights);
  std::vector<double> values = model.to_double(model.params.masters());
  const auto loss = [&] {
    from_double(*model.backend, model.arena, values, model.params.masters());
    return dot(model.embed(texts), weights);
  };
  expect_gradient("encoder", values, gradient, loss, stride);
  expect_directional("encoder", values, gradient, random_vector(gradient.size(), "direction"), loss);
}

TEST(Encoder, GradientWithMeanPoolingMatchesCentralDifferences) { expect_whole_gradient(tiny_embedder(Pooling::mean), 1); }
TEST(Encoder, GradientWithClsPoolingMatchesCentralDifferences) { expect_whole_gradient(tiny_embedder(Pooling::cls), 7); }
TEST(Encoder, GradientWithLastTokenPoolingMatchesCentralDifferences) { expect_whole_gradient(tiny_embedder(Pooling::last_token), 7); }
TEST(Encoder, GradientWithHeadMatchesCentralDifferences) {
  expect_whole_gradient(tiny_embedder(Pooling::mean, HeadConfig{5, true, Squash::identity}), 7);
  expect_whole_gradient(tiny_embedder(Pooling::cls, HeadConfig{11, false, Squash::tanh}), 7);
}

TEST(Encoder, ForwardWithAndWithoutSavingGiveTheSameBits) {
  Model model(tiny_embedder(), DType::f64, "reference");
  const ModelTexts texts = make_texts({3, 1, 5}, vocab, Masks::on);
  const Buffer grads(model.backend->memory(), static_cast<size_t>(model.params.layout().count()) * 8);
  const std::vector<double> weights = random_vector(24, "weights");
  EXPECT_EQ(model.embed(texts), model.add_gradient(texts, weights, grads.tensor(DType::f64, {model.params.layout().count()})));
}

TEST(Encoder, DropoutChangesTheEmbeddingAndFollowsTheStepsKey) {
  Model model(tiny_embedder(), DType::f64, "reference");
  const ModelTexts on = make_texts({3, 5}, vocab, Masks::on), off = make_texts({3, 5}, vocab, Masks::off);
  const std::vector<double> first = model.embed(on);
  EXPECT_NE(first, model.embed(off));
  EXPECT_EQ(first, model.embed(on));
  model.ex.key = Key(5).with("train").with(uint64_t{1});
  EXPECT_NE(first, model.embed(on));
}

TEST(Encoder, RecomputingBlocksGivesEqualGradientsFromLessMemory) {
  EmbedderConfig config = tiny_embedder();
  config.encoder.layers = 4;
  Model keeping(config, DType::f64, "reference"), recomputing(config, DType::f64, "reference", Checkpointing::per_block);
  const ModelTexts texts = make_texts({3, 1, 5, 9, 9, 9}, vocab, Masks::on);
  const std::vector<double> weights = random_vector(6 * 8, "weights");
  EXPECT_EQ(keeping.gradient(texts, weights), recomputing.gradient(texts, weights));
  EXPECT_LT(recomputing.arena.peak_bytes(), keeping.arena.peak_bytes() * 2 / 3);
}

// Chunks change the order of sums over tokens only: about 30 sums of rounding 1e-16 each.
TEST(Encoder, SplittingTextsOverCallsChangesNothingButRounding) {
  Model model(tiny_embedder(), DType::f64, "reference");
  const ModelTexts texts = make_texts({3, 1, 5, 4, 2}, vocab, Masks::on);
  const std::vector<double> weights = random_vector(5 * 8, "weights");
  const std::vector<double> whole_gradient = model.gradient(texts, weights), whole = model.embed(texts);
  const int64_t n = model.params.layout().count();
  for (const size_t cut : {1u, 2u, 4u}) {
    const Buffer grads(model.backend->memory(), static_cast<size_t>(n) * 8);
    const Tensor flat = grads.tensor(DType::f64, {n});
    std::vector<double> pieces;
    for (const auto& [first, last] : {std::pair<size_t, size_t>{cut, 5}, {0, cut}}) {
      const auto emb = model.add_gradient(texts.part(first, last), std::span(weights).subspan(first * 8, (last - first) * 8), flat);
      pieces.insert(pieces.begin(), emb.begin(), emb.end());
    }
    EXPECT_LT(relative_error(pieces, whole), 1e-14) << cut;
    EXPECT_LT(relative_error(model.to_double(flat), whole_gradient), 1e-14) << cut;
  }
}

TEST(Encoder, ATextsEmbeddingDoesNotDependOnItsNeighbours) {
  Model model(tiny_embedder(), DType::f64, "reference");
  const ModelTexts texts = make_texts({3, 9, 1, 5}, vocab, Masks::on);
  const std::vector<double> together = model.embed(texts);
  for (size_t b = 0; b < 4; ++b) {
    const std::vector<double> alone = model.embed(texts.part(b, b + 1));
    EXPECT_LT(relative_error(alone, std::span(together).subspan(b * 8, 8)), 1e-14) << b;
  }
}

/// The reference with products padded to multiples of 4 rows, as fast backends ask for.
class BucketedReference final : public ReferenceBackend {
 public:
  int64_t row_bucket() const override { return 4; }
};

TEST(Encoder, PaddingRowsOfProductsAddNothingWhateverTheMemoryHeld) {
  for (const Checkpointing checkpointing : {Checkpointing::none, Checkpointing::per_block}) {
    Model plain(tiny_embedder(Pooling::mean, HeadConfig{5}), DType::f64, std::make_unique<ReferenceBackend>(), checkpointing);
    Model padded(tiny_embedder(Pooling::mean, HeadConfig{5}), DType::f64, std::make_unique<BucketedReference>(), checkpointing);
    {
      const auto scope = padded.arena.scope();
      const Tensor all = padded.arena.tensor(DType::u8, {1 << 20});
      std::fill_n(all.bytes(), 1 << 20, std::byte{0xff});  // every float is a NaN
    }
    const ModelTexts texts = make_texts({3, 1, 5}, vocab, Masks::on);  // 9 tokens, 3 texts
    const std::vector<double> weights = random_vector(15, "weights");
    EXPECT_LT(relative_error(padded.embed(texts), plain.embed(texts)), 1e-14);
    EXPECT_LT(relative_error(padded.gradient(texts, weights), plain.gradient(texts, weights)), 1e-14);
  }
}

TEST(Encoder, TextsMayBeginAtALaterRowOfThePositionTable) {
  EmbedderConfig config = tiny_embedder();
  Model plain(config, DType::f64, "reference");
  config.encoder.positions += 2;
  config.encoder.first_position = 2;
  EXPECT_EQ(config.encoder.longest_text(), plain.config.encoder.positions);
  Model later(config, DType::f64, "reference");
  const std::string table = "embeddings.position_embeddings.weight";
  for (const Param& p : plain.params.layout().params()) {
    const Tensor own = later.params.master(later.params.layout().find(p.name));
    plain.backend->copy(plain.params.master(p), p.name == table ? own.rows(2, own.dim(0)) : own);
  }
  later.params.refresh(*later.backend);
  const ModelTexts texts = make_texts({3, 1, 9}, vocab, Masks::on);
  const std::vector<double> weights = random_vector(3 * static_cast<size_t>(config.embedding()), "weights");
  EXPECT_EQ(later.embed(texts), plain.embed(texts));
  std::vector<double> gradient = later.gradient(texts, weights);
  const Slice positions = later.params.layout().find(table).slice;
  const auto unread = gradient.begin() + positions.begin;
  EXPECT_TRUE(std::all_of(unread, unread + 2 * config.encoder.hidden, [](double d) { return d == 0; }));
  gradient.erase(unread, unread + 2 * config.encoder.hidden);
  EXPECT_EQ(gradient, plain.gradient(texts, weights));
  EXPECT_THROW(later.embed(make_texts({10}, vocab, Masks::off)), Error);
}

TEST(Encoder, HookCoversEveryParameterOnceLastLayerFirstAndNothingChangesAfterIt) {
  for (const Checkpointing checkpointing : {Checkpointing::none, Checkpointing::per_block}) {
    Model model(tiny_embedder(Pooling::mean, HeadConfig{5}), DType::f64, "reference", checkpointing);
    const int64_t n = model.params.layout().count();
    const Buffer grads(model.backend->memory(), static_cast<size_t>(n) * 8);
    const Tensor flat = grads.tensor(DType::f64, {n});
    std::vector<double> at_hook(static_cast<size_t>(n));
    int64_t next_end = n;
    int calls = 0;
    model.add_gradient(make_texts({3, 2}, vocab, Masks::on), random_vector(10, "weights"), flat, [&](Slice slice) {
      EXPECT_EQ(slice.end, next_end);
      next_end = slice.begin;
      ++calls;
      const std::vector<double> values = model.to_double(flat.slice(slice));
      std::copy(values.begin(), values.end(), at_hook.begin() + slice.begin);
    });
    EXPECT_EQ(next_end, 0);
    EXPECT_EQ(calls, 2 + model.config.encoder.layers);
    EXPECT_EQ(at_hook, model.to_double(flat));
  }
}

TEST(Encoder, NoTextsAtAllStillReportsEveryParameterReady) {
  Model model(tiny_embedder(), DType::f64, "reference");
  const int64_t n = model.params.layout().count();
  const Buffer grads(model.backend->memory(), static_cast<size_t>(n) * 8);
  int64_t covered = 0;
  model.add_gradient(ModelTexts{}, {}, grads.tensor(DType::f64, {n}), [&](Slice slice) { covered += slice.count(); });
  EXPECT_EQ(covered, n);
}

TEST(Encoder, BytesSaidAreBytesTaken) {
  for (const Checkpointing checkpointing : {Checkpointing::none, Checkpointing::per_block})
    for (const std::optional<HeadConfig> head : {std::optional<HeadConfig>{}, std::optional<HeadConfig>{HeadConfig{5}}}) {
      Model model(tiny_embedder(Pooling::mean, head), DType::f64, "reference", checkpointing);
      const ModelTexts texts = make_texts({3, 1, 5}, vocab, Masks::on);
      const int64_t E = model.config.embedding(), n = model.params.layout().count();
      size_t kept_bytes = 0;
      const auto forward = [&](Exec ex) {
        const auto scope = ex.arena.scope();
        model.encoder.forward(ex, upload_texts(ex.backend, ex.arena, texts.tokens()), ex.arena.tensor(DType::f64, {3, E}));
      };
      const auto train = [&](Exec ex) {
        const auto scope = ex.arena.scope();
        const Buffer grads(ex.backend.memory(), static_cast<size_t>(n) * 8);
        const DeviceTexts tokens = upload_texts(ex.backend, ex.arena, texts.tokens());
        const Tensor emb = ex.arena.tensor(DType::f64, {3, E});
        const size_t before = ex.arena.used_bytes();
        EncoderSaved* saved = model.encoder.forward_saved(ex, tokens, emb);
        kept_bytes = ex.arena.used_bytes() - before;
        model.encoder.backward(ex, tokens, saved, emb, grads.tensor(DType::f64, {n}), {});
        EXPECT_EQ(ex.arena.used_bytes() - before, kept_bytes);
      };
      DryRun dry(*model.backend);
      EXPECT_EQ(peak_of(dry.exec(model.ex), forward), peak_of(model.ex, forward));
      const size_t said = peak_of(dry.exec(model.ex), train), taken = peak_of(model.ex, train);
      EXPECT_EQ(said, taken);
      const auto scope = model.arena.scope();
      EXPECT_GT(kept_bytes, 0u);
      EXPECT_EQ(ChunkMeter().saved_bytes(model.ex, model.encoder, model.on_device(texts)), kept_bytes);
    }
}

TEST(Encoder, TextsTheModelCannotTakeAreRefused) {
  Model model(tiny_embedder(), DType::f64, "reference");
  EXPECT_THROW(model.embed(make_texts({10}, vocab, Masks::off)), Error);
  EXPECT_THROW(model.embed(make_texts({2, 0}, vocab, Masks::off)), Error);
  ModelTexts outside = make_texts({3}, vocab, Masks::off);
  outside.ids[1] = vocab;
  EXPECT_THROW(model.embed(outside), Error);
}

TEST(EmbedderLayout, QueryKeyAndValueLieSideBySideAndOnlyMatricesDecay) {
  const ParamLayout layout = embedder_layout(tiny_embedder(Pooling::mean, HeadConfig{5}));
  const std::string self = "encoder.layer.1.attention.self.";
  EXPECT_EQ(layout.find(self + "query.weight").slice.end, layout.find(self + "key.weight").slice.begin);
  EXPECT_EQ(layout.find(self + "key.weight").slice.end, layout.find(self + "value.weight").slice.begin);
  EXPECT_EQ(layout.find(self + "value.weight").slice.end, layout.find(self + "query.bias").slice.begin);
  EXPECT_EQ(layout.find(self + "key.bias").slice.end, layout.find(self + "value.bias").slice.begin);
  for (const Param& p : layout.params()) EXPECT_EQ(p.decay == Decay::yes, p.shape.rank() == 2) << p.name;
}

TEST(EmbedderLayout, MiniLmL6HasItsPublishedSize) {
  EmbedderConfig config;                                                   // the defaults are MiniLM-L6's sizes
  EXPECT_EQ(embedder_layout(config).count(), 22713216 - 384 * 384 - 384);  // all-MiniLM-L6-v2 without its unused pooler
}

TEST(InitializeParameters, AreAFunctionOfSeedNameAndElement) {
  EmbedderConfig small = tiny_embedder(), deep = tiny_embedder();
  small.encoder.hidden = deep.encoder.hidden = 64;
  deep.encoder.layers = 5;
  ParamStore a(test::host_memory, embedder_layout(small), DType::f64), b(test::host_memory, embedder_layout(deep), DType::f64),
      c(test::host_memory, embedder_layout(small), DType::f64);
  initialize_parameters(small, a, 1);
  initialize_parameters(deep, b, 1);
  initialize_parameters(small, c, 2);
  const std::string name = "encoder.layer.1.output.dense.weight";
  const auto values = [&](const ParamStore& p) {
    const auto v = p.master(p.layout().find(name)).host<double>();
    return std::vector<double>(v.begin(), v.end());
  };
  EXPECT_EQ(values(a), values(b));
  EXPECT_NE(values(a), values(c));
}

// 768 values of a normal distribution of deviation s: the mean is off by s / sqrt(768) = 0.036 s, the variance by 5 %. Four deviations.
TEST(InitializeParameters, MatricesAreNormalWithTheConfiguredDeviation) {
  EmbedderConfig config = tiny_embedder();
  config.encoder.hidden = 64;
  ParamStore params(test::host_memory, embedder_layout(config), DType::f64);
  initialize_parameters(config, params, 1);
  const auto v = params.master(params.layout().find("encoder.layer.0.output.dense.weight")).host<double>();
  double sum = 0, squares = 0;
  for (const double x : v) sum += x, squares += x * x;
  const double n = static_cast<double>(v.size());
  EXPECT_NEAR(sum / n, 0, 4 * 0.02 / std::sqrt(n));
  EXPECT_NEAR(squares / n, 0.02 * 0.02, 4 * 0.02 * 0.02 * std::sqrt(2 / n));
  for (const double x : params.master(params.layout().find("embeddings.LayerNorm.weight")).host<double>()) EXPECT_EQ(x, 1);
  for (const double x : params.master(params.layout().find("encoder.layer.0.output.dense.bias")).host<double>()) EXPECT_EQ(x, 0);
}

}  // namespace
}  // namespace lodestone::test
