// Parity with PyTorch: the masked-language-model loss and its gradient against values that transformers' BertForMaskedLM gave in f64.
// The file and how to make it again: tests/parity/make_mlm_golden.py.
#include <gtest/gtest.h>

#include <cmath>

#include "comm/planes.h"
#include "losses/retromae_objective.h"
#include "tests/support/evaluate.h"
#include "tests/support/golden_file.h"
#include "tests/support/safetensors.h"
#include "tests/support/tiny_model.h"

namespace lodestone::test {
namespace {

/// Per tensor: |g - reference| <= tolerance max(|reference|, 1e-4 |whole reference|). The floor is for gradients that are zero in
/// theory (key biases, tables' unused rows).
void expect_parity(const char* kind, DType compute, double tolerance) {
  const Golden golden = read_golden(golden_file("mlm.safetensors"));
  const auto json = nlohmann::json::parse(golden.metadata.at("config"));
  EmbedderConfig config;
  config.encoder = {.vocab = json["vocab_size"],
                    .hidden = json["hidden_size"],
                    .layers = json["num_hidden_layers"],
                    .heads = json["num_attention_heads"],
                    .feed_forward = json["intermediate_size"],
                    .positions = json["max_position_embeddings"],
                    .types = json["type_vocab_size"]};
  const auto backend = any_backend(kind);
  Arena arena{backend->memory(), size_t{1} << 30};
  const Exec ex{*backend, arena, Key(1), compute};
  ParamStore params(backend->memory(), retromae_layout(config), compute);
  edit_on_host(params, *backend, [&](ParamStore& host) { initialize_parameters(config, host, 1); });
  const auto stored = [&](const Param& p) { return golden.tensors.contains("weight/" + p.name); };
  for (const Param& p : params.layout().params()) {
    if (!stored(p)) continue;
    from_double(*backend, arena, golden.at("weight/" + p.name), params.master(p));
  }
  params.refresh(*backend);

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
  const double loss = std::stod(golden.metadata.at("loss"));
  EXPECT_NEAR(accumulate(objective, ex, batch, 1, grads, {}), loss, tolerance * loss);
  double whole = 0;
  size_t compared = 0;
  for (const Param& p : params.layout().params())
    if (stored(p)) whole += dot(golden.at("gradient/" + p.name), golden.at("gradient/" + p.name));
  for (const Param& p : params.layout().params()) {
    if (!stored(p)) continue;
    const auto& reference = golden.at("gradient/" + p.name);
    std::vector<double> difference = to_double(*backend, arena, grads.slice(p.slice));
    for (size_t i = 0; i < difference.size(); ++i) difference[i] -= reference[i];
    EXPECT_LE(std::sqrt(dot(difference, difference)), tolerance * std::max(std::sqrt(dot(reference, reference)), 1e-4 * std::sqrt(whole)))
        << p.name;
    ++compared;
  }
  EXPECT_EQ(compared, 42u);
}

TEST(MlmGolden, ReferenceInF64EqualsBertForMaskedLm) { expect_parity("reference", DType::f64, 1e-9); }
TEST(MlmGolden, FastBackendInF32EqualsBertForMaskedLm) { expect_parity("cpu", DType::f32, 1e-4); }

}  // namespace
}  // namespace lodestone::test
