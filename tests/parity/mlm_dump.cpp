// Writes the masked-language-model loss and every parameter's gradient (dropout off) for comparison with PyTorch.
//   mlm_dump MODEL_FOLDER INPUT.json OUTPUT.safetensors f64|f32|bf16
// INPUT.json: {"texts": [[ids] ...], "labels": [[ids, -1 where nothing is predicted] ...]}
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>

#include "data/model_folder.h"
#include "data/safetensors.h"
#include "losses/retromae_objective.h"

using namespace lodestone;

int main(int argc, char** argv) {
  if (argc != 5) {
    std::cerr << "usage: mlm_dump MODEL_FOLDER INPUT.json OUTPUT.safetensors f64|f32|bf16\n";
    return 2;
  }
  try {
    const std::string precision = argv[4];
    const DType compute = precision == "f64" ? DType::f64 : precision == "f32" ? DType::f32 : DType::bf16;
    const auto backend = make_backend({.kind = "cpu", .threads = 2});
    Arena arena;
    const Exec ex{*backend, arena, Key(1), compute};
    const ModelFolder folder = read_model_folder(argv[1]);
    ParamStore params(retromae_layout(folder.config), compute);
    load_weights(folder, params);
    params.refresh(*backend);

    const auto input = nlohmann::json::parse(std::ifstream(argv[2]));
    Batch batch;
    for (const auto& text : input.at("texts")) {
      for (const auto& id : text) batch.ids.push_back(id.get<int32_t>());
      batch.offsets.push_back(static_cast<int64_t>(batch.ids.size()));
    }
    for (const auto& text : input.at("labels"))
      for (const auto& id : text) batch.mlm_labels.push_back(id.get<int32_t>());
    batch.decoder_ids = batch.ids;
    batch.decoder_labels.assign(batch.ids.size(), no_label);

    const Encoder encoder(folder.config, params);
    const auto self = make_self_comm();
    RetroMaeObjective objective(encoder, params, *self, {.decoder_weight = 0}, 1024);
    const Buffer memory(static_cast<size_t>(params.layout().count()) * size_of(ex.wide()));
    const Tensor grads = memory.tensor(ex.wide(), {params.layout().count()});
    const double value = objective.accumulate(ex, batch, 1, grads, {});

    std::vector<NamedTensor> tensors;
    for (const Param& p : params.layout().params())
      if (!p.name.starts_with("decoder.")) tensors.push_back({p.name, grads.slice(p.slice).reshape(p.shape)});
    write_safetensors(argv[3], tensors);
    std::cout.precision(17);
    std::cout << value << '\n';
  } catch (const std::exception& e) {
    std::cerr << "error: " << e.what() << '\n';
    return 1;
  }
  return 0;
}
