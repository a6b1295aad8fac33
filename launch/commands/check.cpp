// lodestone check: everything that can be found out before training.
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <iomanip>
#include <iostream>

#include "data/batches/plan_print.h"
#include "data/files/durable.h"
#include "launch/command.h"
#include "launch/config/arguments.h"
#include "launch/console/cores.h"
#include "launch/networks/estimate.h"
#include "launch/networks/fitting_model.h"
#include "launch/training/batch_kinds.h"
#include "launch/training/chunk_fit.h"
#include "launch/training/run_place.h"
#include "launch/training/workload.h"

namespace lodestone {

const char* const check_usage =
    "usage: lodestone check CONFIG.yaml [MORE.yaml ...] [key.path=value ...] [--steps N] [--ranks W]\n\n"
    "Reads what training would read and prints what it would do, without training: the resolved configuration, negatives\n"
    "per query, tokens per step (from a sample), memory per rank, ranks and threads. Exits with the error that training would\n"
    "meet: configuration, model, vocabulary, corpus, prompts, rows or queries without negatives, a run folder that cannot be used.\n\n"
    "  --steps N   print the plan of the first N steps to standard output, one JSON object a line, and the report to\n"
    "              standard error:  {\"step\":0,\"parts\":[{\"source\":..,\"task\":..,\"epoch\":..,\"rows\":[global row ids]}]}\n"
    "  --ranks W   count for W ranks (default: as many as were started)\n"
    "  --without-data   judge the configuration alone: no corpus, vocabulary or weights are read, every text counts as long as it\n"
    "              may be, and ranks default to published.devices\n";

namespace {

int64_t read_count(const ConfigArguments& given, const std::string& option, int64_t fallback, int64_t least, int64_t most) {
  const auto found = given.options.find(option);
  if (found == given.options.end()) return fallback;
  const std::string& text = found->second;
  if (text.empty() || text.size() > 12 || text.find_first_not_of("0123456789") != std::string::npos || std::stoll(text) < least ||
      std::stoll(text) > most)
    throw Error(ExitCode::usage, "usage", cat("check: ", option, " '", text, "' is not a number from ", least, " to ", most),
                cat("for example ", option, " 3"));
  return std::stoll(text);
}

/// Refuses a run folder that could not be made or written, found out by writing for trial where the first part of its path exists.
void require_writable(const std::filesystem::path& run) {
  std::filesystem::path nearest = std::filesystem::absolute(run);
  while (!path_exists(nearest) && nearest.has_relative_path()) nearest = nearest.parent_path();
  std::error_code unknown;
  if (!std::filesystem::is_directory(nearest, unknown))
    throw Error(ExitCode::storage, "F21", "a part of the run folder's path is not a folder", "choose another train.output_dir")
        .at("file", nearest.string());
  check_writable(nearest);
}

std::string mebibytes(size_t bytes) {
  std::ostringstream out;
  out << std::fixed << std::setprecision(1) << static_cast<double>(bytes) / (1 << 20) << " MiB";
  return out.str();
}

std::string lengths_text(const TextLengths& lengths, int64_t limit) {
  std::ostringstream out;
  out << std::fixed << std::setprecision(1) << lengths.mean() << " tokens on average, " << lengths.longest << " at most; "
      << 100 * lengths.full_share() << " % reach the limit of " << limit;
  return out.str();
}

/// What is known of one task.
struct TaskReport {
  const TaskConfig& cfg;
  LengthSample lengths;
  MemoryEstimate memory;
  int64_t corpus_rows = 0;
  std::vector<int64_t> teams;            // ranks that share a batch
  std::vector<PlanSource> sources = {};  // empty without data
  std::vector<double> probability = {};  // the share of the batches of each
  std::vector<std::string> warnings = {};
};

struct Report {
  const RunConfig& config;
  const Network& network;
  const Cores& cores;
  int64_t ranks, local_ranks, steps, batches_per_step;
  std::vector<TaskReport> tasks;
  std::vector<std::string> warnings;
};

using Row = std::function<void(const char*, const std::string&)>;

void print_sources(const Row& row, const TaskReport& t) {
  row("corpus", cat(t.corpus_rows, " rows"));
  for (size_t i = 0; i < t.sources.size(); ++i) {
    const PlanSource& s = t.sources[i];
    row(i == 0 ? "sources" : "", cat(s.name, ": ", s.rows, " rows, drawn with probability ", t.probability[i],
                                     s.members.size() > 1 ? cat(" (", s.members.size(), " sources merged)") : ""));
  }
}

void print_task(const Row& row, const Report& r, const TaskReport& t) {
  const ObjectiveKind kind = r.config.objective.kind;
  if (r.tasks.size() > 1) row("task", cat(t.cfg.name, ", weight ", t.cfg.weight, ": ", describe(t.cfg.loss)));
  if (!t.sources.empty()) print_sources(row, t);
  for (const std::string& warning : t.warnings) row("warning", warning);
  const std::vector<BatchKind> kinds = batch_kinds(t.cfg, t.sources, t.teams);
  for (const std::string& line : describe(kinds, kind, r.config.schedule.layout, t.teams)) row("batch", line);
  const auto tokens = std::llround(t.lengths.tokens_per_step);
  if (t.sources.empty()) {
    row("tokens", cat(tokens, " per step at most"));
  } else {
    row("tokens", cat(tokens, " per step (estimated from ", t.lengths.batches, " of its batches)"));
    if (t.lengths.queries.texts > 0) row("queries", lengths_text(t.lengths.queries, t.cfg.data.query_max_len));
    row(kind == ObjectiveKind::embedding ? "passages" : "texts", lengths_text(t.lengths.passages, text_limits(r.config, t.cfg).passage));
  }
  row("chunks",
      cat(r.config.train.chunk_tokens, " tokens at most", r.config.backend == BackendKind::cpu ? "" : ", by what this GPU has free now"));
  row("memory", cat(mebibytes(t.memory.total()), " per rank, found by a step that computes nothing; MPI's own comes on top"));
  row("  parameters", mebibytes(t.memory.parameters));
  row("  gradients", mebibytes(t.memory.gradients));
  row("  moments", cat(mebibytes(t.memory.moments), r.config.optim.zero ? " (this rank's share: ZeRO-1)" : ""));
  if (trains_vectors(kind)) {
    row("  activations", cat(mebibytes(t.memory.activations), " (", kept_text(t.memory.chunks, r.config.train), ")"));
    row("  embeddings", mebibytes(t.memory.embeddings));
    row("  work", cat(mebibytes(t.memory.work), " (one encoder call, or the loss)"));
  } else {
    row("  work", cat(mebibytes(t.memory.work), " (one chunk, forward and backward)"));
  }
  row("  scratch", cat(mebibytes(t.memory.scratch), " (inside single operations)"));
  row("  batches", mebibytes(t.memory.batches));
  if (!t.sources.empty())
    row("  reading", cat(mebibytes(t.memory.reading), " (tables of the corpus and the plan, a chunk while it is checked, held-out rows)"));
}

void print_report(std::ostream& out, const Report& r) {
  const Row row = [&](const char* name, const std::string& text) { out << "  " << std::left << std::setw(14) << name << text << '\n'; };
  const RunConfig& c = r.config;
  const EncoderConfig& e = r.network.encoder_config();
  out << "configuration\n" << c.resolved << (c.resolved.ends_with('\n') ? "" : "\n") << "run\n";
  row("model", cat(e.layers, " layers of ", e.hidden, ", ", e.heads, " heads, ", r.network.params().layout().count(), " parameters, ",
                   r.network.head()));
  row("export",
      cat(c.objective.kind == ObjectiveKind::reranker ? "pairs" : "texts", " of at most ", r.network.exported_length(), " tokens"));
  row("ranks", cat(r.ranks, " x ", r.cores.threads, r.cores.threads == 1 ? " thread" : " threads", " on ", r.cores.bound,
                   r.cores.bound == 1 ? " core" : " cores"));
  if (!r.cores.warning.empty()) row("warning", r.cores.warning);
  for (const std::string& line : r.warnings) row("warning", line);
  row("steps", cat(r.steps > 0 ? cat(r.steps) : "as many as the epochs have,", " of ", r.batches_per_step,
                   r.batches_per_step == 1 ? " batch" : " batches"));
  if (const std::string groups = describe_groups(schedule_config(c), static_cast<int>(r.ranks)); !groups.empty()) row("groups", groups);
  size_t most = 0;
  for (const TaskReport& t : r.tasks) {
    print_task(row, r, t);
    most = std::max(most, t.memory.total());
  }
  const auto physical = static_cast<size_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<size_t>(sysconf(_SC_PAGESIZE));
  if (r.tasks.front().sources.empty() || most * static_cast<size_t>(r.local_ranks) <= physical) return;
  row("warning", cat(r.local_ranks, r.local_ranks == 1 ? " rank needs " : " ranks on one host need ",
                     mebibytes(most * static_cast<size_t>(r.local_ranks)), ", it has ", mebibytes(physical)));
}

/// What a task takes on one of `ranks` ranks.
MemoryEstimate task_memory(const RunConfig& c, const TaskConfig& task, const Network& network, const Exec& ex, const Batch& largest,
                           int64_t ranks) {
  const std::unique_ptr<Loss> loss =
      trains_vectors(c.objective.kind) ? make_loss(task.loss, network.embedding(), ex.backend.device()) : nullptr;
  MemoryEstimate memory = estimate_memory(ex, network.params().layout().count(), largest,
                                          [&](const Group& group) { return network.objective(loss.get(), group); });
  if (c.optim.zero) memory.moments /= static_cast<size_t>(ranks);
  return memory;
}

/// Of several teams the one whose ranks have most of a batch.
int fewest_ranks(std::span<const int64_t> teams) { return static_cast<int>(*std::min_element(teams.begin(), teams.end())); }

/// What a task is with its corpus open: its sources, and the lengths of a sample of its batches. `teams`: ranks that share a batch of it.
TaskReport report_task(const TaskContext& run, const Task& task, const std::vector<int64_t>& teams) {
  const RunConfig& c = run.config;
  const int64_t batches_per_step = c.train.gradient_accumulation_steps * c.schedule.groups;
  const auto collator = task.collator(run);
  TaskReport report{
      task.cfg, sample_lengths(task.plan, task.data->rows(), *collator, text_limits(c, task.cfg), batches_per_step, fewest_ranks(teams)),
      {},       task.data->rows().rows(),
      teams,    task.plan.sources()};
  for (size_t s = 0; s < task.plan.sources().size(); ++s) report.probability.push_back(task.plan.probability(static_cast<int32_t>(s)));
  report.memory = task_memory(c, task.cfg, run.network, run.ex, report.lengths.largest, run.share.world);
  report.memory.reading = task.data->memory_bytes() + task.plan.memory_bytes() + (task.heldout ? task.heldout->memory_bytes() : 0);
  return report;
}

/// The tasks as their corpora are: plans, samples of batches, held-out rows.
struct Checked {
  std::vector<TaskReport> tasks;
  int64_t steps = 0, batches_per_step = 0;
  std::vector<std::string> warnings{};
};

Checked check_with_data(const RunConfig& c, Network& network, const Exec& ex, int64_t ranks, int64_t print_steps) {
  const Tokenizer tokenizer = open_tokenizer(c, network.encoder_config());
  const auto self = make_self_comm();
  const TaskContext run{c, ex, network, tokenizer, *self, {0, static_cast<int>(ranks)}};
  const Workload work(run);
  Checked checked{
      {}, work.schedule.config().steps, work.schedule.parts_per_step(), tokenizer_warnings(c, network.encoder_config(), tokenizer)};
  std::vector<PlannedTask> planned;
  for (size_t t = 0; t < work.tasks.size(); ++t) {
    const Task& task = *work.tasks[t];
    const std::vector<int64_t> teams = team_sizes(work.schedule.config(), static_cast<int32_t>(t), static_cast<int>(ranks));
    naming_task(c, task.cfg, [&] { checked.tasks.push_back(report_task(run, task, teams)); });
    checked.tasks.back().warnings = task.warnings(checked.steps);
    planned.push_back({task.plan, task.data->rows(), task.collator(run)});
  }
  if (print_steps > 0) print_plan(std::cout, work.schedule, planned, 0, print_steps);
  return checked;
}

/// Steps of a run, from published.rows where it is given in epochs (of the first task).
int64_t published_steps(const RunConfig& c) {
  if (c.train.steps > 0) return c.train.steps;
  const int64_t batch = c.tasks.front().global_batch * c.train.gradient_accumulation_steps * c.schedule.groups;
  return std::llround(c.train.num_train_epochs * static_cast<double>(c.published.rows) / static_cast<double>(batch));
}

/// The same from the configuration alone: every text as long as it may be.
Checked check_without_data(const RunConfig& c, Network& network, const Exec& ex, int64_t ranks) {
  require_fitting_dims(c, network);
  Checked checked{{},
                  published_steps(c),
                  c.train.gradient_accumulation_steps * c.schedule.groups *
                      (c.schedule.mix == TaskMix::joint ? static_cast<int64_t>(c.tasks.size()) : 1)};
  const ScheduleConfig schedule = schedule_config(c);
  for (size_t t = 0; t < c.tasks.size(); ++t) {
    const TaskConfig& task = c.tasks[t];
    const std::vector<int64_t> teams = team_sizes(schedule, static_cast<int32_t>(t), static_cast<int>(ranks));
    const RowTexts texts = texts_of(c.objective.kind, task.data.train_group_size);
    TaskReport report{task,
                      longest_lengths(task.global_batch, text_limits(c, task), texts.queries, texts.passages,
                                      c.train.gradient_accumulation_steps * c.schedule.groups, fewest_ranks(teams)),
                      {},
                      0,
                      teams};
    report.memory = task_memory(c, task, network, ex, report.lengths.largest, ranks);
    checked.tasks.push_back(std::move(report));
  }
  return checked;
}

/// What a run would find for its steps on a GPU, beside gradients and moments, which are not there yet. 0 elsewhere.
size_t room_of_run(const RunConfig& c, const Network& network, Backend& backend, int64_t ranks) {
  if (backend.device() != Device::cuda) return 0;
  const size_t wide = static_cast<size_t>(network.params().layout().count()) * size_of(network.params().wide_dtype());
  const size_t moments = 2 * wide / static_cast<size_t>(c.optim.zero ? ranks : 1);
  return room_for_steps(backend.memory(), c.train, wide + moments);
}

}  // namespace

int run_check(World& world, std::span<const std::string> arguments) {
  const std::string options[] = {"--steps", "--ranks", "--without-data!"};
  const ConfigArguments given = split_config_arguments(arguments, "check", options);
  const bool with_data = !given.options.contains("--without-data");
  world.watchdog().set_limit(World::unequal_work_limit_s);
  if (world.rank() != 0) return 0;  // nothing here differs between ranks, but what their GPUs have free

  // 1. Configuration, run folder, model; weights only where there is data to train on.
  RunConfig config = read_run_config(given.files, given.overrides);
  const int64_t as_started = !with_data && config.published.devices > 0 ? config.published.devices : world.size();
  const int64_t steps = read_count(given, "--steps", 0, 1, 1'000'000'000), ranks = read_count(given, "--ranks", as_started, 1, 1'000'000);
  if (steps > 0 && !with_data)
    throw Error(ExitCode::usage, "usage", "check: --steps prints global row ids, which only data has", "leave out --without-data");
  if (with_data) {
    require_writable(config.train.output_dir);
    require_run_place(config.train.output_dir);
    require_same_config_as_newest(config.train.output_dir, config.keys);
  }
  Cores cores = choose_threads(world, config.train.threads);
  if (world.size() == 1 && config.train.threads == 0) cores.threads = std::max(1, cores.bound / static_cast<int>(ranks));
  const std::unique_ptr<Backend> backend = make_backend({.kind = config.backend, .threads = cores.threads, .attention = config.attention});
  const std::unique_ptr<Network> network = open_network(config, with_data ? Weights::values : Weights::shapes, *backend);

  if (with_data) require_model_of_newest(config.train.output_dir, network->facts());
  (void)frozen_parameters(config, network->params().layout());

  // 2. Data, losses, what they take.
  const size_t room = room_of_run(config, *network, *backend, ranks);
  Arena arena(backend->memory());
  const Exec ex{*backend, arena, Key(), config.train.precision};
  if (config.train.chunk_tokens_is_auto)
    config.train.chunk_tokens = automatic_chunk_tokens(config, *network, ex, static_cast<int>(ranks), room);
  if (config.train.keep_activations_is_auto)
    config.train.keep_activations_mb = automatic_keep_mb(config, *network, ex, static_cast<int>(ranks), room);
  Checked checked = with_data ? check_with_data(config, *network, ex, ranks, steps) : check_without_data(config, *network, ex, ranks);
  print_report(steps > 0 ? std::cerr : std::cout,
               {config, *network, cores, ranks, world.size() == 1 ? ranks : world.local_size(), checked.steps, checked.batches_per_step,
                std::move(checked.tasks), std::move(checked.warnings)});
  return 0;
}

}  // namespace lodestone
