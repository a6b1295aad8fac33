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

/// What the configuration alone says of it: steps (0 where they are given in epochs), and no shares that follow from the data.
ScheduleConfig schedule_config(const RunConfig& config);

/// The schedule of a run; steps follow from num_train_epochs of the first task (joint), or of all tasks together, if they are given.
Schedule make_schedule(const RunConfig& config, std::span<const std::unique_ptr<TaskRows>> rows);

/// The team that this rank belongs to. Collective. Throws Error (usage, F13) when there are fewer ranks than one group needs.
struct TeamPlace {
  Team team;
  std::unique_ptr<Communicator> comm;  // of the team; null: all ranks are one
};
TeamPlace find_team(const Schedule& schedule, World& world);

/// Whose share of held-out rows is wanted: they are divided among all ranks.
struct HeldOutShare {
  int rank = 0, world = 1;
};

struct Task {
  /// Reads the held-out rows, and counts and scores of every row that the plan may draw; their texts are left to the loader. Collective
  /// over `world`.
  Task(const RunConfig& config, const Exec& ex, const TaskConfig& task, std::unique_ptr<TaskRows> opened, int64_t batches, Network& network,
       const Tokenizer& tokenizer, HeldOutShare share, Communicator& team, Communicator& world);
  Task(const Task&) = delete;
  Task& operator=(const Task&) = delete;

  /// Windows of mined negatives; null without mining.
  const NegativeWindows* windows() const { return mining ? &mining->negatives() : nullptr; }
  /// What the loader makes of it for rank `rank` of the `world` ranks of a team.
  BatchStream stream(const RunConfig& config, const Network& network, const Tokenizer& tokenizer, int rank, int world) const;

  const TaskConfig& cfg;
  std::optional<HeldOut> heldout;
  const std::unique_ptr<TaskRows> data;
  const Plan plan;
  std::unique_ptr<Loss> loss;              // null where the objective has its own
  ScoredLoss* scored = nullptr;            // the same loss, where negatives are mined
  std::unique_ptr<NegativeRanker> ranker;  // where they are mined anew
  std::unique_ptr<NegativeProbe> probe;    // where rows are scored besides
  std::optional<Mining> mining;
  std::unique_ptr<Objective> objective;
};

/// Throws Error (usage, F13) where ranks that share a batch of the task would have no row, and its objective needs one: all do, but for
/// contrastive batches and pairs in a grouped run. `teams`: how many ranks share a batch, as team_sizes gives them.
void require_rows_for_ranks(const RunConfig& config, const Task& task, std::span<const int64_t> teams);

}  // namespace lodestone
