// lodestone bench: a whole training step against this machine's measured ceiling, what grows with the batch, what each loss takes,
// and the gradient sum, as JSON.
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <iostream>
#include <nlohmann/json.hpp>

#include "comm/reduce_bench.h"
#include "data/plan/plan.h"
#include "launch/bench/bench_ceilings.h"
#include "launch/bench/bench_device.h"
#include "launch/bench/bench_operations.h"
#include "launch/bench/bench_prediction.h"
#include "launch/bench/bench_shares.h"
#include "launch/command.h"
#include "launch/config/config.h"
#include "launch/config/options.h"

namespace lodestone {

namespace {

/// "info_nce: 1" and the like, one a line, where the options' texts stand.
std::string list_losses() {
  std::string lines;
  for (const BenchLoss& l : bench_losses())
    lines += cat("                    ", l.name, ": ", l.group, l.about.empty() ? "" : ", ", l.about, "\n");
  return lines;
}

std::string list_gpus() {
  std::string names;
  for (const GpuCeilings& gpu : gpu_ceilings()) names += cat(names.empty() ? "" : ", ", gpu.name);
  return names;
}

}  // namespace

std::string bench_usage() {
  return cat(
      "usage: lodestone bench [--model minilm|bert-base|bert-large] [--lengths dense|real|short|N] [--precision bf16|f32] [--device NAME]\n"
      "                       [--threads N] [--loss NAME] [--group N] [--pairs N] [--steps N] [--chunk-tokens N] [--keep-mb N]\n"
      "                       [--dropout 0.1|0] [--ceiling-edge N] [--cuda-graphs true|false]\n"
      "       lodestone bench --memory N [the same options]\n"
      "       lodestone bench --losses N [the same options]\n"
      "       lodestone bench --ceilings N [--device NAME] [--threads N]\n"
      "       lodestone bench --operations N [--model M] [--precision P] [--device NAME] [--threads N] [--pairs N] [--steps N] "
      "[--ceiling-edge N]\n"
      "       lodestone bench --model-gpu NAME [--ranks W] [--json] [the options of a step]\n"
      "       lodestone bench --model-gpu NAME [--ranks W] [--json] [--cuda-graphs true] CONFIG.yaml [MORE.yaml ...] [key.path=value ...]\n"
      "       mpirun -np 2 lodestone bench [...]\n"
      "       mpirun -np 2 lodestone bench --all-reduce\n\n"
      "Times whole training steps (encoder, loss, gradient sum over ranks, AdamW) on random texts with random weights,\n"
      "interleaved with a plain matrix product, and prints JSON: tokens and pairs per second, floating-point rate counted on real\n"
      "tokens (no padding, no second forward), share of the product's rate (the ceiling), page faults and heap allocations per step, and "
      "what it takes to compare\n"
      "program and weights of all ranks at a start, and their replicas every train.replica_check_every steps.\n"
      "  --pairs N         pairs of the global batch; ranks share them\n"
      "  --device NAME     where to compute: auto (the CPU), cpu or cuda; default: auto\n"
      "  --threads N       threads of each rank; default: the cores that it may use\n"
      "  --lengths dense   128 tokens a text; real: queries of 5 to 20, passages of 16 to 128; short: 4 to 8; a number: so many\n"
      "  --group N         passages per query; default: the number behind the loss\n"
      "  --dropout 0.1|0   of hidden states and attention; default: 0.1. With 0 cuDNN computes attention where it is there\n"
      "  --cuda-graphs B   true: chunks are filled up to few shapes, and what a GPU is told for each is launched whole when it comes "
      "again\n"
      "  --ceiling-edge N  a product of two random N x N matrices before and after the steps, and the share of it that they make, unless\n"
      "                    the two differ by more than 5 %; beside it, the part of a step in which a GPU waits for the host. Default: "
      "8192\n"
      "                    with --device cuda; on the CPU none, and 1024 with --operations\n"
      "  --loss NAME       each with its default settings:\n",
      list_losses(),
      "  --keep-mb N       activations to keep for backward; chunks beyond are computed twice (GradCache)\n"
      "  --memory N        instead: steps of --pairs and of N pairs: peak step memory less the bytes of vectors that must be held,\n"
      "                    and the time for a pair, whole and in parts. The larger step runs once, between --steps of the smaller\n"
      "                    before and after. Keeps no more than one chunk unless --keep-mb is given\n"
      "  --losses N        instead: value and gradient of --loss, or of every loss, on N queries' random vectors, and its share of a\n"
      "                    step. The encoder is timed on --pairs pairs, or as many texts in groups, and scaled to N; keeps no more\n"
      "                    than one chunk unless --keep-mb is given\n"
      "  --ceilings N      instead: what the device does at most: products of two matrices of N x N in bf16 and f32, and copies of one\n"
      "  --operations N    instead, on one rank: attention over N tokens in texts of 16 to 512, by own kernels and by cuDNN; AdamW of "
      "--model\n"
      "                    beside copies; tiles of the scores of --pairs queries and passages beside large products. --steps rounds each\n"
      "  --model-gpu NAME  instead: what a step would take on a GPU that need not be there (",
      list_gpus(),
      "), PREDICTED: its FLOPs, bytes and\n"
      "                    launches are counted by the step itself, and what bounds them is said. Of a configuration every task, its "
      "texts\n"
      "                    as long as they may be, and ranks default to published.devices; needs neither data nor weights\n"
      "  --all-reduce      instead: a 64 MiB gradient reduction against one MPI_Allreduce, on at least two ranks\n");
}

namespace {

enum class BenchMode : uint8_t { speed, memory, losses, ceilings, operations };

struct BenchCommand {
  BenchOptions options;
  BenchMode mode = BenchMode::speed;
  int64_t many = 0;                                    // pairs of the larger batch, queries of the losses, rows of a matrix, or tokens
  std::span<const BenchLoss> losses = bench_losses();  // to be timed
};

BenchCommand parse(std::span<const std::string> arguments) {
  std::vector<std::string> names{"--device", "--threads",  "--steps",      "--memory",
                                 "--losses", "--ceilings", "--operations", "--ceiling-edge"};
  names.insert(names.end(), step_option_names().begin(), step_option_names().end());
  const Options given(arguments, "bench", names);
  BenchCommand c{.options = read_step_options(given)};
  BenchOptions& o = c.options;
  o.backend = backend_for(given.choice("--device", DeviceChoice::automatic));
  o.threads = given.integer("--threads", o.threads, 1);
  o.steps = given.integer("--steps", o.steps, 1);
  for (const auto& [name, mode] : {std::pair{"--memory", BenchMode::memory},
                                   {"--losses", BenchMode::losses},
                                   {"--ceilings", BenchMode::ceilings},
                                   {"--operations", BenchMode::operations}}) {
    if (!given.has(name)) continue;
    if (c.mode != BenchMode::speed) given.refuse("takes one of --memory, --losses, --ceilings and --operations");
    c.mode = mode;
    c.many = given.integer(name, 0, mode == BenchMode::operations ? 16 : 2);  // the shortest text of those
    if (!given.has("--keep-mb")) o.keep_mb = 0;
  }
  const int64_t edge = o.backend == BackendKind::cuda ? 8192 : 1024;
  if (given.has("--ceiling-edge") || c.mode == BenchMode::operations || (c.mode == BenchMode::speed && o.backend == BackendKind::cuda))
    o.ceiling_edge = given.integer("--ceiling-edge", edge, 2);
  if (given.has("--loss")) c.losses = {&bench_loss(o.loss), 1};
  if (c.mode == BenchMode::losses && given.has("--group")) given.refuse("--losses has a group size for each loss: --group is not for it");
  if (!given.positional().empty()) given.refuse(cat("takes no file, got '", given.positional()[0], "'"));
  return c;
}

nlohmann::ordered_json setting(const BenchOptions& o, const BenchStep& bench, const World& world) {
  return {{"backend", bench.backend_description()},
          {"model", o.model},
          {"lengths", o.lengths},
          {"precision", o.precision},
          {"loss", o.loss},
          {"passages_per_query", o.group},
          {"ranks", world.size()},
          {"threads", bench.cores().threads},
          {"chunk_tokens", o.chunk_tokens},
          {"keep_mb", o.keep_mb},
          {"dropout", o.dropout},
          {"cuda_graphs", o.launches == Launches::graphs}};
}

/// How many of these texts of all ranks have how many tokens, in rising order: "5:31 6:30".
std::string lengths_of(const Batch& batch, Slice texts, World& world) {
  std::array<double, 513> count{};
  for (int64_t t = texts.begin; t < texts.end; ++t) ++count.at(static_cast<size_t>(batch.tokens().length(t)));
  all_reduce(world.comm(), count, Reduce::sum);
  std::string said;
  for (size_t length = 0; length < count.size(); ++length)
    if (count[length] > 0) said += cat(said.empty() ? "" : " ", length, ':', count[length]);
  return said;
}

nlohmann::ordered_json bench_speed(const BenchOptions& o, World& world) {
  BenchStep bench(world, o);
  BenchDevice device(bench, world);
  const Batch batch = bench.batch(o.pairs, o.group);
  std::array<double, 2> work{static_cast<double>(batch.ids.size()), bench.flops(batch)};
  all_reduce(world.comm(), work, Reduce::sum);
  const auto [tokens, flops] = work;

  std::vector<double> seconds, ceilings;
  double faults = 0, allocations = 0;
  StepMemory memory;
  for (int64_t step = -2; step < o.steps; ++step) {  // two steps of warm-up
    ceilings.push_back(bench.ceiling_flops_per_s());
    const StepCounts counts = bench.run(batch, Watch::whole);
    memory = bench.memory();
    if (step < 0) continue;
    device.queue(batch, counts);
    seconds.push_back(counts.whole.wall);
    faults += static_cast<double>(counts.page_faults);
    allocations += static_cast<double>(counts.allocations);
  }
  const double median_s = median(seconds), ceiling = median(ceilings);
  const CompareTimes compared = bench.compare();
  const auto check_every = static_cast<double>(TrainConfig{}.replica_check_every);
  const auto steps = static_cast<double>(o.steps);
  nlohmann::ordered_json result = setting(o, bench, world);
  result.update(
      {{"pairs", o.pairs},
       {"tokens", static_cast<int64_t>(tokens)},
       {"lengths_of_queries", lengths_of(batch, Slice{0, batch.queries}, world)},
       {"lengths_of_passages", lengths_of(batch, Slice{batch.queries, batch.tokens().texts()}, world)},
       {"step_s", median_s},
       {"step_s_min", *std::min_element(seconds.begin(), seconds.end())},
       {"step_s_max", *std::max_element(seconds.begin(), seconds.end())},
       {"tokens_per_s", tokens / median_s},
       {"pairs_per_s", static_cast<double>(o.pairs) / median_s},
       {"gflops", flops / median_s / 1e9},
       {"ceiling_gflops", ceiling / 1e9},
       {"share_of_ceiling", flops / median_s / ceiling},
       {"chunks", bench.chunks().all},
       {"chunks_kept", bench.chunks().kept},
       {"page_faults_per_step", faults / steps},
       {"allocations_per_step", allocations / steps},
       {"allocations_counted",
        "calls of operator new by all threads of a rank; the rank with most. Memory that libraries take with malloc is not counted"},
       {"start_comparison_s", compared.start_s},
       {"replica_check_s", compared.replicas_s},
       {"replica_check_share", compared.replicas_s / check_every / median_s},
       {"arena_peak_bytes", memory.peak_bytes},
       {"counted_vector_bytes", memory.vectors_bytes},
       {"arena_peak_less_counted_bytes", memory.beyond_bytes}});
  if (nlohmann::ordered_json beside = prediction_beside(o, world.size(), bench.backend_description(), median_s); !beside.is_null())
    result["prediction"] = std::move(beside);
  result.update(device.report(flops, median_s));
  return result;
}

/// Largest resident memory of this process so far.
int64_t peak_resident_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss * 1024;
}

/// Steps of one size, each divided by its pairs.
struct PairTimes {
  std::vector<Seconds> whole, encoder, loss, update;

