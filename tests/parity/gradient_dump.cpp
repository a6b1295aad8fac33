// Writes loss, embeddings and every parameter's gradient of one InfoNCE step (dropout off) for comparison with PyTorch.
// INPUT.json: {"temperature": t, "queries": [[ids] ...], "passages": [[ids] ...]}
#include "data/models/model_folder.h"
#include "losses/embedding_objective.h"
#include "losses/make_loss.h"
#include "tests/parity/dump.h"

using namespace lodestone;

namespace {

double dump_step(Dump& dump) {
  const ModelFolder folder = read_model_folder(dump.folder);
  const ParamStore params = loaded_params(dump, folder, embedder_layout(folder.config));

  Batch batch;
  for (const char* role : {"queries", "passages"})
    for (const auto& text : dump.input.at(role)) append_text(text, batch);
  batch.queries = batch.global_queries = static_cast<int64_t>(dump.input.at("queries").size());
  batch.rank_queries = {batch.queries};
  batch.group = static_cast<int64_t>(dump.input.at("passages").size()) / batch.queries;

  const Encoder encoder(folder.config, params);
  const auto loss = make_loss({.terms = {{InfoNceOptions{.temperature = dump.input.at("temperature").get<double>()}}}},
                              folder.config.embedding(), Device::cpu);
  const auto self = make_self_comm();
  EmbeddingObjective objective(encoder, *loss, *self, {.chunk_tokens = 1024, .keep_activations_bytes = size_t{4} << 30});
  const DumpGradient gradient(dump, objective, batch, params);
  std::vector<NamedTensor> tensors{{"embeddings", objective.embed(dump.ex, batch.tokens())}};
  for (const Param& p : params.layout().params()) tensors.push_back(gradient.of(p));
  write_safetensors(dump.output, tensors);
  return gradient.loss;
}

}  // namespace

int main(int argc, char** argv) { return dump_main(argc, argv, dump_step); }
