// Writes loss, embeddings and every parameter's gradient of one InfoNCE step (dropout off) for comparison with PyTorch.
//   gradient_dump MODEL_FOLDER INPUT.json OUTPUT.safetensors f64|f32|bf16
// INPUT.json: {"temperature": t, "queries": [[ids] ...], "passages": [[ids] ...]}
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>

#include "data/model_folder.h"
#include "data/safetensors.h"
#include "losses/embedding_objective.h"
#include "losses/make_loss.h"

using namespace lodestone;

int main(int argc, char** argv) {
  if (argc != 5) {
    std::cerr << "usage: gradient_dump MODEL_FOLDER INPUT.json OUTPUT.safetensors f64|f32|bf16\n";
    return 2;
  }
  try {
    const std::string precision = argv[4];
    const DType compute = precision == "f64" ? DType::f64 : precision == "f32" ? DType::f32 : DType::bf16;
    const auto backend = make_backend({.kind = "cpu", .threads = 2});
    Arena arena;
    Exec ex{*backend, arena, Key(1), compute};
    const ModelFolder folder = read_model_folder(argv[1]);
    ParamStore params(embedder_layout(folder.config), compute);
    load_weights(folder, params);
    params.refresh(*backend);

    const auto input = nlohmann::json::parse(std::ifstream(argv[2]));
    Batch batch;
    for (const char* role : {"queries", "passages"})
      for (const auto& text : input.at(role)) {
        for (const auto& id : text) batch.ids.push_back(id.get<int32_t>());
        batch.offsets.push_back(static_cast<int64_t>(batch.ids.size()));
      }
    batch.queries = batch.global_queries = static_cast<int64_t>(input.at("queries").size());
    batch.rank_queries = {batch.queries};
    batch.group = static_cast<int64_t>(input.at("passages").size()) / batch.queries;

    const Encoder encoder(folder.config, params);
    const auto loss = make_loss({.terms = {{InfoNceOptions{.temperature = input.at("temperature").get<double>()}}}}, folder.config.embedding());
    const auto self = make_self_comm();
    EmbeddingObjective objective(encoder, *loss, *self, {.chunk_tokens = 1024, .keep_activations_bytes = size_t{4} << 30});
    const Buffer memory(static_cast<size_t>(params.layout().count()) * size_of(ex.wide()));
    const Tensor grads = memory.tensor(ex.wide(), {params.layout().count()});
    const double value = objective.accumulate(ex, batch, 1, grads, {});
    const Tensor emb = objective.embed(ex, batch.tokens());

    std::vector<NamedTensor> tensors{{"embeddings", emb}};
    for (const Param& p : params.layout().params()) tensors.push_back({p.name, grads.slice(p.slice).reshape(p.shape)});
    write_safetensors(argv[3], tensors);
    std::cout.precision(17);
    std::cout << value << '\n';
  } catch (const std::exception& e) {
    std::cerr << "error: " << e.what() << '\n';
    return 1;
  }
  return 0;
}
