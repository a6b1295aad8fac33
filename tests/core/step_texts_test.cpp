// Texts of a step: their names, what fills them up, and that it changes nothing.
#include "core/step_texts.h"

#include <gtest/gtest.h>

#include <set>

#include "tests/support/tiny_model.h"

namespace lodestone::test {
namespace {

class StepTexts : public testing::Test {
 protected:
  Model model_{tiny_embedder(), DType::f64, "reference"};
  FillLimits limits_{.tokens = 1000, .longest = 9};
};

TEST_F(StepTexts, HaveOtherNamesInEveryStep) {
  const ModelTexts texts = make_texts({3, 4, 2}, 13, Masks::on), plain = make_texts({3}, 13, Masks::off);
  const auto scope = model_.arena.scope();
  std::set<uint64_t> names(texts.keys.begin(), texts.keys.end());
  for (const uint64_t step : {1, 2, 3}) {
    const TokenBatch named = in_step(model_.ex.at(Key(step)), texts.tokens());
    names.insert(named.keys.begin(), named.keys.end());
    EXPECT_EQ(named.ids.data(), texts.ids.data());
    const TokenBatch again = in_step(model_.ex.at(Key(step)), texts.tokens());
    EXPECT_TRUE(std::equal(named.keys.begin(), named.keys.end(), again.keys.begin()));
  }
  EXPECT_EQ(names.size(), 12u);
  EXPECT_EQ(in_step(model_.ex, texts.tokens()).keys.data(), texts.keys.data()) << "outside of steps";
  EXPECT_TRUE(in_step(model_.ex.at(Key(1)), plain.tokens()).keys.empty());
}

TEST_F(StepTexts, AreFilledUpToFewShapes) {
  const int64_t bucket = model_.backend->row_bucket();
  std::set<std::vector<int64_t>> shapes;
  for (int64_t n = 1; n <= 40; ++n) {
    const auto scope = model_.arena.scope();
    ModelTexts texts;
    for (int64_t b = 0; b < n; ++b) {
      const ModelTexts one = make_texts({1 + b % 8}, 13, Masks::on);
      texts.ids.insert(texts.ids.end(), one.ids.begin(), one.ids.end());
      texts.offsets.push_back(std::ssize(texts.ids));
      texts.keys.push_back(one.keys[0]);
    }
    const DeviceTexts filled = upload_filled_texts(model_.ex, texts.tokens(), limits_);
    EXPECT_EQ(filled.given_texts(), n);
    EXPECT_EQ(filled.tokens() % bucket, 0);
    EXPECT_GE(filled.tokens(), texts.tokens().tokens());
    EXPECT_LE(static_cast<double>(filled.tokens()),
              std::max(1.125 * static_cast<double>(texts.tokens().tokens()), static_cast<double>(texts.tokens().tokens() + bucket)));
    EXPECT_EQ(filled.texts() & (filled.texts() - 1), 0) << "a power of two";
    EXPECT_EQ(filled.shortest, 1);
    EXPECT_EQ(filled.longest, std::max<int64_t>(std::min<int64_t>(n, 8), 9)) << "no more than there are positions";
    shapes.insert({filled.tokens(), filled.texts(), filled.longest});
  }
  EXPECT_LE(shapes.size(), 26u);
}

TEST_F(StepTexts, AreNotFilledBeyondTheBudgetOfAChunk) {
  const auto scope = model_.arena.scope();
  const int64_t bucket = model_.backend->row_bucket(), budget = 17 * bucket;
  ModelTexts texts = make_texts({1}, 13, Masks::on);
  while (std::ssize(texts.ids) < 16 * bucket + 1) {
    texts.ids.push_back(1);
    if (std::ssize(texts.ids) - texts.offsets.back() < 9) continue;
    texts.offsets.push_back(std::ssize(texts.ids));
    texts.keys.push_back(1);
  }
  if (texts.offsets.back() != std::ssize(texts.ids)) {
    texts.offsets.push_back(std::ssize(texts.ids));
    texts.keys.push_back(1);
  }
  EXPECT_EQ(upload_filled_texts(model_.ex, texts.tokens(), {.tokens = budget, .longest = 9}).tokens(), budget);
  EXPECT_EQ(upload_filled_texts(model_.ex, texts.tokens(), {.tokens = 1, .longest = 9}).tokens(), budget) << "what is there is there";
}

// Only the order of sums over rows differs, where products go by other shapes.
TEST_F(StepTexts, FillingUpChangesNeitherVectorsNorGradients) {
  for (const Pooling pooling : {Pooling::mean, Pooling::cls, Pooling::last_token})
    for (const bool two_types : {false, true}) {
      Model model(tiny_embedder(pooling, HeadConfig{.out_features = 5, .bias = true, .squash = Squash::tanh}), DType::f64, "reference");
      ModelTexts texts = make_texts({3, 9, 4, 1}, 13, Masks::on);
      if (two_types) texts.second = {1, 4, 4, 0};
      const int64_t width = model.config.embedding(), count = model.params.layout().count();
      const Buffer memory(model.backend->memory(), 2 * static_cast<size_t>(count) * sizeof(double));
      const Tensor grads = memory.tensor(DType::f64, {2, count});
      model.backend->fill_zero(grads);
      std::vector<std::vector<double>> vectors, gradients;
      for (const bool fill : {false, true}) {
        const auto scope = model.arena.scope();
        const DeviceTexts on_device = fill ? upload_filled_texts(model.ex, texts.tokens(), limits_) : model.on_device(texts);
        const Tensor emb = model.arena.tensor(DType::f64, {4, width}), plain = model.arena.tensor(DType::f64, {4, width});
        EncoderSaved* const saved = model.encoder.forward_saved(model.ex, on_device, emb);
        model.encoder.forward(model.ex, on_device, plain);
        const Tensor flat = grads.rows(fill ? 1 : 0, fill ? 2 : 1).reshape({count});
        model.encoder.backward(model.ex, on_device, saved, emb, flat, {});
        vectors.push_back(model.to_double(emb));
        EXPECT_EQ(model.to_double(plain), vectors.back());
        gradients.push_back(model.to_double(flat));
      }
      for (size_t i = 0; i < vectors[0].size(); ++i) EXPECT_NEAR(vectors[1][i], vectors[0][i], 1e-14);
      for (size_t i = 0; i < gradients[0].size(); ++i) EXPECT_NEAR(gradients[1][i], gradients[0][i], 1e-13) << i;
      EXPECT_GT(dot(gradients[0], gradients[0]), 0.01);
    }
}

}  // namespace
}  // namespace lodestone::test
