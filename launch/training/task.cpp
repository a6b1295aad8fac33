#include "launch/training/task.h"

#include <algorithm>
#include <cmath>

#include "launch/training/filter_rows.h"
#include "launch/training/mining_reach.h"
#include "launch/training/row_kinds.h"
#include "launch/training/same_start.h"

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
std::optional<HeldOut> read_heldout(const TaskContext& run, const TaskConfig& task) {
  if (task.data.heldout.empty()) return std::nullopt;
  return naming_corpus("data.heldout", task.data.heldout, [&] {
    const Corpus corpus = open_corpus(task.data.heldout, run.tokenizer);
    require_same_corpus(run.world.host, corpus, "data.heldout");
    const CorpusRows all(corpus);
    const RowNeeds needs = row_needs(run.config, task, collate_config(task, heldout_seed, Purpose::evaluation, corpus));
    RowFilter filter{.without_negatives = task.data.filter.without_negatives};  // teacher scores filter what is learnt from alone
    if (!trains_vectors(run.config.objective.kind)) filter.positive_score_min = task.data.filter.positive_score_min;  // else: spearman
    std::optional<FilteredRows> kept;
    if (filter.active()) kept.emplace(all, judge_over_ranks(run.world.host, all, filter, needs.candidates, needs.source_groups));
    const RowSource& rows = kept ? static_cast<const RowSource&>(*kept) : all;
    const auto collator = run.network.collator(task, heldout_seed, Purpose::evaluation, run.tokenizer, corpus, nullptr);
    const HeldOutConfig config{.only = task.data.sources,
                               .max_rows = run.config.train.eval_rows,
                               .global_batch = task.global_batch,
                               .rules = task.data.rules,
                               .needs = needs};
    return std::optional<HeldOut>(std::in_place, rows, *collator, config, run.share.rank, run.share.world);
  });
}

/// What mining anew needs: the network as it stands, and the rows.
std::unique_ptr<NegativeRanker> make_ranker(const TaskContext& run, const TaskConfig& task, const TaskRows& data) {
  if (!task.mining || task.mining->refill != MiningRefill::remine) return nullptr;
  return run.network.ranker(run.ex, task, run.tokenizer, data.corpus, data.all);
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
  require_same_corpus(comm, corpus, "data.train");
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

RowTexts texts_of(ObjectiveKind objective, int64_t group) {
  switch (objective) {
    case ObjectiveKind::embedding:
      return {1, group};
    case ObjectiveKind::retromae:
      return {0, 1};
    case ObjectiveKind::reranker:
      return {0, group};
  }
  throw_internal(__FILE__, __LINE__, "objective", "no such objective");
}

Task::Task(const TaskContext& run, const TaskConfig& task, std::unique_ptr<TaskRows> opened, int64_t batches, const Group& team)
    : cfg(task),
      heldout(read_heldout(run, task)),
      data(std::move(opened)),
      plan(plan_config(run.config, task, batches), plan_sources(data->rows().sources())),
      loss(trains_vectors(run.config.objective.kind) ? make_loss(task.loss, run.network.embedding(), run.ex.backend.device()) : nullptr),
      ranker(make_ranker(run, task, *data)),
      similarity(run.network.similarity()),
      negatives(naming_corpus("data.train", task.data.train, [&] {
        return require_fitting_rows(plan, data->rows(),
                                    row_needs(run.config, task, collate_config(task, 0, Purpose::training, data->corpus)), run.world.host);
      })) {
  if (task.mining) {
    for (const PlanSource& s : plan.sources())
      if (s.group > 0 && s.group < task.data.train_group_size)
        throw Error(ExitCode::usage, "config",
                    cat("mining: source ", s.name, " has groups of ", s.group, " passages, and mining keeps ", task.mining->negatives,
                        " negatives a query"),
                    "leave the source out, or mine without it");
    loss = std::make_unique<ScoredLoss>(std::move(loss), run.network.similarity());
    if (task.mining->probe > 0) probe = run.network.probe(run.ex, task, run.tokenizer, data->corpus, plan, data->rows());
    mining.emplace(run.world.host, *task.mining, ranker.get(), probe.get());
  }
  objective = run.network.objective(loss.get(), team);
}

std::vector<std::string> Task::warnings(int64_t steps) const {
  std::vector<std::string> lines;
  if (mining) lines = mining_warnings(mining->config(), similarity, plan, steps, negatives.most);
  if (std::string left_out = describe_left_out(negatives); !left_out.empty()) lines.push_back(std::move(left_out));
  return lines;
}

std::unique_ptr<RowCollator> Task::collator(const TaskContext& run) const {
  const auto seed = static_cast<uint64_t>(run.config.train.seed);
  return run.network.collator(cfg, seed, Purpose::training, run.tokenizer, data->corpus, windows());
}

BatchStream Task::stream(const TaskContext& run, int rank, int world) const {
  return BatchStream(plan, data->rows(), collator(run), rank, world);
}

}  // namespace lodestone
