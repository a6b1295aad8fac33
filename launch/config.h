// The configuration of a training run: plain structs with defaults, read once from YAML.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "core/dtype.h"
#include "core/nn/encoder.h"
#include "core/optim/lr_schedule.h"
#include "data/plan.h"
#include "launch/yaml.h"
#include "losses/loss.h"

namespace lodestone {

/// What is trained. Either `folder` (a Hugging Face or sentence-transformers folder), or `config` and `vocab` for random weights.
struct ModelConfig {
  std::filesystem::path folder;               // model.folder
  std::filesystem::path config;               // model.config: a config.json, with random weights
  std::filesystem::path vocab;                // model.vocab: a folder with the tokenizer files, or a vocab.txt
  std::optional<Pooling> pooling;             // model.pooling: auto (what the folder says, else mean), cls, mean, last_token
  double dropout = -1;                        // model.dropout: hidden and attention; -1 keeps config.json's
  int64_t head = 0;                           // model.head: outputs of a new dense layer behind pooling; 0 keeps the folder's
  Checkpointing checkpointing = Checkpointing::none;   // model.gradient_checkpointing
};

struct DataConfig {
  std::filesystem::path train;                // data.train: folder written by `lodestone pack`
  std::filesystem::path heldout;              // data.heldout: another one; empty: no held-out evaluation
  int64_t query_max_len = 128, passage_max_len = 128;   // tokens, special ones included
  int64_t train_group_size = 1;               // passages per query: the positive and train_group_size - 1 negatives
  std::string query_prompt, passage_prompt;   // put before every query and passage
  Batching batching = Batching::multinomial;  // a batch is of one source, drawn with p_i, or mixed
  double alpha = 1;                           // sources are drawn with n^alpha / sum n^alpha
  SmallSources small_sources = SmallSources::refuse;
  RowOrder order = RowOrder::balanced;        // data.balance_tokens
};

struct TrainConfig {
  std::filesystem::path output_dir;           // train.output_dir
  int64_t global_batch = 128;                 // queries per batch over all ranks
  int64_t gradient_accumulation_steps = 1;    // batches per optimizer step
  int64_t steps = 0;                          // optimizer steps; 0: from num_train_epochs
  double num_train_epochs = 0;
  int64_t seed = 42;
  DType precision = DType::bf16;              // bf16, f32 or f64
  int64_t threads = 0;                        // per rank; 0 (auto): the cores this rank may use
  int64_t chunk_tokens = 1024;                // tokens that pass the encoder at once
  int64_t keep_activations_mb = 4096;         // activations kept from the first pass; the rest is recomputed (GradCache)
  int64_t logging_steps = 10;
  int64_t save_steps = 500, save_total_limit = 2;
  int64_t eval_steps = 0;                     // held-out evaluation; 0: at the start and the end only
  int64_t eval_rows = 1000;                   // held-out rows that are used, evenly spread
  int64_t timeout_s = 600;                    // a collective that takes longer ends the job with code 7
};

struct OptimConfig {
  double learning_rate = 5e-5;
  double weight_decay = 0.01, adam_beta1 = 0.9, adam_beta2 = 0.999, adam_epsilon = 1e-8;
  double max_grad_norm = 1.0;                 // 0: no clipping
  Decline lr_scheduler_type = Decline::linear;
  double warmup_ratio = 0.1;                  // of all steps; warmup_steps wins when given
  int64_t warmup_steps = -1;
  WarmupShape warmup_shape = WarmupShape::linear;
};

struct RunConfig {
  ModelConfig model;
  DataConfig data;
  TrainConfig train;
  OptimConfig optim;
  LossConfig loss;
  std::string resolved;                       // everything above as YAML
};

/// Reads and validates what can be judged from the configuration alone. Throws Error (usage, "config").
RunConfig read_run_config(std::span<const std::filesystem::path> files, std::span<const std::string> overrides);

}  // namespace lodestone
