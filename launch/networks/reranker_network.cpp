// How a reranker is trained: query and passage read together, scored, and compared within each query's group.
#include <algorithm>

#include "data/batches/pair_collate.h"
#include "data/models/model_facts.h"
#include "data/models/reranker_folder.h"
#include "launch/inference/scorer.h"
#include "launch/networks/network.h"
#include "launch/networks/verify_export.h"
#include "losses/reranker_objective.h"

namespace lodestone {

namespace {

/// Sums over this rank's groups.
struct GroupSums {
  double loss = 0, reciprocal = 0, first = 0, groups = 0;

  /// Where the positive, which comes first, stands among its group's scores.
  void add(std::span<const double> scores) {
    const auto rank = 1 + std::count_if(scores.begin() + 1, scores.end(), [&](double s) { return s >= scores[0]; });
    reciprocal += 1.0 / static_cast<double>(rank);
    first += rank == 1;
    ++groups;
  }
};

class RerankerNetwork final : public Network {
 public:
  RerankerNetwork(const RunConfig& config, RerankerFolder folder, ParamStore params)
      : Network(std::move(params)),
        config_(config),
        folder_(std::move(folder)),
        reranker_(folder_.config, this->params(), config.model.checkpointing) {}

  const EncoderConfig& encoder_config() const override { return folder_.config.encoder; }
  std::string facts() const override { return model_facts(folder_.config); }
  int64_t exported_length() const override { return folder_.max_seq_length; }
  std::string head() const override { return "one score per pair"; }

  std::unique_ptr<RowCollator> collator(const TaskConfig& task, uint64_t seed, Purpose purpose, const Tokenizer& tokenizer,
                                        const Corpus& corpus, const NegativeWindows* windows) const override {
    const RerankCollateConfig config{.texts = collate_config(task, seed, purpose, corpus), .pair_max_len = task.data.pair_max_len};
    return std::make_unique<RerankCollator>(config, make_framing(task, tokenizer, corpus), windows);
  }
  std::unique_ptr<Objective> objective(Loss*, const Group&) const override { return std::make_unique<RerankerObjective>(make_objective()); }
  std::vector<Figure> evaluate(Exec ex, const HeldOut& heldout, Loss*, const Group& ranks) override {
    RerankerObjective objective = make_objective();
    GroupSums sums;
    for (const Batch& batch : heldout.batches()) {
      const auto scope = ex.arena.scope();
      const int64_t pairs = batch.queries * batch.group;
      const Tensor found = ex.arena.tensor(DType::f64, {pairs + 1});  // the scores, then the loss
      const Tensor share = found.slice({pairs, pairs + 1});
      ex.backend.fill_zero(share);
      objective.evaluate(ex, batch, share, found.slice({0, pairs}));
      const std::span<const double> values = fetch<double>(ex.backend, ex.arena, found);
      sums.loss += values.back() * static_cast<double>(batch.global_queries);
      const auto scores = values.first(static_cast<size_t>(pairs));
      const auto g = static_cast<size_t>(batch.group);
      for (size_t first = 0; first < scores.size(); first += g) sums.add(scores.subspan(first, g));
    }
    all_reduce(ranks.host, std::span(&sums.loss, sizeof sums / sizeof(double)), Reduce::sum);
    return {{"loss", sums.loss / sums.groups}, {"mrr", sums.reciprocal / sums.groups}, {"accuracy", sums.first / sums.groups}};
  }
  void keep_source(const Tokenizer& tokenizer, const std::filesystem::path& to) const override {
    keep_reranker_source(folder_, tokenizer, to);
  }
  void write(const std::filesystem::path& path, const std::filesystem::path& source, const ModelCard& card, const Tokenizer& tokenizer,
             Backend& backend) const override {
    export_verified(path, LiveReranker{folder_, params(), tokenizer}, source, card, backend);
  }

 private:
  RerankerObjective make_objective() const {
    return {reranker_, {.loss = config_.objective.reranker, .chunk_tokens = config_.train.chunk_tokens}};
  }

  const RunConfig& config_;
  RerankerFolder folder_;
  Reranker reranker_;
};

}  // namespace

std::unique_ptr<Network> open_reranker_network(const RunConfig& config, Weights weights, Backend& backend) {
  const ModelFolder encoder = open_model_folder(config, weights);
  RerankerFolder folder;
  if (weights == Weights::values) {
    if (config.model.folder.empty())
      throw Error(ExitCode::usage, "config", "a reranker starts from a model folder, not from random weights",
                  "give model.folder: any BERT encoder, or a reranker to train on");
    folder = read_reranker_folder(config.model.folder);
  }
  folder.config.encoder = encoder.config.encoder;
  if (config.model.dropout >= 0) folder.config.classifier_dropout = config.model.dropout;
  folder.max_seq_length = encoder.max_seq_length;
  require_room(inference_lengths(folder.max_seq_length), 0, 0);  // as the exported folder will cut pairs
  ParamStore params(backend.memory(), reranker_layout(folder.config), config.train.precision);
  if (weights == Weights::values) {
    edit_on_host(params, backend, [&](ParamStore& host) {
      initialize_parameters(folder.config.body(), host, static_cast<uint64_t>(config.train.seed));
      load_weights(folder, host);
    });
  }
  return std::make_unique<RerankerNetwork>(config, std::move(folder), std::move(params));
}

}  // namespace lodestone
