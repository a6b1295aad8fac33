// Run: every object of a training run, built from the configuration in reading order.
#pragma once

#include <memory>
#include <optional>

#include "comm/grad_sync.h"
#include "core/nn/encoder.h"
#include "core/optim/adamw.h"
#include "core/optim/lr_schedule.h"
#include "data/collate.h"
#include "data/corpus.h"
#include "data/corpus_rows.h"
#include "data/loader.h"
#include "data/model_folder.h"
#include "data/plan.h"
#include "data/tokenizer.h"
#include "launch/config.h"
#include "launch/cores.h"
#include "launch/heldout_metrics.h"
#include "losses/embedding_objective.h"

namespace lodestone {

/// The model a run trains: what the folder or the configuration says, and its tokenizer.
struct TrainedModel {
  ModelFolder folder;                       // config, prompts and lengths of the model as it will be exported
  Tokenizer tokenizer;
};

/// vocab.txt of model.vocab, which names it or its folder.
std::filesystem::path vocabulary_file(const std::filesystem::path& vocab);

/// Reads the model's shape and tokenizer; no weights yet. Applies model.pooling, model.dropout, model.head and the prompts.
/// Throws Error when the texts of data.* would not fit its positions.
TrainedModel open_model(const RunConfig& config);

/// The plan of a configuration, a whole number of steps; they follow from the epochs if they are given.
Plan make_plan(const RunConfig& config, const Corpus& corpus);

/// Optimizer steps of the run's plan.
inline int64_t step_count(const RunConfig& config, const Plan& plan) { return plan.config().batches / config.train.gradient_accumulation_steps; }

/// Opens a packed corpus; refuses one that another tokenizer packed.
Corpus open_corpus(const std::filesystem::path& folder, const Tokenizer& tokenizer);

/// What makes batches of the corpus. Throws Error (usage) on prompts that do not end where a token ends.
Collator make_collator(const RunConfig& config, Purpose purpose, const Tokenizer& tokenizer, const Corpus& corpus);

/// The rank's share of the held-out rows; nothing when the configuration names none.
std::optional<HeldOut> read_heldout(const RunConfig& config, const Tokenizer& tokenizer, int rank, int world_size);

/// Weights of the folder, or random ones. A head that the folder lacks starts from random values.
ParamStore load_params(const RunConfig& config, const ModelFolder& folder, Backend& backend);

EmbeddingObjectiveOptions objective_options(const TrainConfig& config);

struct Run {
  /// Loads everything; the loader starts with first_step.
  Run(World& world, RunConfig config, int64_t first_step);
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;

  World& world;
  const RunConfig cfg;
  const Cores cores;
  TrainedModel model;

  std::unique_ptr<Backend> backend;
  Arena arena;
  Exec ex;                       // key: seed
  ParamStore params;             // weights as loaded, or random
  Buffer grads_memory;
  Tensor grads;                  // flat, laid out as params

  std::optional<HeldOut> heldout;   // read before the loader's thread starts: HDF5 is used from one thread at a time
  Corpus corpus;
  CorpusRows rows;
  Plan plan;
  Encoder encoder;
  std::unique_ptr<Loss> loss;
  EmbeddingObjective objective;
  AdamW optimizer;
  LrSchedule lr;
  GradSync sync;
  Loader loader;                    // last: its thread uses corpus and plan
};

/// The start-up table: model, batch, ranks x threads x cores, lengths.
std::string start_up_table(const Run& run);

}  // namespace lodestone
