// Writes the masked-language-model loss and every parameter's gradient (dropout off) for comparison with PyTorch.
// INPUT.json: {"texts": [[ids] ...], "labels": [[ids, -1 where nothing is predicted] ...]}
#include "data/models/model_folder.h"
#include "losses/retromae_objective.h"
#include "tests/parity/dump.h"

using namespace lodestone;

namespace {

double dump_step(Dump& dump) {
  const ModelFolder folder = read_model_folder(dump.folder);
  const ParamStore params = loaded_params(dump, folder, retromae_layout(folder.config));

  Batch batch;
  for (const auto& text : dump.input.at("texts")) append_text(text, batch);
  for (const auto& text : dump.input.at("labels"))
    for (const auto& id : text) batch.mlm_labels.push_back(id.get<int32_t>());
  batch.decoder_ids = batch.ids;
  batch.decoder_labels.assign(batch.ids.size(), no_label);

  const Encoder encoder(folder.config, params);
  const auto self = make_self_comm();
  RetroMaeObjective objective(encoder, params, *self, {.decoder_weight = 0}, 1024);
  const DumpGradient gradient(dump, objective, batch, params);
  std::vector<NamedTensor> tensors;
  for (const Param& p : params.layout().params())
    if (!p.name.starts_with("decoder.")) tensors.push_back(gradient.of(p));
  write_safetensors(dump.output, tensors);
  return gradient.loss;
}

}  // namespace

int main(int argc, char** argv) { return dump_main(argc, argv, dump_step); }
