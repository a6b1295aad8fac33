// Parity with PyTorch: the masked-language-model loss and its gradient against values that transformers' BertForMaskedLM gave in f64.
// The file and how to make it again: tests/parity/make_mlm_golden.py.
#include <gtest/gtest.h>

#include "comm/planes.h"
#include "losses/retromae_objective.h"
#include "tests/support/evaluate.h"
#include "tests/support/golden_file.h"
#include "tests/support/golden_gradients.h"
#include "tests/support/safetensors.h"
#include "tests/support/tiny_model.h"

namespace lodestone::test {
namespace {

struct Answer {
  double loss = 0;
  Gradients gradients;  // of the parameters that the file has
};

Answer answer_of(const Golden& golden, std::unique_ptr<Backend> backend, DType compute, Weights weights) {
  const auto json = nlohmann::json::parse(golden.metadata.at("config"));
  EmbedderConfig config;
  config.encoder = {.vocab = json["vocab_size"],
                    .hidden = json["hidden_size"],
                    .layers = json["num_hidden_layers"],
                    .heads = json["num_attention_heads"],
                    .feed_forward = json["intermediate_size"],
                    .positions = json["max_position_embeddings"],
                    .types = json["type_vocab_size"]};
  Arena arena{backend->memory(), size_t{1} << 30};
  const Exec ex{*backend, arena, Key(1), compute};
  ParamStore params(backend->memory(), retromae_layout(config), compute);
  edit_on_host(params, *backend, [&](ParamStore& host) { initialize_parameters(config, host, 1); });
  const auto same_name = [](const Param& p) { return p.name; };
  constexpr int64_t of_the_decoder = 16;  // RetroMAE's layer, of which the masked language model knows nothing
  set_weights(params, *backend, arena, golden, same_name, weights, of_the_decoder);

  Batch batch;
  for (const double id : golden.at("ids")) batch.ids.push_back(static_cast<int32_t>(id));
  for (const double label : golden.at("labels")) batch.mlm_labels.push_back(label < 0 ? no_label : static_cast<int32_t>(label));
  batch.decoder_ids = batch.ids;
  batch.decoder_labels.assign(batch.ids.size(), no_label);
  for (const int64_t length : nlohmann::json::parse(golden.metadata.at("lengths"))) batch.offsets.push_back(batch.offsets.back() + length);

  const Encoder encoder(config, params);
  const auto self = make_self_comm();
  const Planes planes(*self, *backend);
  RetroMaeObjective objective(encoder, params, planes.group(), {.decoder_weight = 0}, 20, {.rows = 8, .elements = 64});
  const Buffer memory(backend->memory(), static_cast<size_t>(params.layout().count()) * size_of(ex.wide()));
  const Tensor grads = memory.tensor(ex.wide(), {params.layout().count()});
  Answer answer{accumulate(objective, ex, batch, 1, grads, {}), {}};
  for (const Param& p : params.layout().params())
    if (golden.tensors.contains("weight/" + p.name)) answer.gradients[p.name] = to_double(*backend, arena, grads.slice(p.slice));
  return answer;
}

void expect_parity(const char* kind, DType compute) {
  const Golden golden = read_golden(golden_file("mlm.safetensors"));
  const Answer got = answer_of(golden, any_backend(kind), compute, Weights::golden),
               there = answer_of(golden, make_backend({.kind = BackendKind::reference}), DType::f64, Weights::beside);
  const int64_t terms = nlohmann::json::parse(golden.metadata.at("config"))["vocab_size"];  // of the longest sum: a row's words
  const double loss = std::stod(golden.metadata.at("loss"));
  EXPECT_NEAR(got.loss, loss, rounding_of({&loss, 1}, {&there.loss, 1}, terms, compute));
  EXPECT_EQ(got.gradients.size(), 42u);
  Gradients exact;
  for (const auto& [name, gradient] : got.gradients) exact[name] = golden.at("gradient/" + name);
  expect_gradients("MLM", got.gradients, there.gradients, exact, terms, compute);
}

TEST(MlmGolden, ReferenceInF64EqualsBertForMaskedLm) { expect_parity("reference", DType::f64); }
TEST(MlmGolden, FastBackendInF32EqualsBertForMaskedLm) { expect_parity("cpu", DType::f32); }

}  // namespace
}  // namespace lodestone::test
