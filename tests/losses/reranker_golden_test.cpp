// Parity with PyTorch: scores, losses and gradients of a tiny cross-encoder against values that transformers computed in f64.
// The file and how to make it again: tests/parity/make_reranker_golden.py.
#include <gtest/gtest.h>

#include "losses/reranker_objective.h"
#include "tests/support/evaluate.h"
#include "tests/support/golden_file.h"
#include "tests/support/golden_gradients.h"
#include "tests/support/safetensors.h"
#include "tests/support/tiny_model.h"

namespace lodestone::test {
namespace {

RerankerConfig golden_config(const Golden& golden) {
  const auto json = nlohmann::json::parse(golden.metadata.at("config"));
  RerankerConfig config;
  config.encoder = {.vocab = json["vocab_size"],
                    .hidden = json["hidden_size"],
                    .layers = json["num_hidden_layers"],
                    .heads = json["num_attention_heads"],
                    .feed_forward = json["intermediate_size"],
                    .positions = json["max_position_embeddings"],
                    .types = json["type_vocab_size"]};
  return config;
}

Batch golden_batch(const Golden& golden) {
  Batch batch;
  for (const double id : golden.at("ids")) batch.ids.push_back(static_cast<int32_t>(id));
  for (const int64_t length : nlohmann::json::parse(golden.metadata.at("lengths"))) batch.offsets.push_back(batch.offsets.back() + length);
  for (const int64_t place : nlohmann::json::parse(golden.metadata.at("second"))) batch.second.push_back(place);
  batch.group = std::stoll(golden.metadata.at("group"));
  batch.queries = batch.global_queries = static_cast<int64_t>(batch.second.size()) / batch.group;
  return batch;
}

/// Hugging Face's name of a parameter.
std::string name_there(const Param& p) { return p.name.starts_with("classifier.") ? p.name : "bert." + p.name; }

const std::pair<const char*, GroupTarget> losses[] = {{"group_ce", GroupTarget::cross_entropy}, {"bce", GroupTarget::binary}};

struct Answer {
  std::vector<double> scores;
  double loss[2];          // as `losses`
  Gradients gradients[2];  // by Hugging Face's names
};

/// Of Weights::beside the gradients are of scores whose derivatives are beside() the loss's too: in the sum over a group, to which
/// cross-entropy gives derivatives that sum to zero, the pairs' parts cancel whatever the weights are.
Answer answer_of(const Golden& golden, std::unique_ptr<Backend> backend, DType compute, Weights weights) {
  const RerankerConfig config = golden_config(golden);
  const Batch batch = golden_batch(golden);
  Arena arena(backend->memory(), size_t{1} << 30);
  ParamStore params(backend->memory(), reranker_layout(config), compute);
  set_weights(params, *backend, arena, golden, name_there, weights);
  const Reranker reranker(config, params);
  Exec ex{*backend, arena, Key{}, compute};
  const int64_t n = params.layout().count();

  const auto scope = arena.scope();
  const Tensor scores = arena.tensor(ex.wide(), {batch.tokens().texts()});
  reranker.forward(ex, upload_texts(*backend, arena, batch.tokens()), scores);
  Answer answer{.scores = to_double(*backend, arena, scores), .loss = {}, .gradients = {}};
  for (size_t i = 0; i < 2; ++i) {
    const Buffer memory(backend->memory(), static_cast<size_t>(n) * size_of(ex.wide()));
    const Tensor grads = memory.tensor(ex.wide(), {n});
    RerankerObjective objective(reranker, {.loss = {.target = losses[i].second}, .chunk_tokens = 40});
    answer.loss[i] = accumulate(objective, ex, batch, 1, grads, {});
    if (weights == Weights::beside) {
      const DeviceTexts texts = upload_texts(*backend, arena, batch.tokens());
      const RerankerSaved saved = reranker.forward_saved(ex, texts, scores);
      const Shape groups{batch.queries, batch.group};
      const Tensor d_scores = arena.tensor(DType::f64, groups), total = zero_total(ex);
      group_loss(ex, {.target = losses[i].second}, scores.reshape(groups), {}, 1 / static_cast<double>(batch.queries), d_scores, total);
      from_double(*backend, arena, beside(to_double(*backend, arena, d_scores)), d_scores);
      backend->fill_zero(grads);
      reranker.backward(ex, texts, saved, d_scores.reshape(scores.shape()), grads, {});
    }
    for (const Param& p : params.layout().params()) answer.gradients[i][name_there(p)] = to_double(*backend, arena, grads.slice(p.slice));
  }
  return answer;
}

void expect_parity(const char* kind, DType compute) {
  const Golden golden = read_golden(golden_file("reranker.safetensors"));
  const Answer got = answer_of(golden, any_backend(kind), compute, Weights::golden),
               there = answer_of(golden, make_backend({.kind = BackendKind::reference}), DType::f64, Weights::beside);
  const int64_t terms = golden_config(golden).encoder.feed_forward;  // of the longest sum
  const std::vector<double>& scores = golden.at("scores");
  EXPECT_LT(distance_between(got.scores, scores), rounding_of(scores, there.scores, terms, compute));
  const auto values = nlohmann::json::parse(golden.metadata.at("losses"));
  for (size_t i = 0; i < 2; ++i) {
    const std::string name = losses[i].first;
    const double loss = values[name].get<double>();
    EXPECT_NEAR(got.loss[i], loss, rounding_of({&loss, 1}, {&there.loss[i], 1}, terms, compute)) << name;
    Gradients exact;
    for (const auto& [parameter, gradient] : got.gradients[i]) exact[parameter] = golden.at(cat(name, '/', parameter));
    expect_gradients(name, got.gradients[i], there.gradients[i], exact, terms, compute);
  }
}

TEST(RerankerGolden, ReferenceInF64EqualsPyTorch) { expect_parity("reference", DType::f64); }
TEST(RerankerGolden, FastBackendInF32EqualsPyTorch) { expect_parity("cpu", DType::f32); }

}  // namespace
}  // namespace lodestone::test
