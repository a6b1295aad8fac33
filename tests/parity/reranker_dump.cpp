// Writes scores, loss and every parameter's gradient of a cross-encoder (dropout off) for comparison with PyTorch.
// INPUT.json: {"group": G, "target": "group_ce"|"bce", "pairs": [[query, passage] ...]}, query-major with the positive first
#include "launch/inference/scorer.h"
#include "losses/reranker_objective.h"
#include "tests/parity/dump.h"

using namespace lodestone;

namespace {

/// Scores as inference gives them, from texts.
std::vector<float> inferred_scores(const Dump& dump, const std::vector<TextPair>& pairs) {
  LoadedReranker model(dump.folder, {.compute = dump.ex.compute}, *dump.backend);
  std::vector<float> scores(pairs.size());
  model.scorer().score(model.exec(), pairs, scores);
  return scores;
}

/// Loss and gradient as training gives them, from token ids.
double dump_step(Dump& dump) {
  const auto texts = dump.input.at("pairs").get<std::vector<std::pair<std::string, std::string>>>();  // what the pairs view
  std::vector<TextPair> pairs;
  pairs.reserve(texts.size());
  for (const auto& [query, passage] : texts) pairs.push_back({query, passage});
  std::vector<float> scores = inferred_scores(dump, pairs);

  const RerankerFolder folder = read_reranker_folder(dump.folder);
  const Tokenizer tokenizer = Tokenizer::from_folder(dump.folder);
  const ParamStore params = loaded_params(dump, folder, reranker_layout(folder.config));
  Batch batch;
  for (const TextPair& pair : pairs) {
    std::vector<int32_t> query, passage;
    tokenizer.encode(pair.query, query);
    tokenizer.encode(pair.passage, passage);
    batch.second.push_back(
        append_pair(tokenizer.cls_id(), tokenizer.sep_id(), query, passage, inference_lengths(folder.max_seq_length), batch.ids));
    batch.offsets.push_back(static_cast<int64_t>(batch.ids.size()));
  }
  batch.group = dump.input.at("group").get<int64_t>();
  batch.queries = batch.global_queries = static_cast<int64_t>(pairs.size()) / batch.group;

  const Reranker reranker(folder.config, params);
  const GroupTarget target = dump.input.at("target") == "bce" ? GroupTarget::binary : GroupTarget::cross_entropy;
  RerankerObjective objective(reranker, {.loss = {.target = target}});
  const DumpGradient gradient(dump, objective, batch, params);
  std::vector<NamedTensor> tensors;
  for (const Param& p : params.layout().params()) {
    NamedTensor of_param = gradient.of(p);
    if (!p.name.starts_with("classifier.")) of_param.name = "bert." + p.name;
    tensors.push_back(std::move(of_param));
  }
  tensors.push_back({"scores", view(std::span(scores))});  // the narrowest elements come last
  write_safetensors(dump.output, tensors);
  return gradient.loss;
}

}  // namespace

int main(int argc, char** argv) { return dump_main(argc, argv, dump_step); }
