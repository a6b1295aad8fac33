// Network: what a run trains - weights, tokenizer, what makes batches for it, what judges held-out rows, the folder it becomes.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "comm/group.h"
#include "core/params.h"
#include "data/batches/collate.h"
#include "data/batches/heldout.h"
#include "data/batches/pair_collate.h"
#include "data/batches/row_collator.h"
#include "data/corpus/corpus.h"
#include "data/models/model_export.h"
#include "data/text/tokenizer.h"
#include "launch/config/config.h"
#include "launch/mining/mining.h"
#include "launch/networks/estimate.h"
#include "launch/networks/heldout_metrics.h"
#include "losses/embedding_objective.h"

namespace lodestone {

/// One of three, by objective.name: an embedder, an encoder under RetroMAE, a reranker. Owns the weights.
class Network {
 public:
  virtual ~Network() = default;
  Network(const Network&) = delete;
  Network& operator=(const Network&) = delete;

  ParamStore& params() { return params_; }
  const ParamStore& params() const { return params_; }

  virtual const EncoderConfig& encoder_config() const = 0;
  /// What it computes (data/models/model_facts.h).
  virtual std::string facts() const = 0;
  /// Behind the encoder: "mean pooling, embedding 384", "mean pooling, dense 1792, new".
  virtual std::string head() const = 0;
  /// Tokens of a text, or of a reranker's pair, that the exported folder takes; longer ones are cut there.
  virtual int64_t exported_length() const = 0;
  /// E; 0 where there are no sentence vectors.
  virtual int64_t embedding() const { return 0; }
  /// By which sentence vectors are near, as training sees them: before the model normalises them.
  virtual Similarity similarity() const { return Similarity::cosine; }

  /// What makes batches of a task's corpus, or of its held-out rows. Throws Error (usage): prompts whose end is no token boundary,
  /// lengths without room for a text. `windows`: mined negatives, where data.select_negative asks for them.
  virtual std::unique_ptr<RowCollator> collator(const TaskConfig& task, uint64_t seed, Purpose purpose, const Tokenizer& tokenizer,
                                                const Corpus& corpus, const NegativeWindows* windows) const = 0;
  /// What trains a task; the ranks of `group` share its batches. `loss` (null where there is none), group and network must outlive it.
  virtual std::unique_ptr<Objective> objective(Loss* loss, const Group& group) const = 0;
  /// What ranks a row's negatives anew by the weights as they are. Throws Error (usage) where there are no sentence vectors.
  virtual std::unique_ptr<NegativeRanker> ranker(Exec ex, const TaskConfig& task, const Tokenizer& tokenizer, const Corpus& corpus,
                                                 const RowSource& rows);
  /// What scores rows besides for mining. The plan is the task's, `rows` what it draws from. Throws as ranker() does.
  virtual std::unique_ptr<NegativeProbe> probe(Exec ex, const TaskConfig& task, const Tokenizer& tokenizer, const Corpus& corpus,
                                               const Plan& plan, const RowSource& rows);
  /// What held-out rows say of the network in its present state. Collective. The first figure is the loss, where it means something on some
  /// rows.
  virtual std::vector<Figure> evaluate(Exec ex, const HeldOut& heldout, Loss* loss, const Group& ranks) = 0;

  /// Keeps in `to` what an export needs beside the weights.
  virtual void keep_source(const Tokenizer& tokenizer, const std::filesystem::path& to) const = 0;
  /// Writes the folder that users load, and proves it: what is loaded again gives what the live network gives. Rank 0 calls it.
  virtual void write(const std::filesystem::path& path, const std::filesystem::path& source, const ModelCard& card,
                     const Tokenizer& tokenizer, Backend& backend) const = 0;

 protected:
  explicit Network(ParamStore params) : params_(std::move(params)) {}

 private:
  ParamStore params_;
};

/// Whether weights are read (or drawn), or only their shapes are wanted and the values are zero.
enum class Weights : uint8_t { values, shapes };

/// Reads the model folder, or makes random weights. The network keeps `config`, which must outlive it, and reads it when it makes
/// something. Throws Error: files that are missing or damaged, texts longer than the model's positions.
std::unique_ptr<Network> open_network(const RunConfig& config, Weights weights, Backend& backend);
// Its three forms; open_network chooses.
std::unique_ptr<Network> open_embedding_network(const RunConfig& config, Weights weights, Backend& backend);
std::unique_ptr<Network> open_retromae_network(const RunConfig& config, Weights weights, Backend& backend);
std::unique_ptr<Network> open_reranker_network(const RunConfig& config, Weights weights, Backend& backend);

/// Starting weights laid out by `layout`: random ones, and over them those of the folder where there is one.
ParamStore open_params(const RunConfig& config, const ModelFolder& folder, ParamLayout layout, Weights weights, Backend& backend);

/// Network::keep_source() of an encoder with its folder: what was read, or what random weights began with.
void keep_encoder_source(const ModelConfig& config, const ModelFolder& folder, const Tokenizer& tokenizer, const std::filesystem::path& to);

/// The tokenizer of model.folder or model.vocab. Throws Error (usage) when it has more tokens than the model.
Tokenizer open_tokenizer(const RunConfig& config, const EncoderConfig& encoder);
/// What check_vocabulary() says of it.
std::vector<std::string> tokenizer_warnings(const RunConfig& config, const EncoderConfig& encoder, const Tokenizer& tokenizer);

/// What model.folder or model.config says (for shapes the latter, where both are given), changed by model.pooling, dropout,
/// attention_dropout (which beats dropout), normalize and head: the folder's dense layer where it has one, else a new one. Throws Error
/// (usage): a folder of another shape than model.config, or with a dense layer of another width than model.head; longer texts than the
/// model has positions.
ModelFolder open_model_folder(const RunConfig& config, Weights weights);

/// How the texts of a reranker's pairs are cut.
inline PairLengths pair_lengths(const DataConfig& data) { return {data.query_max_len, data.passage_max_len, data.pair_max_len}; }

/// CollateConfig::source_groups of a task's rows.
std::vector<int64_t> source_groups(const TaskConfig& task, const Corpus& corpus);

/// How the rows of a task are collated. Held-out rows have no window of mined negatives: theirs are the first of the list.
CollateConfig collate_config(const TaskConfig& task, uint64_t seed, Purpose purpose, const Corpus& corpus);

/// What stands around the texts of a task.
Framing make_framing(const TaskConfig& task, const Tokenizer& tokenizer, const Corpus& corpus);

EmbeddingObjectiveOptions objective_options(const TrainConfig& config);

}  // namespace lodestone
