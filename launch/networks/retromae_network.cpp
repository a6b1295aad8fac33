// How an encoder is pre-trained with RetroMAE: masked texts, a one-layer decoder that sees the text through one vector.
#include "data/batches/text_collate.h"
#include "data/models/model_facts.h"
#include "launch/networks/network.h"
#include "launch/networks/verify_export.h"
#include "losses/retromae_objective.h"

namespace lodestone {

namespace {

class RetroMaeNetwork final : public Network {
 public:
  RetroMaeNetwork(const RunConfig& config, ModelFolder folder, ParamStore params)
      : Network(std::move(params)),
        config_(config),
        folder_(std::move(folder)),
        encoder_(folder_.config, this->params(), config.model.checkpointing) {}

  const EncoderConfig& encoder_config() const override { return folder_.config.encoder; }
  std::string facts() const override { return model_facts(folder_.config); }
  int64_t exported_length() const override { return folder_.max_seq_length; }
  std::string head() const override {
    return cat("RetroMAE, masked ", config_.objective.retromae.encoder_mlm_probability, " and ",
               config_.objective.retromae.decoder_mlm_probability);
  }

  std::unique_ptr<RowCollator> collator(const TaskConfig& task, uint64_t seed, Purpose purpose, const Tokenizer& tokenizer, const Corpus&,
                                        const NegativeWindows*) const override {
    const RetroMaeCollateConfig config{
        .max_len = task.data.query_max_len, .options = config_.objective.retromae, .seed = seed, .purpose = purpose};
    return std::make_unique<RetroMaeCollator>(config, WordTable(tokenizer));
  }
  std::unique_ptr<Objective> objective(Loss*, const Group& group) const override { return make_objective(group); }
  std::vector<Figure> evaluate(Exec ex, const HeldOut& heldout, Loss*, const Group& ranks) override {
    const std::unique_ptr<RetroMaeObjective> objective = make_objective(ranks);
    double sums[3] = {0, 0, 0};  // losses of encoder and decoder by rows, and rows
    for (const Batch& batch : heldout.batches()) {
      const auto scope = ex.arena.scope();
      const Tensor both = ex.arena.tensor(DType::f64, {2});
      ex.backend.fill_zero(both);
      objective->evaluate_both(ex, batch, both);
      const std::span<const double> shares = fetch<double>(ex.backend, ex.arena, both);
      const auto rows = static_cast<double>(batch.global_queries);
      sums[0] += shares[0] * rows;
      sums[1] += shares[1] * rows;
      sums[2] += static_cast<double>(batch.queries);
    }
    all_reduce(ranks.host, std::span(sums), Reduce::sum);
    const double encoder = sums[0] / sums[2], decoder = sums[1] / sums[2];
    return {{"loss", encoder + config_.objective.retromae.decoder_weight * decoder}, {"encoder_loss", encoder}, {"decoder_loss", decoder}};
  }
  void keep_source(const Tokenizer& tokenizer, const std::filesystem::path& to) const override {
    keep_encoder_source(config_.model, folder_, tokenizer, to);
  }
  void write(const std::filesystem::path& path, const std::filesystem::path& source, const ModelCard& card, const Tokenizer& tokenizer,
             Backend& backend) const override {
    export_verified(path, LiveModel{folder_, params(), tokenizer}, source, card, backend);
  }

 private:
  std::unique_ptr<RetroMaeObjective> make_objective(const Group& group) const {
    return std::make_unique<RetroMaeObjective>(encoder_, params(), group, config_.objective.retromae, config_.train.chunk_tokens);
  }

  const RunConfig& config_;
  ModelFolder folder_;
  Encoder encoder_;
};

}  // namespace

std::unique_ptr<Network> open_retromae_network(const RunConfig& config, Weights weights, Backend& backend) {
  ModelFolder folder = open_model_folder(config, weights);
  folder.config.pooling = Pooling::cls;  // what the decoder sees the text through
  ParamStore params = open_params(config, folder, retromae_layout(folder.config), weights, backend);
  return std::make_unique<RetroMaeNetwork>(config, std::move(folder), std::move(params));
}

}  // namespace lodestone
