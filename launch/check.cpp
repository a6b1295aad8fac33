// lodestone check: everything that can be found out before training.
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iomanip>
#include <iostream>

#include "data/corpus_rows.h"
#include "data/plan_print.h"
#include "launch/arguments.h"
#include "launch/command.h"
#include "launch/estimate.h"
#include "launch/run.h"

namespace lodestone {

const char* const check_usage =
    "usage: lodestone check CONFIG.yaml [MORE.yaml ...] [key.path=value ...] [--steps N] [--ranks W]\n\n"
    "Reads what training would read and prints what it would do, without training: the resolved configuration, negatives\n"
    "per query, tokens per step (from a sample), memory per rank, ranks and threads. Exits with the error that training would\n"
    "meet: configuration, model, vocabulary, corpus, prompts, rows without negatives, a run folder that cannot be written.\n\n"
    "  --steps N   print the plan of the first N steps to standard output, one JSON object a line, and the report to\n"
    "              standard error:  {\"step\":0,\"parts\":[{\"source\":..,\"task\":..,\"epoch\":..,\"rows\":[global row ids]}]}\n"
    "  --ranks W   count for W ranks (default: as many as were started)\n";

namespace {

int64_t read_count(const ConfigArguments& given, const std::string& option, int64_t fallback, int64_t least, int64_t most) {
  const auto found = given.options.find(option);
  if (found == given.options.end()) return fallback;
  const std::string& text = found->second;
  if (text.empty() || text.size() > 12 || text.find_first_not_of("0123456789") != std::string::npos || std::stoll(text) < least ||
      std::stoll(text) > most)
    throw Error(ExitCode::usage, "usage", cat("check: ", option, " '", text, "' is not a number from ", least, " to ", most), cat("for example ", option, " 3"));
  return std::stoll(text);
}

/// Refuses a run folder that could not be made or written. Makes nothing.
void require_writable(const std::filesystem::path& run) {
  std::filesystem::path nearest = std::filesystem::absolute(run);
  while (!std::filesystem::exists(nearest) && nearest.has_relative_path()) nearest = nearest.parent_path();
  if (!std::filesystem::is_directory(nearest))
    throw Error(ExitCode::storage, "F21", "a part of the run folder's path is not a folder", "choose another train.output_dir").at("file", nearest.string());
  if (access(nearest.c_str(), W_OK | X_OK) != 0)
    throw Error(ExitCode::storage, "F21", cat("the run folder cannot be written: ", std::strerror(errno)), "choose another train.output_dir")
        .at("file", nearest.string());
}

std::string mebibytes(size_t bytes) {
  std::ostringstream out;
  out << std::fixed << std::setprecision(1) << static_cast<double>(bytes) / (1 << 20) << " MiB";
  return out.str();
}

std::string lengths_text(const TextLengths& lengths, int64_t limit) {
  std::ostringstream out;
  out << std::fixed << std::setprecision(1) << lengths.mean() << " tokens on average, " << lengths.longest << " at most; " << 100 * lengths.full_share()
      << " % reach the limit of " << limit;
  return out.str();
}

/// How many texts a query is compared with and should differ from.
int64_t negatives_per_query(const RunConfig& c, int64_t ranks) {
  const int64_t g = c.data.train_group_size, n = c.train.global_batch;
  if (!c.loss.in_batch_negatives) return g - 1;
  return (c.loss.cross_rank_negatives ? n : n / ranks) * g - 1;
}

struct Report {
  const RunConfig& config;
  const TrainedModel& model;
  const Plan& plan;
  const LengthSample& lengths;
  const MemoryEstimate& memory;
  const Cores& cores;
  int64_t parameters, ranks, local_ranks, corpus_rows;
};

void print_report(std::ostream& out, const Report& r) {
  const auto row = [&](const char* name, const auto&... parts) { out << "  " << std::left << std::setw(14) << name << cat(parts...) << '\n'; };
  const RunConfig& c = r.config;
  const EncoderConfig& e = r.model.folder.config.encoder;
  out << "configuration\n" << c.resolved << (c.resolved.ends_with('\n') ? "" : "\n") << "run\n";
  row("model", e.layers, " layers of ", e.hidden, ", ", e.heads, " heads, ", r.parameters, " parameters, embedding ", r.model.folder.config.embedding());
  row("ranks", r.ranks, " x ", r.cores.threads, r.cores.threads == 1 ? " thread" : " threads", " on ", r.cores.bound, r.cores.bound == 1 ? " core" : " cores");
  if (!r.cores.warning.empty()) row("warning", r.cores.warning);
  row("corpus", r.corpus_rows, " rows");
  for (size_t i = 0; i < r.plan.sources().size(); ++i) {
    const PlanSource& s = r.plan.sources()[i];
    row(i == 0 ? "sources" : "", s.name, ": ", s.rows, " rows, drawn with probability ", r.plan.probability(static_cast<int32_t>(i)),
        s.members.size() > 1 ? cat(" (", s.members.size(), " sources merged)") : "");
  }
  row("batch", c.train.global_batch, " queries x ", c.data.train_group_size, " passages over all ranks, ", negatives_per_query(c, r.ranks), " negatives per query");
  row("steps", step_count(c, r.plan), " of ", c.train.gradient_accumulation_steps, c.train.gradient_accumulation_steps == 1 ? " batch" : " batches");
  row("tokens", static_cast<int64_t>(r.lengths.tokens_per_step + 0.5), " per step (estimated from ", r.lengths.batches, " of its batches)");
  row("queries", lengths_text(r.lengths.queries, c.data.query_max_len));
  row("passages", lengths_text(r.lengths.passages, c.data.passage_max_len));
  row("memory", mebibytes(r.memory.total()), " per rank, counted from shapes; the libraries' own comes on top");
  row("  parameters", mebibytes(r.memory.parameters));
  row("  gradients", mebibytes(r.memory.gradients));
  row("  moments", mebibytes(r.memory.moments));
  row("  activations", mebibytes(r.memory.activations), " (kept up to ", c.train.keep_activations_mb, " MiB, the rest is computed twice)");
  row("  embeddings", mebibytes(r.memory.embeddings));
  row("  work", mebibytes(r.memory.work), " (one encoder call, or the loss)");
  row("  batches", mebibytes(r.memory.batches));
  const auto physical = static_cast<size_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<size_t>(sysconf(_SC_PAGESIZE));
  if (r.memory.total() * static_cast<size_t>(r.local_ranks) > physical)
    row("warning", r.local_ranks, r.local_ranks == 1 ? " rank needs " : " ranks on one host need ", mebibytes(r.memory.total() * static_cast<size_t>(r.local_ranks)), ", it has ", mebibytes(physical));
}

}  // namespace

int run_check(World& world, std::span<const std::string> arguments) {
  const std::string options[] = {"--steps", "--ranks"};
  const ConfigArguments given = split_config_arguments(arguments, "check", options);
  const int64_t steps = read_count(given, "--steps", 0, 1, 1'000'000'000), ranks = read_count(given, "--ranks", world.size(), 1, 1'000'000);
  if (world.rank() != 0) return 0;   // nothing here differs between ranks

  // 1. Configuration, run folder, model with weights, loss.
  const RunConfig config = read_run_config(given.files, given.overrides);
  require_ranks_for_batch(config.train.global_batch, static_cast<int>(ranks));
  require_writable(config.train.output_dir);
  Cores cores = choose_threads(world, config.train.threads);
  if (world.size() == 1 && config.train.threads == 0) cores.threads = std::max(1, cores.bound / static_cast<int>(ranks));
  const TrainedModel model = open_model(config);
  const std::unique_ptr<Loss> loss = make_loss(config.loss, model.folder.config.embedding());
  const std::unique_ptr<Backend> backend = make_backend({.kind = "cpu", .threads = cores.threads});
  const ParamStore params = load_params(config, model.folder, *backend);

  // 2. Data: the plan, a sample of its batches, the held-out rows.
  const Corpus corpus = open_corpus(config.data.train, model.tokenizer);
  const CorpusRows rows(corpus);
  const Plan plan = make_plan(config, corpus);
  Collator collator = make_collator(config, Purpose::training, model.tokenizer, corpus);
  const LengthSample lengths = sample_lengths(plan, rows, collator, config.train.gradient_accumulation_steps, static_cast<int>(ranks));
  (void)read_heldout(config, model.tokenizer, 0, static_cast<int>(ranks));

  // 3. What it takes.
  Arena arena;
  const Exec ex{*backend, arena, Key(), config.train.precision};
  const Encoder encoder(model.folder.config, params, config.model.checkpointing);
  const int64_t count = params.layout().count();
  const MemoryEstimate memory = estimate_memory(encoder, ex, count, lengths.largest, objective_options(config.train));
  print_report(steps > 0 ? std::cerr : std::cout,
               {config, model, plan, lengths, memory, cores, count, ranks, world.size() == 1 ? ranks : world.local_size(), corpus.rows()});
  print_plan(std::cout, plan, rows, collator, config.train.gradient_accumulation_steps, 0, steps);
  return 0;
}

}  // namespace lodestone
