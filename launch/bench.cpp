// lodestone bench: a whole training step against this machine's measured ceiling, as JSON.
#include <sys/resource.h>

#include <algorithm>
#include <iostream>
#include <nlohmann/json.hpp>

#include "comm/reduce_bench.h"
#include "core/optim/adamw.h"
#include "launch/command.h"
#include "launch/cores.h"
#include "launch/log.h"
#include "launch/options.h"
#include "losses/embedding_objective.h"

namespace lodestone {

const char* const bench_usage =
    "usage: lodestone bench [--model minilm|bert-base] [--lengths dense|real] [--precision bf16|f32] [--threads N]\n"
    "                       [--pairs N] [--steps N] [--chunk-tokens N] [--keep-mb N]\n"
    "       mpirun -np 2 lodestone bench --all-reduce\n\n"
    "Times whole training steps (encoder, InfoNCE, AdamW) on random texts with random weights, interleaved with a plain matrix\n"
    "product, and prints JSON: tokens per second, floating-point rate counted on real tokens, share of the product's rate (the\n"
    "ceiling), page faults per step, and peak step memory beside the bytes that must be held.\n"
    "  --lengths dense   128 tokens a text; real: queries of 5 to 20, passages of 16 to 128 tokens\n"
    "  --all-reduce      a 64 MiB gradient reduction against one MPI_Allreduce, on at least two ranks\n";

namespace {

struct BenchOptions {
  std::string model = "minilm", lengths = "dense", precision = "bf16";
  int64_t threads = 0, pairs = 32, steps = 5, chunk_tokens = 1024, keep_mb = 4096;
};

BenchOptions parse(std::span<const std::string> arguments) {
  const std::string names[] = {"--model", "--lengths", "--precision", "--threads", "--pairs", "--steps", "--chunk-tokens", "--keep-mb"};
  const Options given(arguments, "bench", names);
  BenchOptions o;
  const auto one_of = [&](const char* name, std::string& value, std::initializer_list<const char*> known) {
    value = given.text(name, value);
    if (std::find(known.begin(), known.end(), value) == known.end()) given.refuse(cat(name, " '", value, "' is not known"));
  };
  one_of("--model", o.model, {"minilm", "bert-base"});
  one_of("--lengths", o.lengths, {"dense", "real"});
  one_of("--precision", o.precision, {"bf16", "f32"});
  o.threads = given.integer("--threads", o.threads, 1);
  o.pairs = given.integer("--pairs", o.pairs, 2);
  o.steps = given.integer("--steps", o.steps, 1);
  o.chunk_tokens = given.integer("--chunk-tokens", o.chunk_tokens, 1);
  o.keep_mb = given.integer("--keep-mb", o.keep_mb, 0);
  if (!given.positional().empty()) given.refuse(cat("takes no file, got '", given.positional()[0], "'"));
  return o;
}

EmbedderConfig shape_of(const std::string& model) {
  if (model == "minilm") return {};   // EncoderConfig's defaults: 6 layers of 384
  EmbedderConfig c;
  c.encoder = {.vocab = 30522, .hidden = 768, .layers = 12, .heads = 12, .feed_forward = 3072};
  return c;
}

/// Random ids; lengths from a fixed seed, so that every run and every peer has the same ones.
Batch random_batch(const BenchOptions& o) {
  const Key key = Key(1).with("bench lengths");
  Batch b;
  b.queries = b.global_queries = o.pairs;
  b.rank_queries = {o.pairs};
  for (int64_t t = 0; t < 2 * o.pairs; ++t) {
    const bool query = t < o.pairs;
    const double u = key.uniform(static_cast<uint64_t>(t));
    const int64_t length = o.lengths == "dense" ? 128 : query ? 5 + static_cast<int64_t>(16 * u) : 16 + static_cast<int64_t>(113 * u);
    for (int64_t i = 0; i < length; ++i)
      b.ids.push_back(static_cast<int32_t>(1000 + key.with("ids").bits(static_cast<uint64_t>(t * 512 + i)) % 29000));
    b.offsets.push_back(static_cast<int64_t>(b.ids.size()));
    b.keys.push_back(text_key(static_cast<uint64_t>(t), query ? Role::query : Role::positive, 0, static_cast<uint64_t>(t)));
    (query ? b.query_hash : b.passage_hash).push_back(static_cast<uint64_t>(t));
  }
  return b;
}

/// Forward and backward: 6 flops per product weight and token, 12 L T H for attention (no recomputation, no padding).
double step_flops(const EncoderConfig& e, const Batch& b) {
  const double per_token = 6.0 * static_cast<double>(e.layers * (4 * e.hidden * e.hidden + 2 * e.hidden * e.feed_forward));
  double flops = 0;
  for (size_t t = 0; t + 1 < b.offsets.size(); ++t) {
    const auto length = static_cast<double>(b.offsets[t + 1] - b.offsets[t]);
    flops += length * (per_token + 12.0 * static_cast<double>(e.layers * e.hidden) * length);
  }
  return flops;
}

/// Best rate of a large product in the compute dtype: the ceiling.
double product_flops_per_s(Exec& ex, int64_t hidden, int64_t feed_forward) {
  const auto scope = ex.arena.scope();
  const int64_t rows = 1024;
  const Tensor x = ex.arena.tensor(ex.compute, {rows, hidden}), w = ex.arena.tensor(ex.compute, {feed_forward, hidden}),
               y = ex.arena.tensor(ex.compute, {rows, feed_forward}), bias = ex.arena.tensor(ex.wide(), {feed_forward});
  for (const Tensor& t : {x, w, bias}) ex.backend.fill_zero(t);
  double best_s = 1e30;
  for (int i = 0; i < 12; ++i) {
    const double start = now_s();
    ex.backend.linear(x, w, bias, y);
    if (i > 1) best_s = std::min(best_s, now_s() - start);
  }
  return 2.0 * static_cast<double>(rows * hidden * feed_forward) / best_s;
}

int64_t page_faults() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_minflt + usage.ru_majflt;
}

nlohmann::ordered_json bench_step(const BenchOptions& o, const World& world) {
  const EmbedderConfig config = shape_of(o.model);
  const Cores cores = choose_threads(world, o.threads);
  const auto backend = make_backend({.kind = "cpu", .threads = cores.threads});
  Arena arena;
  Exec ex{*backend, arena, Key(1), o.precision == "bf16" ? DType::bf16 : DType::f32};
  ParamStore params(embedder_layout(config), ex.compute);
  initialize_parameters(config, params, 1);
  params.refresh(*backend);
  const Buffer memory(static_cast<size_t>(params.layout().count()) * sizeof(float));
  const Tensor grads = memory.tensor(DType::f32, {params.layout().count()});
  const Encoder encoder(config, params);
  const auto loss = make_loss({}, config.embedding());
  const auto self = make_self_comm();
  EmbeddingObjective objective(encoder, *loss, *self, {.chunk_tokens = o.chunk_tokens, .keep_activations_bytes = static_cast<size_t>(o.keep_mb) << 20});
  AdamW optimizer({}, params.layout(), DType::f32);
  const Batch batch = random_batch(o);

  std::vector<double> seconds, ceilings;
  int64_t faults = 0;
  for (int64_t step = -2; step < o.steps; ++step) {   // two steps of warm-up
    ceilings.push_back(product_flops_per_s(ex, config.encoder.hidden, config.encoder.feed_forward));
    const int64_t faults_before = page_faults();
    const double start = now_s();
    backend->fill_zero(grads);
    objective.accumulate(ex.with(ex.key.with(static_cast<uint64_t>(step))), batch, 1, grads, {});
    optimizer.step(ex, 1e-5, 1, grads, params);
    if (step < 0) continue;
    seconds.push_back(now_s() - start);
    faults += page_faults() - faults_before;
  }
  std::sort(seconds.begin(), seconds.end());
  std::sort(ceilings.begin(), ceilings.end());
  const double median_s = seconds[seconds.size() / 2], ceiling = ceilings[ceilings.size() / 2], flops = step_flops(config.encoder, batch);
  const auto tokens = static_cast<double>(batch.ids.size());
  const double counted = 4.0 * static_cast<double>(2 * o.pairs * config.embedding()) * sizeof(float) + tokens * (sizeof(int32_t) + 16);
  return {{"backend", backend->description()}, {"model", o.model}, {"lengths", o.lengths}, {"precision", o.precision}, {"threads", cores.threads},
          {"pairs", o.pairs}, {"tokens", batch.ids.size()}, {"step_s", median_s}, {"step_s_min", seconds.front()}, {"step_s_max", seconds.back()},
          {"tokens_per_s", tokens / median_s}, {"gflops", flops / median_s / 1e9}, {"ceiling_gflops", ceiling / 1e9},
          {"share_of_ceiling", flops / median_s / ceiling}, {"page_faults_per_step", static_cast<double>(faults) / static_cast<double>(o.steps)},
          {"arena_peak_bytes", arena.peak_bytes()}, {"counted_batch_bytes", counted},
          {"arena_peak_less_counted_bytes", static_cast<double>(arena.peak_bytes()) - counted}};
}

/// 64 MiB of f32 gradient: one MPI_Allreduce against ours, in pieces of several sizes.
nlohmann::ordered_json bench_all_reduce(World& world) {
  if (world.size() < 2) throw Error(ExitCode::usage, "usage", "bench --all-reduce needs at least two ranks", "mpirun -np 2 lodestone bench --all-reduce");
  constexpr int64_t pieces[] = {int64_t{1} << 18, int64_t{1} << 19, int64_t{1} << 20};
  const ReduceBench bench = measure_reduce(world.comm(), int64_t{64} << 20, 15, pieces);
  nlohmann::ordered_json ways = nlohmann::ordered_json::array();
  for (const ReduceTiming& w : bench.ways)
    ways.push_back({{"way", w.name}, {"median_s", w.median_s}, {"fastest_s", w.fastest_s}, {"slowest_s", w.slowest_s}, {"bus_gb_s", w.bus_gb_s},
                    {"times_one_all_reduce", bench.ways.front().median_s / w.median_s}});
  return {{"ranks", bench.ranks}, {"bytes", bench.bytes}, {"ways", ways}};
}

}  // namespace

int run_bench(World& world, std::span<const std::string> arguments) {
  if (arguments.size() == 1 && arguments[0] == "--all-reduce") {
    const nlohmann::ordered_json result = bench_all_reduce(world);
    if (world.rank() == 0) std::cout << result.dump(2) << '\n';
    return 0;
  }
  const nlohmann::ordered_json result = bench_step(parse(arguments), world);
  if (world.rank() == 0) std::cout << result.dump(2) << '\n';
  return 0;
}

}  // namespace lodestone
