// Parity with PyTorch: scores, losses and gradients of a tiny cross-encoder against values that transformers computed in f64.
// The file and how to make it again: tests/parity/make_reranker_golden.py.
#include <gtest/gtest.h>

#include "losses/reranker_objective.h"
#include "tests/support/evaluate.h"
#include "tests/support/golden_file.h"
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

void expect_parity(const char* kind, DType compute, double tolerance) {
  const Golden golden = read_golden(golden_file("reranker.safetensors"));
  const RerankerConfig config = golden_config(golden);
  const Batch batch = golden_batch(golden);
  const auto backend = any_backend(kind);
  Arena arena(backend->memory(), size_t{1} << 30);
  ParamStore params(backend->memory(), reranker_layout(config), compute);
  for (const Param& p : params.layout().params()) from_double(*backend, arena, golden.at("weight/" + name_there(p)), params.master(p));
  params.refresh(*backend);
  const Reranker reranker(config, params);
  Exec ex{*backend, arena, Key{}, compute};
  const int64_t n = params.layout().count();
  const auto as_doubles = [&](ConstTensor t) { return to_double(*backend, arena, t); };

  const auto scope = arena.scope();
  const Tensor scores = arena.tensor(ex.wide(), {batch.tokens().texts()});
  reranker.forward(ex, upload_texts(*backend, arena, batch.tokens()), scores);
  EXPECT_LT(relative_error(as_doubles(scores), golden.at("scores")), tolerance);

  const auto losses = nlohmann::json::parse(golden.metadata.at("losses"));
  for (const auto& [name, target] : {std::pair("group_ce", GroupTarget::cross_entropy), std::pair("bce", GroupTarget::binary)}) {
    const Buffer memory(backend->memory(), static_cast<size_t>(n) * size_of(ex.wide()));
    const Tensor grads = memory.tensor(ex.wide(), {n});
    RerankerObjective objective(reranker, {.loss = {.target = target}, .chunk_tokens = 40});
    const double loss = losses[name].get<double>();
    EXPECT_NEAR(accumulate(objective, ex, batch, 1, grads, {}), loss, tolerance * loss) << name;
    double whole = 0;
    for (const Param& p : params.layout().params()) {
      const auto& g = golden.at(std::string(name) + "/" + name_there(p));
      whole += dot(g, g);
    }
    // The floor is for gradients that are zero in theory: of key biases, and of the classifier's bias under cross-entropy, whose six
    // terms of a few tenths of the whole gradient cancel to their rounding (6e-8 each in f32).
    for (const Param& p : params.layout().params()) {
      const auto& reference = golden.at(std::string(name) + "/" + name_there(p));
      std::vector<double> difference = as_doubles(grads.slice(p.slice));
      for (size_t i = 0; i < difference.size(); ++i) difference[i] -= reference[i];
      EXPECT_LE(std::sqrt(dot(difference, difference)), tolerance * std::max(std::sqrt(dot(reference, reference)), 1e-3 * std::sqrt(whole)))
          << name << " " << p.name;
    }
  }
}

TEST(RerankerGolden, ReferenceInF64EqualsPyTorch) { expect_parity("reference", DType::f64, 1e-9); }
TEST(RerankerGolden, FastBackendInF32EqualsPyTorch) { expect_parity("cpu", DType::f32, 1e-4); }

}  // namespace
}  // namespace lodestone::test
