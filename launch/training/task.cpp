#include "launch/training/task.h"

#include <algorithm>
#include <cmath>

#include "launch/training/filter_rows.h"
#include "launch/training/row_kinds.h"

namespace lodestone {

namespace {

/// Draws candidates and masks of held-out rows: not the seed of training, so that runs of different seeds are judged by the same.
constexpr uint64_t heldout_seed = 0;

/// Runs `work`; its errors say which corpus of the configuration they are about.
template <class Work>
auto naming_corpus(const char* key, const std::filesystem::path& folder, Work work) {
  try {
    return work();
  } catch (Error& error) {
    error.at(key, folder.string());
    throw;
  }
}

/// This rank's share of the held-out rows; nothing when the configuration names none. The corpus is closed again. Collective.
std::optional<HeldOut> read_heldout(const RunConfig& c, const TaskConfig& task, const Network& network, const Tokenizer& tokenizer,
                                    HeldOutShare share, Communicator& comm) {
  if (task.data.heldout.empty()) return std::nullopt;
  return naming_corpus("data.heldout", task.data.heldout, [&] {
    const Corpus corpus = open_corpus(task.data.heldout, tokenizer);
    const CorpusRows all(corpus);
    const RowNeeds needs = row_needs(c, task, collate_config(task, heldout_seed, Purpose::evaluation, corpus));
    std::optional<FilteredRows> kept;  // teacher scores filter what is learnt from, not what it is judged by
    if (task.data.filter.without_negatives == RowsWithoutNegatives::leave_out)
      kept.emplace(
          all, judge_over_ranks(comm, all, {.without_negatives = RowsWithoutNegatives::leave_out}, needs.candidates, needs.source_groups));
    const RowSource& rows = kept ? static_cast<const RowSource&>(*kept) : all;
    const auto collator = network.collator(task, heldout_seed, Purpose::evaluation, tokenizer, corpus, nullptr);
    const HeldOutConfig config{.only = task.data.sources,
                               .max_rows = c.train.eval_rows,
                               .global_batch = task.global_batch,
                               .rules = task.data.rules,
                               .needs = needs};
    return std::optional<HeldOut>(std::in_place, rows, *collator, config, share.rank, share.world);
  });
}

/// What mining anew needs: the network as it stands, and the rows.
std::unique_ptr<NegativeRanker> make_ranker(const Exec& ex, const TaskConfig& task, Network& network, const Tokenizer& tokenizer,
                                            const TaskRows& data) {
  if (!task.mining || task.mining->refill != MiningRefill::remine) return nullptr;
  return network.ranker(ex, task, tokenizer, data.corpus, data.all);
}

/// Rows that come in an epoch of all sources, each as often as it is repeated.
int64_t total_rows(const std::vector<PlanSource>& sources) {
  int64_t rows = 0;
  for (const PlanSource& s : sources) rows += s.repeat * SourceBatches(Key(), s).rows_per_epoch();
  return rows;
}

}  // namespace

Corpus open_corpus(const std::filesystem::path& folder, const Tokenizer& tokenizer) {
  Corpus corpus = Corpus::open(folder);
  if (corpus.tokenizer_fingerprint() != tokenizer.fingerprint())
    throw Error(ExitCode::data, "F26", "the corpus was packed with another tokenizer than the model's",
                "pack it again with --tokenizer MODEL_FOLDER")
        .at("file", folder.string());
  return corpus;
}

TaskRows::TaskRows(const TaskConfig& task, const Tokenizer& tokenizer, Communicator& comm)
    : corpus(open_corpus(task.data.train, tokenizer)), all(corpus) {
  const DataConfig& d = task.data;
  if (d.filter.active())
    kept.emplace(all, judge_over_ranks(comm, all, d.filter, {d.train_group_size, d.select_positive, d.select_negative},
                                       source_groups(task, corpus)));
  require_rows(task, all.sources(), rows().sources());
}

PlanConfig plan_config(const RunConfig& c, const TaskConfig& task, int64_t batches) {
  return {.global_batch = task.global_batch,
          .batches = batches,
          .seed = static_cast<uint64_t>(c.train.seed),
          .batching = task.data.batching,
          .alpha = task.data.alpha,
          .small_sources = task.data.small_sources,
          .order = task.data.order,
          .task = task.name,
          .only = task.data.sources,
          .rules = task.data.rules};
}

TextLimits text_limits(const RunConfig& c, const TaskConfig& task) {
  const DataConfig& d = task.data;
  switch (c.objective.kind) {
    case ObjectiveKind::retromae:
      return {0, d.query_max_len};
    case ObjectiveKind::reranker:
      return {0, pair_lengths(d).longest_pair()};
    case ObjectiveKind::embedding:
      break;
  }
  return {d.query_max_len, d.passage_max_len};
}

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

void require_rows_for_ranks(const RunConfig& c, const Task& task, std::span<const int64_t> teams) {
  if (c.schedule.layout == Layout::grouped && c.objective.kind != ObjectiveKind::retromae) return;
  require_ranks_for_batch(task.plan.smallest_batch(), static_cast<int>(*std::max_element(teams.begin(), teams.end())));
}

TeamPlace find_team(const Schedule& schedule, World& world) {
  if (schedule.config().layout == Layout::colocated) return {{.ranks = world.size()}, nullptr};
  const std::vector<Team> teams = form_teams(schedule.config(), world.size());
  int64_t first = 0;
  size_t mine = 0;
  while (world.rank() >= first + teams[mine].ranks) first += teams[mine++].ranks;
  return {teams[mine], world.comm().split(static_cast<int>(mine))};
}

Task::Task(const RunConfig& c, const Exec& ex, const TaskConfig& task, std::unique_ptr<TaskRows> opened, int64_t batches, Network& network,
           const Tokenizer& tokenizer, HeldOutShare share, Communicator& team, Communicator& world)
    : cfg(task),
      heldout(read_heldout(c, task, network, tokenizer, share, world)),
      data(std::move(opened)),
      plan(plan_config(c, task, batches), plan_sources(data->rows().sources())),
      loss(c.objective.kind == ObjectiveKind::embedding ? make_loss(task.loss, network.embedding()) : nullptr),
      ranker(make_ranker(ex, task, network, tokenizer, *data)) {
  naming_corpus("data.train", task.data.train, [&] {
    require_fitting_rows(plan, data->rows(), row_needs(c, task, collate_config(task, 0, Purpose::training, data->corpus)), world);
  });
  if (task.mining) {
    for (const PlanSource& s : plan.sources())
      if (s.group > 0 && s.group < task.data.train_group_size)
        throw Error(ExitCode::usage, "config",
                    cat("mining: source ", s.name, " has groups of ", s.group, " passages, and mining keeps ", task.mining->negatives,
                        " negatives a query"),
                    "leave the source out, or mine without it");
    auto with_scores = std::make_unique<ScoredLoss>(std::move(loss));
    scored = with_scores.get();
    loss = std::move(with_scores);
    if (task.mining->probe > 0) probe = network.probe(ex, task, tokenizer, data->corpus, plan, data->rows());
    mining.emplace(world, *task.mining, ranker.get(), probe.get());
  }
  objective = network.objective(loss.get(), team);
}

BatchStream Task::stream(const RunConfig& c, const Network& network, const Tokenizer& tokenizer, int rank, int world) const {
  return BatchStream(plan, data->rows(),
                     network.collator(cfg, static_cast<uint64_t>(c.train.seed), Purpose::training, tokenizer, data->corpus, windows()),
                     rank, world);
}

}  // namespace lodestone
