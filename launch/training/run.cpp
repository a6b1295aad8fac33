#include "launch/training/run.h"

#include <algorithm>
#include <functional>
#include <iomanip>
#include <numeric>
#include <sstream>

#include "core/cuda_library.h"
#include "launch/console/gpus.h"
#include "launch/networks/fitting_model.h"
#include "launch/training/batch_kinds.h"
#include "launch/training/chunk_fit.h"
#include "launch/training/same_start.h"

namespace lodestone {

namespace {

/// Where batches begin to depend on mining that has not happened yet: the first check behind `step`.
int64_t next_check(const Run& run, int64_t step) {
  int64_t next = Loader::no_hold;
  for (const auto& task : run.work.tasks)
    if (task->mining) next = std::min(next, (step / task->mining->config().every + 1) * task->mining->config().every);
  return next;
}

/// The tokenizer, once all ranks are known to have the same model and the same tokenizer.
Tokenizer open_same_tokenizer(const RunConfig& config, const Network& network, Communicator& comm) {
  Tokenizer tokenizer = open_tokenizer(config, network.encoder_config());
  require_same_model(comm, network, tokenizer);
  return tokenizer;
}

/// Runs `work`; where it finds no memory, the error says what that was for.
template <class Work>
auto taking_memory(const char* purpose, Work work) {
  try {
    return work();
  } catch (Error& error) {
    if (error.exit_code() == ExitCode::resource) error.at("for", purpose);
    throw;
  }
}

size_t wide_bytes(const ParamStore& params) { return static_cast<size_t>(params.layout().count()) * size_of(params.wide_dtype()); }

/// Settles what is automatic of chunks and of activations that are kept, for which step memory must be known and of which nothing may have
/// been made. Collective.
TaskContext with_settled_chunks(Run& run) {
  TrainConfig& train = run.cfg.train;
  const auto settle = [&](const auto& automatic, int64_t& value) {
    value = automatic(run.cfg, *run.network, run.ex, run.world.size(), run.step_memory_bytes);
    all_reduce(run.world.comm(), std::span(&value, 1), Reduce::min);
  };
  if (train.chunk_tokens_is_auto) settle(automatic_chunk_tokens, train.chunk_tokens);
  if (train.keep_activations_is_auto) settle(automatic_keep_mb, train.keep_activations_mb);
  return run.task_context();
}

AdamWConfig adamw_config(const OptimConfig& optim) {
  return {.beta1 = optim.adam_beta1, .beta2 = optim.adam_beta2, .eps = optim.adam_epsilon, .weight_decay = optim.weight_decay};
}

}  // namespace

Run::Run(World& w, RunConfig config, int64_t first_step)
    : world(w),
      cfg(std::move(config)),
      cores(choose_threads(world, cfg.train.threads)),
      backend(make_backend({.kind = cfg.backend,
                            .threads = cores.threads,
                            .gpu = gpu_of_rank(world, cfg.backend),
                            .attention = cfg.attention,
                            .launches = cfg.cuda_graphs ? Launches::graphs : Launches::single},
                           common_instruction_set(world.comm(), best_instruction_set()))),
      planes(world.comm(), *backend, cfg.transport, &world.watchdog()),
      network(taking_memory("the parameters", [&] { return open_network(cfg, Weights::values, *backend); })),
      tokenizer(open_same_tokenizer(cfg, *network, world.comm())),
      grads_memory(taking_memory("the gradients", [&] { return Buffer(backend->memory(), wide_bytes(params())); })),
      grads(grads_memory.tensor(params().wide_dtype(), {params().layout().count()})),
      sync(planes.group(), *backend, params().layout().count(), params().wide_dtype(),
           {.update = cfg.optim.zero ? GradSync::Update::own_slice : GradSync::Update::everywhere,
            .watchdog = &world.watchdog(),
            .host = &world.host_comm()}),
      frozen(frozen_parameters(cfg, params().layout())),
      optimizer(taking_memory(
          "the optimizer's moments",
          [&] {
            return AdamW(backend->memory(), adamw_config(cfg.optim), params().layout(), params().wide_dtype(), {sync.own(), frozen});
          })),
      step_memory_bytes(room_for_steps(backend->memory(), cfg.train)),
      arena(taking_memory("step memory", [&] { return Arena(backend->memory(), step_memory_bytes); })),
      ex{*backend, arena, Key(static_cast<uint64_t>(cfg.train.seed)).with("train"), cfg.train.precision},
      work(with_settled_chunks(*this)),
      lr({.lr = cfg.optim.learning_rate,
          .decline = cfg.optim.lr_scheduler_type,
          .warmup_steps = cfg.optim.warmup_steps >= 0 ? std::optional(cfg.optim.warmup_steps) : std::nullopt,
          .warmup_ratio = cfg.optim.warmup_ratio,
          .warmup_shape = cfg.optim.warmup_shape},
         work.schedule.config().steps),
      loss_scale(cfg.optim.loss_scale ? std::optional<LossScale>(*cfg.optim.loss_scale) : std::nullopt),
      loader(work.schedule, work.team.team, work.streams(task_context()), first_step, next_check(*this, first_step)) {}

std::optional<MiningReport> mine(Run& run, int64_t finished) {
  for (const auto& task : run.work.tasks) {
    if (!task->mining) continue;
    // The loader's thread waits at the check: nothing is collated while windows change.
    const std::optional<MiningReport> report = task->mining->end_of_step(finished);
    if (report) run.loader.release(next_check(run, finished));
    return report;
  }
  return std::nullopt;
}

std::vector<HeldOutFigures> heldout_figures(Run& run) {
  std::vector<HeldOutFigures> all;
  HeldOutFigures together;
  double loss = 0;
  size_t judged = 0;  // tasks whose held-out rows have a loss
  for (size_t t = 0; t < run.work.tasks.size(); ++t) {
    const Task& task = *run.work.tasks[t];
    if (!task.heldout) continue;
    HeldOutFigures figures{run.work.tasks.size() > 1 ? task.cfg.name : "", task.heldout->global_rows(),
                           run.network->evaluate(run.ex, *task.heldout, task.loss.get(), run.planes.group())};
    for (const Figure& f : figures.figures) {
      if (f.name != "loss") continue;
      loss += run.work.schedule.mean_weight(static_cast<int32_t>(t)) * f.value;
      ++judged;
    }
    together.rows += figures.rows;
    all.push_back(std::move(figures));
  }
  together.figures = {{"loss", loss}};
  if (run.work.tasks.size() > 1 && judged == run.work.tasks.size()) all.push_back(std::move(together));
  return all;
}

namespace {

using Row = std::function<void(const std::string&, const std::string&)>;

/// "retrieval: 4,000 rows in 3 sources; 128 queries x 2 passages, 255 negatives per query; InfoNCE, temperature 0.05".
void describe_task(const Row& row, const Run& run, size_t number) {
  const Task& task = *run.work.tasks[number];
  const bool named = run.work.tasks.size() > 1;
  const std::vector<PlanSource>& sources = task.plan.sources();
  const int64_t rows =
      std::accumulate(sources.begin(), sources.end(), int64_t{0}, [](int64_t n, const PlanSource& s) { return n + s.rows; });
  row(named ? "task" : "corpus",
      cat(named ? cat(task.cfg.name, ": ") : "", rows, " rows in ", sources.size(), sources.size() == 1 ? " source" : " sources"));
  const std::vector<int64_t> teams = team_sizes(run.work.schedule.config(), static_cast<int32_t>(number), run.world.size());
  for (const std::string& line : describe(batch_kinds(task.cfg, sources, teams), run.cfg.objective.kind, run.cfg.schedule.layout, teams))
    row("batch", line);
  if (task.loss != nullptr) row("loss", cat(describe(task.cfg.loss), task.cfg.weight == 1 ? "" : cat(", weight ", task.cfg.weight)));
  row("lengths", run.cfg.objective.kind == ObjectiveKind::retromae
                     ? cat(task.cfg.data.query_max_len, " tokens at most; chunks of ", run.cfg.train.chunk_tokens)
                     : cat("queries ", task.cfg.data.query_max_len, ", passages ", task.cfg.data.passage_max_len,
                           " tokens at most; chunks of ", run.cfg.train.chunk_tokens));
  const ChunkCounts chunks = chunks_of_longest(run.cfg, *run.network, run.ex, number, run.world.size());
  if (chunks.all > 0) row("activations", cat(kept_text(chunks, run.cfg.train), ", if all texts are as long as they may be"));
  for (const std::string& warning : task.warnings(run.work.schedule.config().steps)) row("warning", warning);
}

/// Why `device: auto` has not taken a GPU.
std::string why_not_cuda() {
  const std::string& missing = cuda_library().why_not();
  return missing.empty() ? "CUDA has not been proven on a GPU yet, device: cuda takes it" : missing;
}

}  // namespace

std::string start_up_table(const Run& run) {
  const EncoderConfig& e = run.network->encoder_config();
  std::ostringstream out;
  const Row row = [&](const std::string& name, const std::string& text) {
    out << "  " << std::left << std::setw(14) << name << text << '\n';
  };
  out << "Lodestone\n";
  row("model", cat(e.layers, " layers of ", e.hidden, ", ", e.heads, " heads, ",
                   static_cast<double>(run.network->params().layout().count()) / 1e6, " M parameters, ", run.network->head()));
  row("export", cat(run.cfg.objective.kind == ObjectiveKind::reranker ? "pairs" : "texts", " of at most ", run.network->exported_length(),
                    " tokens"));
  row("weights", run.cfg.model.folder.empty() ? "random" : run.cfg.model.folder.string());
  row("precision", cat(name_of(run.cfg.train.precision), "; ", run.backend->description()));
  if (run.cfg.device == DeviceChoice::automatic) row("device", cat("the CPU; ", why_not_cuda()));
  row("ranks", cat(run.world.size(), " x ", run.cores.threads, run.cores.threads == 1 ? " thread" : " threads", " on ", run.cores.bound,
                   run.cores.bound == 1 ? " core" : " cores", "; ", World::library_version()));
  if (!run.planes.transport().empty()) row("transport", run.planes.transport());
  if (!run.cores.warning.empty()) row("warning", run.cores.warning);
  for (const std::string& line : tokenizer_warnings(run.cfg, e, run.tokenizer)) row("warning", line);
  if (const std::string groups = describe_groups(run.work.schedule.config(), run.world.size()); !groups.empty()) row("groups", groups);
  for (size_t t = 0; t < run.work.tasks.size(); ++t) describe_task(row, run, t);
  const int64_t parts = run.work.schedule.parts_per_step();
  row("steps", cat(run.work.schedule.config().steps, parts > 1 ? cat(" of ", parts, " batches") : "", " (warm-up ", run.lr.warmup_steps(),
                   "), learning rate ", run.cfg.optim.learning_rate));
  row("run folder", run.cfg.train.output_dir.string());
  return out.str();
}

}  // namespace lodestone
