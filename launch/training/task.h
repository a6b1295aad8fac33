// Task: one task of a run as this rank trains it - corpus, plan, loss, objective, held-out rows.
#pragma once

#include <memory>
#include <optional>

#include "comm/world.h"
#include "data/batches/heldout.h"
#include "data/batches/loader.h"
#include "data/corpus/corpus_rows.h"
#include "data/plan/plan.h"
#include "launch/mining/mining.h"
#include "launch/networks/estimate.h"
#include "launch/networks/network.h"
#include "launch/training/row_kinds.h"
#include "losses/negative_scores.h"

namespace lodestone {

/// Opens a packed corpus; refuses one that another tokenizer packed.
Corpus open_corpus(const std::filesystem::path& folder, const Tokenizer& tokenizer);

/// The rows that a task trains on: its corpus, less what data.* filters out. Every rank calls it; each judges a share of the rows.
struct TaskRows {
  TaskRows(const TaskConfig& task, const Tokenizer& tokenizer, Communicator& comm);
  TaskRows(const TaskRows&) = delete;
  TaskRows& operator=(const TaskRows&) = delete;
  const RowSource& rows() const { return kept ? static_cast<const RowSource&>(*kept) : all; }
  size_t memory_bytes() const { return corpus.memory_bytes() + (kept ? kept->memory_bytes() : 0); }

  const Corpus corpus;
  const CorpusRows all;
  std::optional<FilteredRows> kept;  // where the task has a filter
};

/// Runs `work`; where a run has several tasks, its errors say which one they are about.
template <class Work>
auto naming_task(const RunConfig& config, const TaskConfig& task, Work work) {
  try {
    return work();
  } catch (Error& error) {
    if (config.tasks.size() > 1) error.at("task", task.name);
    throw;
  }
}

/// What a task's plan is made of; `batches` are those that the schedule draws.
PlanConfig plan_config(const RunConfig& config, const TaskConfig& task, int64_t batches);

/// How long texts of a task may be, as the report on them sees it.
TextLimits text_limits(const RunConfig& config, const TaskConfig& task);

/// How many texts of each kind a row becomes, where a pair counts as one passage.
struct RowTexts {
  int64_t queries, passages;
};
RowTexts texts_of(ObjectiveKind objective, int64_t group);

/// A rank of a run.
struct RankOfRun {
  int rank = 0, world = 1;
};

/// What all tasks of a run share. Views: what they name outlives the tasks.
struct TaskContext {
  const RunConfig& config;
  const Exec& ex;
  Network& network;
  const Tokenizer& tokenizer;
  Group world;      // all ranks
  RankOfRun share;  // whose share of the work is wanted; not of world's ranks where a run is only judged that others will start
};

struct Task {
  /// Reads the held-out rows, and hashes and scores of every row that the plan may draw; their texts are left to the loader. `batches` are
  /// those that the schedule draws; the ranks of `team` share each of them. Collective over run.world.
  Task(const TaskContext& run, const TaskConfig& task, std::unique_ptr<TaskRows> opened, int64_t batches, const Group& team);
  Task(const Task&) = delete;
  Task& operator=(const Task&) = delete;

  /// Windows of mined negatives; null without mining.
  const NegativeWindows* windows() const { return mining ? &mining->negatives() : nullptr; }
  /// What a user should hear of its negatives in a run of `steps` steps, a sentence each.
  std::vector<std::string> warnings(int64_t steps) const;
  /// What makes its training batches.
  std::unique_ptr<RowCollator> collator(const TaskContext& run) const;
  /// What the loader makes of it for rank `rank` of the `world` ranks of a team.
  BatchStream stream(const TaskContext& run, int rank, int world) const;

  const TaskConfig& cfg;
  std::optional<HeldOut> heldout;
  const std::unique_ptr<TaskRows> data;
  const Plan plan;
  std::unique_ptr<Loss> loss;              // null where the objective has its own; a ScoredLoss where negatives are mined
  std::unique_ptr<NegativeRanker> ranker;  // where they are mined anew
  std::unique_ptr<NegativeProbe> probe;    // where rows are scored besides
  const Similarity similarity;             // of vectors, as mining scores them
  const DrawnNegatives negatives;          // of the rows that the plan may draw
  std::optional<Mining> mining;
  std::unique_ptr<Objective> objective;
};

}  // namespace lodestone
