// How sentence vectors are trained: an encoder under the losses of losses/make_loss.h.
#include "data/models/model_facts.h"
#include "launch/mining/probe.h"
#include "launch/mining/remine.h"
#include "launch/networks/heldout_metrics.h"
#include "launch/networks/network.h"
#include "launch/networks/verify_export.h"

namespace lodestone {

namespace {

class EmbeddingNetwork final : public Network {
 public:
  EmbeddingNetwork(const RunConfig& config, ModelFolder folder, ParamStore params)
      : Network(std::move(params)),
        config_(config),
        folder_(std::move(folder)),
        encoder_(folder_.config, this->params(), config.model.checkpointing) {}

  const EncoderConfig& encoder_config() const override { return folder_.config.encoder; }
  std::string facts() const override { return model_facts(folder_); }
  int64_t exported_length() const override { return folder_.max_seq_length; }
  std::string head() const override {
    return cat(name_of(folder_.config.pooling), " pooling, ", folder_.config.head ? "dense " : "embedding ", embedding(),
               folder_.new_head ? ", new" : "");
  }
  int64_t embedding() const override { return folder_.config.embedding(); }
  Similarity similarity() const override { return folder_.raw_similarity(); }

  std::unique_ptr<RowCollator> collator(const TaskConfig& task, uint64_t seed, Purpose purpose, const Tokenizer& tokenizer,
                                        const Corpus& corpus, const NegativeWindows* windows) const override {
    return std::make_unique<Collator>(collate_config(task, seed, purpose, corpus), make_framing(task, tokenizer, corpus), windows);
  }
  std::unique_ptr<NegativeRanker> ranker(Exec ex, const TaskConfig& task, const Tokenizer& tokenizer, const Corpus& corpus,
                                         const RowSource& rows) override {
    const CollateConfig lengths{.query_max_len = task.data.query_max_len,
                                .passage_max_len = task.data.passage_max_len,
                                .select_positive = task.data.select_positive};
    return std::make_unique<WeightRanker>(ex, encoder_, config_.train.chunk_tokens, similarity(), rows, lengths,
                                          make_framing(task, tokenizer, corpus));
  }
  std::unique_ptr<NegativeProbe> probe(Exec ex, const TaskConfig& task, const Tokenizer& tokenizer, const Corpus& corpus, const Plan& plan,
                                       const RowSource& rows) override {
    const CollateConfig texts{.query_max_len = task.data.query_max_len,
                              .passage_max_len = task.data.passage_max_len,
                              .seed = static_cast<uint64_t>(config_.train.seed),
                              .select_positive = task.data.select_positive};
    return std::make_unique<WeightProbe>(ex, encoder_, config_.train.chunk_tokens, similarity(), texts,
                                         make_framing(task, tokenizer, corpus), plan, rows);
  }
  std::unique_ptr<Objective> objective(Loss* loss, const Group& group) const override {
    return std::make_unique<EmbeddingObjective>(encoder_, *loss, group, objective_options(config_.train));
  }
  std::vector<Figure> evaluate(Exec ex, const HeldOut& heldout, Loss* loss, const Group& ranks) override {
    EmbeddingObjective objective(encoder_, *loss, ranks, objective_options(config_.train));
    return evaluate_heldout(ex, heldout, objective, *loss, similarity(), ranks);
  }
  void keep_source(const Tokenizer& tokenizer, const std::filesystem::path& to) const override {
    keep_encoder_source(config_.model, folder_, tokenizer, to);
  }
  void write(const std::filesystem::path& path, const std::filesystem::path& source, const ModelCard& card, const Tokenizer& tokenizer,
             Backend& backend) const override {
    export_verified(path, {folder_, params(), tokenizer}, source, card, backend);
  }

 private:
  const RunConfig& config_;
  ModelFolder folder_;
  Encoder encoder_;
};

}  // namespace

EmbeddingObjectiveOptions objective_options(const TrainConfig& c) {
  return {.chunk_tokens = c.chunk_tokens, .keep_activations_bytes = static_cast<size_t>(c.keep_activations_mb) << 20};
}

std::unique_ptr<Network> open_embedding_network(const RunConfig& config, Weights weights, Backend& backend) {
  ModelFolder folder = open_model_folder(config, weights);
  ParamStore params = open_params(config, folder, embedder_layout(folder.config), weights, backend);
  return std::make_unique<EmbeddingNetwork>(config, std::move(folder), std::move(params));
}

}  // namespace lodestone