  void add(const StepCounts& counts, int64_t pairs) {
    const double share = 1 / static_cast<double>(pairs);
    whole.push_back(counts.whole * share);
    encoder.push_back(counts.encoder() * share);
    loss.push_back(counts.loss * share);
    update.push_back(counts.update * share);
  }
  nlohmann::ordered_json medians(double Seconds::*clock) const {
    return {{"whole", median(whole, clock)},
            {"encoder", median(encoder, clock)},
            {"loss", median(loss, clock)},
            {"update", median(update, clock)}};
  }
};

/// How much longer a pair takes in the larger of two batches.
nlohmann::ordered_json ratios(const std::array<PairTimes, 2>& times, double Seconds::*clock) {
  return {{"whole", median(times[1].whole, clock) / median(times[0].whole, clock)},
          {"encoder", median(times[1].encoder, clock) / median(times[0].encoder, clock)}};
}

/// Steps of two sizes. The smaller runs first, since the peak of a process only grows, and again after the larger one, so that a
/// machine that changes its speed shows.
nlohmann::ordered_json bench_memory(const BenchCommand& c, World& world) {
  const BenchOptions& o = c.options;
  BenchStep bench(world, o);
  const std::array<int64_t, 2> sizes{std::min(o.pairs, c.many), std::max(o.pairs, c.many)};
  const std::array<Batch, 2> batches{bench.batch(sizes[0], o.group), bench.batch(sizes[1], o.group)};
  std::array<StepMemory, 2> peaks;
  std::array<ChunkCounts, 2> chunks;
  std::array<int64_t, 2> resident{};
  std::array<PairTimes, 2> times;
  const auto measure = [&](size_t i, int64_t steps) {
    for (int64_t step = 0; step < steps; ++step) times[i].add(bench.run(batches[i]), sizes[i]);
    peaks[i] = bench.memory();
    chunks[i] = bench.chunks();
    resident[i] = std::max(resident[i], peak_resident_bytes());
  };
  bench.run(batches[0]);
  measure(0, 1);
  const int64_t resident_before = resident[0];
  bench.touch(bench.step_bytes(batches[1]));
  measure(0, o.steps);
  measure(1, 1);
  measure(0, o.steps);
  resident[0] = resident_before;

  nlohmann::ordered_json sized = nlohmann::ordered_json::array();
  for (size_t i = 0; i < sizes.size(); ++i) {
    sized.push_back({{"pairs", sizes[i]},
                     {"tokens_of_rank_0", batches[i].ids.size()},
                     {"chunks", chunks[i].all},
                     {"chunks_kept", chunks[i].kept},
                     {"arena_peak_bytes", peaks[i].peak_bytes},
                     {"counted_vector_bytes", peaks[i].vectors_bytes},
                     {"arena_peak_less_counted_bytes", peaks[i].beyond_bytes},
                     {"process_peak_bytes", resident[i]},
                     {"steps", times[i].whole.size()},
                     {"s_per_pair", times[i].medians(&Seconds::wall)},
                     {"processor_s_per_pair", times[i].medians(&Seconds::processor)}});
  }
  nlohmann::ordered_json result = setting(o, bench, world);
  result.update({{"batches", sized},
                 {"counted",
                  "sentence vectors, their gradients, copies in other orders, and what the loss gathers, as they stand at the peak of a "
                  "step. Step memory is the most that is in use beside them at any time"},
                 {"ratio", static_cast<double>(peaks[1].beyond_bytes) / static_cast<double>(peaks[0].beyond_bytes)},
                 {"time_per_pair_ratio", ratios(times, &Seconds::wall)},
                 {"processor_time_per_pair_ratio", ratios(times, &Seconds::processor)}});
  return result;
}

nlohmann::ordered_json bench_each_loss(const BenchCommand& c, World& world) {
  BenchStep bench(world, c.options);
  nlohmann::ordered_json result = setting(c.options, bench, world);
  result.erase("loss");
  result.erase("passages_per_query");
  result.update({{"queries", c.many},
                 {"losses", bench_shares(bench, c.options, c.losses, c.many, world)},
                 {"encoder", "forward twice and backward, measured on queries_encoded queries with their passages and scaled to all"},
                 {"share", "loss / (loss + encoder)"}});
  return result;
}

/// 64 MiB of f32 gradient: one MPI_Allreduce against ours, in pieces of several sizes.
nlohmann::ordered_json bench_all_reduce(World& world) {
  if (world.size() < 2)
    throw Error(ExitCode::usage, "usage", "bench --all-reduce needs at least two ranks", "mpirun -np 2 lodestone bench --all-reduce");
  constexpr int64_t pieces[] = {int64_t{1} << 18, int64_t{1} << 19, int64_t{1} << 20};
  const std::unique_ptr<Backend> backend = make_backend({.kind = BackendKind::cpu});
  const ReduceBench bench = measure_reduce(world.comm(), *backend, int64_t{64} << 20, 15, pieces);
  nlohmann::ordered_json ways = nlohmann::ordered_json::array();
  for (const ReduceTiming& w : bench.ways)
    ways.push_back({{"way", w.name},
                    {"median_s", w.median_s},
                    {"fastest_s", w.fastest_s},
                    {"slowest_s", w.slowest_s},
                    {"bus_gb_s", w.bus_gb_s},
                    {"times_one_all_reduce", bench.ways.front().median_s / w.median_s}});
  return {{"ranks", bench.ranks}, {"bytes", bench.bytes}, {"ways", ways}};
}

nlohmann::ordered_json measure(std::span<const std::string> arguments, World& world) {
  if (arguments.size() == 1 && arguments[0] == "--all-reduce") return bench_all_reduce(world);
  const BenchCommand c = parse(arguments);
  if (c.mode != BenchMode::ceilings && c.mode != BenchMode::operations)
    require_ranks_for_batch(c.mode == BenchMode::speed ? c.options.pairs : std::min(c.options.pairs, c.many), world.size());
  switch (c.mode) {
    case BenchMode::memory:
      return bench_memory(c, world);
    case BenchMode::losses:
      return bench_each_loss(c, world);
    case BenchMode::ceilings:
      return bench_ceilings(c.options, c.many, world);
    case BenchMode::operations:
      return bench_operations(c.options, c.many, world);
    case BenchMode::speed:
      return bench_speed(c.options, world);
  }
  throw_internal(__FILE__, __LINE__, "mode", "no such way to measure");
}

}  // namespace

int run_bench(World& world, std::span<const std::string> arguments) {
  if (asks_for_prediction(arguments)) {
    if (world.rank() == 0) print_predictions(arguments, std::cout);
    return 0;
  }
  const nlohmann::ordered_json result = measure(arguments, world);
  if (world.rank() == 0) std::cout << result.dump(2) << '\n';
  return 0;
}

}  // namespace lodestone
