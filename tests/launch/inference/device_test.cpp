// Do embedding and scoring on a device give the bits of the CPU?
#include <gtest/gtest.h>

#include "launch/inference/scorer.h"
#include "tests/support/tiny_reranker_folder.h"

namespace lodestone::test {
namespace {

constexpr std::string_view texts[] = {"red cat", "blue dog tree", "moon", "", "river river stone cat", "tree moon red blue cat dog"};

std::vector<float> embedded_on(BackendKind kind, const std::filesystem::path& folder) {
  const auto backend = make_backend({.kind = kind, .threads = 1});
  LoadedModel model(folder, {.max_length = 16, .chunk_tokens = 12}, *backend);
  std::vector<float> vectors(std::size(texts) * static_cast<size_t>(model.embedder().embedding()));
  model.embedder().embed(model.exec(), texts, "red ", vectors);
  return vectors;
}

TEST(InferenceOnADevice, EmbedsAsTheCpu) {
  const TinyFolder folder;
  const std::vector<float> expected = embedded_on(BackendKind::cpu, folder.path());
  EXPECT_NE(expected.front(), 0.0f);
  EXPECT_EQ(embedded_on(BackendKind::debug, folder.path()), expected);
}

std::vector<float> scored_on(BackendKind kind, const std::filesystem::path& folder) {
  const auto backend = make_backend({.kind = kind, .threads = 1});
  LoadedReranker model(folder, {.max_length = 24, .chunk_tokens = 20}, *backend);
  std::vector<TextPair> pairs;
  for (size_t i = 0; i < std::size(texts); ++i) pairs.push_back({texts[i], texts[(i + 1) % std::size(texts)]});
  std::vector<float> scores(pairs.size());
  model.scorer().score(model.exec(), pairs, scores);
  return scores;
}

TEST(InferenceOnADevice, ScoresPairsAsTheCpu) {
  const TinyRerankerFolder folder;
  const std::vector<float> expected = scored_on(BackendKind::cpu, folder.path());
  EXPECT_NE(expected.front(), expected.back());
  EXPECT_EQ(scored_on(BackendKind::debug, folder.path()), expected);
}

}  // namespace
}  // namespace lodestone::test
