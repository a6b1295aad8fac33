// Writes scores, loss and every parameter's gradient of a cross-encoder (dropout off) for comparison with PyTorch.
//   reranker_dump MODEL_FOLDER INPUT.json OUTPUT.safetensors f64|f32|bf16
// INPUT.json: {"group": G, "target": "group_ce"|"bce", "pairs": [[query, passage] ...]}, query-major with the positive first
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>

#include "data/safetensors.h"
#include "launch/scorer.h"
#include "losses/reranker_objective.h"

using namespace lodestone;

int main(int argc, char** argv) {
  if (argc != 5) {
    std::cerr << "usage: reranker_dump MODEL_FOLDER INPUT.json OUTPUT.safetensors f64|f32|bf16\n";
    return 2;
  }
  try {
    const std::string precision = argv[4];
    const DType compute = precision == "f64" ? DType::f64 : precision == "f32" ? DType::f32 : DType::bf16;
    const auto input = nlohmann::json::parse(std::ifstream(argv[2]));
    const auto texts = input.at("pairs").get<std::vector<std::pair<std::string, std::string>>>();

    // Scores as inference gives them, from texts.
    LoadedReranker model(argv[1], {.threads = 2, .compute = compute});
    std::vector<TextPair> pairs;
    for (const auto& [query, passage] : texts) pairs.push_back({query, passage});
    std::vector<float> scores(pairs.size());
    model.scorer().score(model.exec(), pairs, scores);

    // Loss and gradient as training gives them, from token ids.
    const auto backend = make_backend({.kind = "cpu", .threads = 2});
    Arena arena;
    const Exec ex{*backend, arena, Key(1), compute};
    const RerankerFolder folder = read_reranker_folder(argv[1]);
    const Tokenizer tokenizer = Tokenizer::from_folder(argv[1]);
    ParamStore params(reranker_layout(folder.config), compute);
    load_weights(folder, params);
    params.refresh(*backend);
    Batch batch;
    for (const TextPair& pair : pairs) {
      std::vector<int32_t> query, passage;
      tokenizer.encode(pair.query, query);
      tokenizer.encode(pair.passage, passage);
      batch.second.push_back(
          append_pair(tokenizer.cls_id(), tokenizer.sep_id(), query, passage, halves(folder.max_seq_length), batch.ids));
      batch.offsets.push_back(static_cast<int64_t>(batch.ids.size()));
    }
    batch.group = input.at("group").get<int64_t>();
    batch.queries = batch.global_queries = static_cast<int64_t>(pairs.size()) / batch.group;
    const Reranker reranker(folder.config, params);
    const GroupTarget target = input.at("target") == "bce" ? GroupTarget::binary : GroupTarget::cross_entropy;
    RerankerObjective objective(reranker, {.loss = {.target = target}});
    const Buffer memory(static_cast<size_t>(params.layout().count()) * size_of(ex.wide()));
    const Tensor grads = memory.tensor(ex.wide(), {params.layout().count()});
    const double value = objective.accumulate(ex, batch, 1, grads, {});

    std::vector<NamedTensor> tensors;
    for (const Param& p : params.layout().params())
      tensors.push_back({p.name.starts_with("classifier.") ? p.name : "bert." + p.name, grads.slice(p.slice).reshape(p.shape)});
    tensors.push_back({"scores", view(std::span(scores))});
    write_safetensors(argv[3], tensors);
    std::cout.precision(17);
    std::cout << value << '\n';
  } catch (const std::exception& e) {
    std::cerr << "error: " << e.what() << '\n';
    return 1;
  }
  return 0;
}
