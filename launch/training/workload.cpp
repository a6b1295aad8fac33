#include "launch/training/workload.h"

#include <algorithm>

#include "launch/networks/fitting_model.h"
#include "launch/training/batch_kinds.h"

namespace lodestone {

namespace {

/// Rows that come in an epoch of all sources, each as often as it is repeated.
int64_t total_rows(const std::vector<PlanSource>& sources) {
  int64_t rows = 0;
  for (const PlanSource& s : sources) rows += s.repeat * SourceBatches(Key(), s).rows_per_epoch();
  return rows;
}

std::vector<std::unique_ptr<TaskRows>> open_rows(const TaskContext& run) {
  require_fitting_dims(run.config, run.network);
  std::vector<std::unique_ptr<TaskRows>> rows;
  for (const TaskConfig& task : run.config.tasks)
    rows.push_back(naming_task(run.config, task, [&] { return std::make_unique<TaskRows>(task, run.tokenizer, run.world.host); }));
  return rows;
}

Schedule make_schedule(const RunConfig& c, std::span<const std::unique_ptr<TaskRows>> rows) {
  ScheduleConfig s = schedule_config(c);
  int64_t batches = 0;
  for (size_t t = 0; t < c.tasks.size(); ++t) {
    const TaskConfig& task = c.tasks[t];
    const std::vector<PlanSource> sources = plan_sources(rows[t]->rows().sources());
    if (task.share == 0)
      s.tasks[t].share = std::max<int64_t>(1, total_rows(resolve_sources(plan_config(c, task, 0), sources)) / task.global_batch);
    if (s.steps == 0 && (t == 0 || s.mix != TaskMix::joint))
      batches += batches_for_epochs(plan_config(c, task, 0), sources, c.train.num_train_epochs);
  }
  if (s.steps == 0) {
    if (batches == 0)
      throw refusal(c, "train.num_train_epochs", cat(c.train.num_train_epochs, " epochs have no whole batch: the run would have no step"),
                    "give more epochs, or train.steps");
    const int64_t a_step = s.accumulate * s.groups;
    s.steps = (batches + a_step - 1) / a_step;
  }
  return Schedule(std::move(s));
}

/// The team of rank `run.share`. Where those are not the ranks of run.world, it stays without communicators.
TeamPlace find_team(const Schedule& schedule, const TaskContext& run) {
  if (schedule.config().layout == Layout::colocated) return {{.ranks = run.share.world}, nullptr};
  const std::vector<Team> teams = form_teams(schedule.config(), run.share.world);
  int64_t first = 0;
  size_t mine = 0;
  while (run.share.rank >= first + teams[mine].ranks) first += teams[mine++].ranks;
  if (run.world.size() != run.share.world) return {teams[mine], nullptr};
  return {teams[mine], std::make_unique<SplitGroup>(run.world, static_cast<int>(mine))};
}

const Group& group_of(const TeamPlace& team, const TaskContext& run) { return team.part != nullptr ? team.part->group() : run.world; }

/// Throws Error (usage, F13) where ranks that share a batch of the task would have no row, and its objective needs one: all do, but for
/// contrastive batches and pairs in a grouped run. `teams`: how many ranks share a batch, as team_sizes gives them.
void require_rows_for_ranks(const RunConfig& c, const Task& task, std::span<const int64_t> teams) {
  if (c.schedule.layout == Layout::grouped && c.objective.kind != ObjectiveKind::retromae) return;
  require_ranks_for_batch(task.plan.smallest_batch(), static_cast<int>(*std::max_element(teams.begin(), teams.end())));
}

std::vector<std::unique_ptr<Task>> make_tasks(const TaskContext& run, const Schedule& schedule, const TeamPlace& team,
                                              std::vector<std::unique_ptr<TaskRows>> rows) {
  const RunConfig& c = run.config;
  std::vector<std::unique_ptr<Task>> tasks;
  for (size_t t = 0; t < c.tasks.size(); ++t) {
    const auto number = static_cast<int32_t>(t);
    const std::vector<int64_t> teams = team_sizes(schedule.config(), number, run.share.world);
    naming_task(c, c.tasks[t], [&] {
      tasks.push_back(std::make_unique<Task>(run, c.tasks[t], std::move(rows[t]), schedule.draws(number), group_of(team, run)));
      require_comparisons(c, c.tasks[t], tasks.back()->plan.sources(), teams);
    });
    require_rows_for_ranks(c, *tasks.back(), teams);
  }
  return tasks;
}

/// Throws Error (resource) where train.step_memory_mb has no room for a row of a task.
void require_room_for_a_row(const TaskContext& run, const Task& task) {
  const RunConfig& c = run.config;
  if (c.train.step_memory_mb == 0) return;
  const TextLimits limits = text_limits(c, task.cfg);
  const RowTexts texts = texts_of(c.objective.kind, task.cfg.data.train_group_size);
  const auto row = [&](int64_t most) {
    return longest_lengths(1, {std::min(limits.query, most), std::min(limits.passage, most)}, texts.queries, texts.passages, 1, 1).largest;
  };
  require_step_memory(run.ex, run.network.params().layout().count(), static_cast<size_t>(c.train.step_memory_mb) << 20,
                      std::max(limits.query, limits.passage), row,
                      [&](const Group& group) { return run.network.objective(task.loss.get(), group); });
}

}  // namespace

ScheduleConfig schedule_config(const RunConfig& c) {
  ScheduleConfig s{.tasks = {},
                   .steps = c.train.steps,
                   .accumulate = c.train.gradient_accumulation_steps,
                   .groups = c.schedule.groups,
                   .seed = static_cast<uint64_t>(c.train.seed),
                   .mix = c.schedule.mix,
                   .layout = c.schedule.layout};
  for (const TaskConfig& task : c.tasks) {
    const int64_t tokens = task.data.query_max_len + task.data.train_group_size * task.data.passage_max_len;
    s.tasks.push_back({.name = task.name,
                       .weight = task.weight,
                       .share = std::max<int64_t>(1, task.share),
                       .ranks = task.ranks,
                       .cost = task.global_batch * tokens});
  }
  return s;
}

Workload::Workload(const TaskContext& run) : Workload(run, open_rows(run)) {}

Workload::Workload(const TaskContext& run, std::vector<std::unique_ptr<TaskRows>> rows)
    : schedule(make_schedule(run.config, rows)), team(find_team(schedule, run)), tasks(make_tasks(run, schedule, team, std::move(rows))) {
  for (const auto& task : tasks) naming_task(run.config, task->cfg, [&] { require_room_for_a_row(run, *task); });
}

std::vector<BatchStream> Workload::streams(const TaskContext& run) const {
  const Group& group = group_of(team, run);
  std::vector<BatchStream> streams;
  for (const auto& task : tasks)
    streams.push_back(naming_task(run.config, task->cfg, [&] { return task->stream(run, group.rank(), group.size()); }));
  return streams;
}

void Workload::require_unchanged() const {
  for (const auto& task : tasks) task->data->corpus.require_unchanged();
}

}  // namespace lodestone
