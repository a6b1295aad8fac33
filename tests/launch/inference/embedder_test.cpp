// Which components of a vector does the embedder keep, on the host and on a device?
#include "launch/inference/embedder.h"

#include <gtest/gtest.h>

#include "tests/support/tiny_folder.h"

namespace lodestone {
namespace {

constexpr std::string_view texts[] = {"red cat", "blue stone river", "moon", "tree tree dog"};

/// Vectors of the texts [4,E], or of the leading `dimensions` components, by a model that leaves them as long as they are.
std::vector<float> embedded(Backend& backend, int64_t dimensions) {
  const test::TinyFolder made;
  ModelFolder folder = read_model_folder(made.path());
  folder.config.normalize = false;
  ParamStore params(backend.memory(), embedder_layout(folder.config), DType::f32);
  edit_on_host(params, backend, [&](ParamStore& host) { load_weights(folder, host); });
  const Encoder encoder(folder.config, params);
  const Tokenizer tokenizer = Tokenizer::from_folder(made.path());
  TextEmbedder embedder(encoder, tokenizer, {.max_length = 16, .chunk_tokens = 10, .dimensions = dimensions});
  Arena arena(backend.memory());
  std::vector<float> out(std::size(texts) * static_cast<size_t>(embedder.embedding()));
  embedder.embed({backend, arena, Key{}, DType::f32}, texts, "", out);
  return out;
}

TEST(TextEmbedder, KeepsTheLeadingComponentsAsTheyAre) {
  for (const BackendKind kind : {BackendKind::cpu, BackendKind::debug}) {
    const auto backend = make_backend({.kind = kind});
    const std::vector<float> whole = embedded(*backend, 0), leading = embedded(*backend, 5);
    ASSERT_EQ(whole.size(), 4u * 16);
    ASSERT_EQ(leading.size(), 4u * 5);
    for (size_t i = 0; i < 4; ++i)
      for (size_t e = 0; e < 5; ++e) EXPECT_EQ(leading[i * 5 + e], whole[i * 16 + e]) << backend->description();
  }
}

}  // namespace
}  // namespace lodestone
