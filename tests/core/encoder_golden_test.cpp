// Parity with PyTorch: embeddings and gradients of a tiny BERT against values that transformers computed in f64.
// The file and how to make it again: tests/parity/make_encoder_golden.py.
#include <gtest/gtest.h>

#include <algorithm>

#include "losses/info_nce.h"
#include "tests/support/golden_file.h"
#include "tests/support/golden_gradients.h"
#include "tests/support/safetensors.h"
#include "tests/support/tiny_model.h"

namespace lodestone::test {
namespace {

struct Case {
  const char* name = nullptr;
  Pooling pooling{};
  std::optional<HeadConfig> head;
};
const Case cases[] = {
    {"mean", Pooling::mean, {}},
    {"cls", Pooling::cls, {}},
    {"last_token", Pooling::last_token, {}},
    {"mean_dense", Pooling::mean, HeadConfig{7, true, Squash::identity}},
    {"cls_tanh", Pooling::cls, HeadConfig{7, true, Squash::tanh}},
};

EmbedderConfig golden_config(const Golden& golden, Pooling pooling, std::optional<HeadConfig> head) {
  const auto json = nlohmann::json::parse(golden.metadata.at("config"));
  EmbedderConfig config;
  config.encoder = {.vocab = json["vocab_size"],
                    .hidden = json["hidden_size"],
                    .layers = json["num_hidden_layers"],
                    .heads = json["num_attention_heads"],
                    .feed_forward = json["intermediate_size"],
                    .positions = json["max_position_embeddings"],
                    .types = json["type_vocab_size"]};
  config.pooling = pooling;
  config.head = head;
  return config;
}

ModelTexts golden_texts(const Golden& golden) {
  ModelTexts texts;
  for (const double id : golden.at("ids")) texts.ids.push_back(static_cast<int32_t>(id));
  for (const int64_t length : nlohmann::json::parse(golden.metadata.at("lengths"))) texts.offsets.push_back(texts.offsets.back() + length);
  return texts;
}

void set_weights(Model& model, const Golden& golden, Weights weights = Weights::golden) {
  const auto same_name = [](const Param& p) { return p.name; };
  set_weights(model.params, *model.backend, model.arena, golden, same_name, weights);
}

/// The model's embeddings, and in `gradients` those of its parameters.
std::vector<double> embed(Model& model, const ModelTexts& texts, std::span<const double> d_emb, Gradients& gradients) {
  const Buffer memory(model.backend->memory(), static_cast<size_t>(model.params.layout().count()) * size_of(model.ex.wide()));
  const Tensor flat = memory.tensor(model.ex.wide(), {model.params.layout().count()});
  std::vector<double> emb = model.add_gradient(texts, d_emb, flat);
  for (const Param& p : model.params.layout().params()) gradients[p.name] = model.to_double(flat.slice(p.slice));
  return emb;
}

void expect_parity(const std::string& backend, DType compute) {
  const Golden golden = read_golden(golden_file("encoder.safetensors"));
  const ModelTexts texts = golden_texts(golden);
  for (const Case& c : cases) {
    const std::string prefix = std::string(c.name) + "/";
    Model model(golden_config(golden, c.pooling, c.head), compute, backend),
        other(model.config, DType::f64, make_backend({.kind = BackendKind::reference}));
    set_weights(model, golden);
    set_weights(other, golden, Weights::beside);
    Gradients ours, there, exact;
    for (const Param& p : model.params.layout().params()) exact[p.name] = golden.at(prefix + "gradient/" + p.name);
    const std::vector<double>&d_emb = golden.at(prefix + "d_embeddings"), &exact_emb = golden.at(prefix + "embeddings");
    const std::vector<double> emb = embed(model, texts, d_emb, ours), emb_there = embed(other, texts, beside(d_emb), there);
    const int64_t terms = model.config.encoder.feed_forward;  // of the longest sum
    EXPECT_LT(distance_between(emb, exact_emb), rounding_of(exact_emb, emb_there, terms, compute)) << c.name;
    expect_gradients(c.name, ours, there, exact, terms, compute);
  }
}

// With the vectors that PyTorch found, so that each half of the chain is held to rounding on its own.
TEST(EncoderGolden, InfoNceAndItsGradientEqualPyTorch) {
  const Golden golden = read_golden(golden_file("encoder.safetensors"));
  const auto losses = nlohmann::json::parse(golden.metadata.at("losses"));
  for (const Case& c : cases) {
    const std::vector<double>& emb = golden.at(std::string(c.name) + "/embeddings");
    const size_t half = emb.size() / 2;
    const int64_t E = golden_config(golden, c.pooling, c.head).embedding();
    std::vector<double> d_emb(emb.size());
    const std::span<const double> vectors(emb);
    const double loss = info_nce({.queries = vectors.first(half),
                                  .passages = vectors.last(half),
                                  .embedding = E,
                                  .dimensions = E,
                                  .temperature = std::stod(golden.metadata.at("temperature"))},
                                 std::span(d_emb).first(half), std::span(d_emb).last(half));
    EXPECT_NEAR(loss, losses[c.name].get<double>(), 1e-12 * loss) << c.name;
    EXPECT_LT(relative_error(d_emb, golden.at(std::string(c.name) + "/d_embeddings")), 1e-11) << c.name;
  }
}

TEST(EncoderGolden, ReferenceInF64EqualsPyTorch) { expect_parity("reference", DType::f64); }
TEST(EncoderGolden, ReferenceInF32EqualsPyTorch) { expect_parity("reference", DType::f32); }

TEST(EncoderGolden, FastBackendInF32EqualsPyTorch) { expect_parity("cpu", DType::f32); }

// PyTorch's autocast keeps the stream between layers in f32 and this backend in bf16, so half as much again is allowed.
TEST(EncoderGolden, GradientInBf16IsAsNearToTheExactOneAsPyTorchsAutocast) {
  const Golden golden = read_golden(golden_file("encoder_bf16.safetensors"));
  Model model(golden_config(golden, Pooling::mean, {}), DType::bf16, "cpu");
  set_weights(model, golden);
  std::vector<double> exact(static_cast<size_t>(model.params.layout().count()));
  for (const Param& p : model.params.layout().params()) {
    const auto& g = golden.at("gradient/" + p.name);
    std::copy(g.begin(), g.end(), exact.begin() + p.slice.begin);
  }
  const ModelTexts texts = golden_texts(golden);
  const double error = relative_error(model.gradient(texts, golden.at("d_embeddings")), exact);
  const double embedding_error = relative_error(model.embed(texts), golden.at("embeddings"));
  EXPECT_LT(error, 1.5 * std::stod(golden.metadata.at("autocast_gradient_error")));
  EXPECT_LT(embedding_error, 1.5 * std::stod(golden.metadata.at("autocast_embedding_error")));
  RecordProperty("gradient_error", cat(error));
  RecordProperty("embedding_error", cat(embedding_error));
}

}  // namespace
}  // namespace lodestone::test
