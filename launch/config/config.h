// The configuration of a training run: plain structs with defaults, read once from YAML.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "comm/transport.h"
#include "core/backend_kind.h"
#include "core/dtype.h"
#include "core/error.h"
#include "core/nn/encoder.h"
#include "core/nn/retromae.h"
#include "core/optim/loss_scale.h"
#include "core/optim/lr_schedule.h"
#include "data/batches/row_filter.h"
#include "data/mining/hard_negatives.h"
#include "data/plan/plan.h"
#include "data/plan/schedule.h"
#include "launch/config/section.h"
#include "losses/make_loss.h"
#include "losses/reranker_objective.h"

namespace lodestone {

/// What is trained. Either `folder` (a Hugging Face or sentence-transformers folder), or `config` and `vocab` for random weights. Beside
/// a folder `config` is the shape that it must have.
struct ModelConfig {
  std::filesystem::path folder;    // model.folder
  std::filesystem::path config;    // model.config: a config.json; without a folder, for random weights
  std::filesystem::path vocab;     // model.vocab: a folder with the tokenizer files, or a vocab.txt
  std::optional<Pooling> pooling;  // model.pooling: auto (what the folder says, else mean), cls, mean, last_token
  double dropout = -1;             // model.dropout: hidden and attention; -1 keeps config.json's
  double attention_dropout = -1;   // model.attention_dropout: of attention alone; -1: as model.dropout says, or config.json
  std::optional<bool> normalize;   // model.normalize: what the folder says, true, false
  int64_t head = 0;  // model.head: outputs of the dense layer behind pooling, new where the folder has none; 0: what the folder has
  int64_t max_seq_length = 0;  // model.max_seq_length: tokens of a text that the exported folder takes; 0: the starting folder's, or what
                               // training uses where that is more
  Checkpointing checkpointing = Checkpointing::none;  // model.gradient_checkpointing
};

/// What is learnt from a batch.
enum class ObjectiveKind : uint8_t {
  embedding,  // sentence vectors, by the losses of losses/make_loss.h
  retromae,   // masked auto-encoding of single texts
  reranker,   // scores of query and passage read together
};

/// As configurations name it.
constexpr std::string_view name_of(ObjectiveKind value) {
  switch (value) {
    case ObjectiveKind::embedding:
      return "embedding";
    case ObjectiveKind::retromae:
      return "retromae";
    case ObjectiveKind::reranker:
      return "reranker";
  }
  return {};
}

/// Whether it trains sentence vectors, by losses: then it may have several tasks and mine negatives.
constexpr bool trains_vectors(ObjectiveKind kind) {
  switch (kind) {
    case ObjectiveKind::embedding:
      return true;
    case ObjectiveKind::retromae:
    case ObjectiveKind::reranker:
      return false;
  }
  throw_internal(__FILE__, __LINE__, "kind", "no such objective");
}

struct ObjectiveConfig {
  ObjectiveKind kind = ObjectiveKind::embedding;  // objective.name
  RetroMaeOptions retromae = {};                  // read for retromae only
  GroupLossOptions reranker = {};                 // read for reranker only
};

struct DataConfig {
  std::filesystem::path train;                         // data.train: folder written by `lodestone pack`
  std::filesystem::path heldout;                       // data.heldout: another one; empty: no held-out evaluation
  std::vector<std::string> sources = {};               // patterns of source names, * for any text; empty: all sources of the corpus
  int64_t query_max_len = 128, passage_max_len = 128;  // tokens, special ones included
  int64_t pair_max_len = 0;                            // reranker: tokens of a pair; 0: query_max_len + passage_max_len
  int64_t train_group_size = 1;                        // passages per query: the positive and train_group_size - 1 negatives
  std::string instruction;                             // a preset of data/text/instructions.h; gives the prompts that are not given
  std::string query_prompt, passage_prompt;            // put before every query and passage
  Batching batching = Batching::multinomial;           // a batch is of one source, drawn with p_i, or mixed
  double alpha = 1;                                    // sources are drawn with n^alpha / sum n^alpha
  SmallSources small_sources = SmallSources::refuse;
  RowOrder order = RowOrder::balanced;  // data.balance_tokens
  std::vector<SourceRule> rules = {};   // data.rules: what is special about some sources
  SelectPositive select_positive = SelectPositive::random;
  SelectNegative select_negative = SelectNegative::random;
  RowFilter filter = {};  // data.positive_score_min, teacher_scores_min, teacher_scores_margin, rows_without_negatives
};

/// One task of a run: data, loss and its part in a step. A run without `tasks` has one, made of the sections data and loss.
struct TaskConfig {
  std::string name = "retrieval";
  DataConfig data;                            // the section data, changed by tasks.NAME.data
  LossConfig loss;                            // tasks.NAME.loss, or the section loss
  std::optional<HardNegativesConfig> mining;  // tasks.NAME.mining, or the section mining: dynamic hard-negative mining
  int64_t global_batch = 128;                 // queries per batch over all ranks that train it; train.global_batch unless given
  double weight = 1;                          // of its loss
  int64_t share = 1;                          // of the steps, where a step trains one task; 0: as many as its corpus has batches
  int64_t ranks = 1;                          // of a group, where ranks are grouped by task
};

struct StepConfig {
  TaskMix mix = TaskMix::joint;       // schedule.mix
  Layout layout = Layout::colocated;  // schedule.layout
  int64_t groups = 1;                 // schedule.groups: batches of every task in a step, each with its own negatives
};

struct TrainConfig {
  std::filesystem::path output_dir;         // train.output_dir
  int64_t global_batch = 128;               // queries per batch over all ranks, of tasks that give none
  int64_t gradient_accumulation_steps = 1;  // batches per optimizer step
  int64_t steps = 0;                        // optimizer steps; 0: from num_train_epochs
  double num_train_epochs = 0;
  int64_t seed = 42;
  DType precision = DType::bf16;         // bf16, f32 or f64
  int64_t threads = 0;                   // per rank; 0 (auto): the cores this rank may use
  int64_t chunk_tokens = 1024;           // tokens that pass the encoder at once
  bool chunk_tokens_is_auto = true;      // a GPU may take more of them: launch/training/chunk_fit.h
  int64_t step_memory_mb = 0;            // the most that a step may take on a rank; 0: what the system gives
  int64_t keep_activations_mb = 4096;    // activations kept from the first pass; the rest is recomputed (GradCache)
  bool keep_activations_is_auto = true;  // a GPU keeps what step memory has room for: launch/training/chunk_fit.h
  int64_t logging_steps = 10;
  int64_t save_steps = 500, save_total_limit = 2;
  int64_t eval_steps = 0;             // held-out evaluation; 0: at the start and the end only
  int64_t eval_rows = 1000;           // held-out rows that are used, evenly spread
  std::string metric;                 // the held-out figure by which the run is judged, as metrics.jsonl names it; may be empty
  int64_t replica_check_every = 100;  // steps; replicas of the weights are compared, and before each save; 0: only then
  int64_t timeout_s = 600;            // a collective that takes longer ends the job with code 7
};

struct OptimConfig {
  double learning_rate = 5e-5;
  double weight_decay = 0.01, adam_beta1 = 0.9, adam_beta2 = 0.999, adam_epsilon = 1e-8;
  double max_grad_norm = 1.0;  // 0: no clipping
  Decline lr_scheduler_type = Decline::linear;
  double warmup_ratio = 0.1;  // of all steps; warmup_steps wins when given
  int64_t warmup_steps = -1;
  WarmupShape warmup_shape = WarmupShape::linear;
  bool zero = false;                          // ZeRO stage 1: each rank keeps the moments of its share of the parameters
  bool ref_grad_scale = false;                // multiply the gradient by 1 / ranks, as trainers do that average it once too often
  std::vector<std::string> freeze = {};       // parameters that stay as they are, by name or beginning of the name
  std::optional<LossScaleConfig> loss_scale;  // dynamic loss scale
};

/// For the ten recipes: what `check --without-data` counts with.
struct PublishedRun {
  int64_t devices = 0, rows = 0;  // 0: not said
};

struct RunConfig {
  DeviceChoice device = DeviceChoice::automatic;
  BackendKind backend = BackendKind::cpu;                  // what computes there
  AttentionChoice attention = AttentionChoice::automatic;  // on a GPU
  bool cuda_graphs = false;                                // chunks that come again are launched whole
  Transport transport = Transport::automatic;              // comm: between devices
  ModelConfig model;
  ObjectiveConfig objective;
  std::vector<TaskConfig> tasks;  // at least one
  StepConfig schedule;
  TrainConfig train;
  OptimConfig optim;
  PublishedRun published;                      // published: what is known of the run that a recipe repeats; trains nothing
  std::string resolved;                        // everything above as YAML
  std::vector<ConfigKey> keys;                 // the same key by key
  std::map<std::string, std::string> origins;  // where the keys that are given stand: "bge.yaml line 7"
};

/// Error (usage, "config") about a setting that only the model or the corpus shows to be wrong, naming the place that gives it.
Error refusal(const RunConfig& config, const std::string& key, const std::string& what, const std::string& remedy);

/// Reads and validates what can be judged from the configuration alone. Throws Error (usage, "config").
RunConfig read_run_config(std::span<const std::filesystem::path> files, std::span<const std::string> overrides);

}  // namespace lodestone
