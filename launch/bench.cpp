// lodestone bench: a whole training step against this machine's measured ceiling, its memory, and the gradient sum, as JSON.
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <iostream>
#include <nlohmann/json.hpp>

#include "comm/reduce_bench.h"
#include "data/plan.h"
#include "launch/bench_step.h"
#include "launch/command.h"
#include "launch/options.h"

namespace lodestone {

const char* const bench_usage =
    "usage: lodestone bench [--model minilm|bert-base] [--lengths dense|real|short] [--precision bf16|f32] [--threads N]\n"
    "                       [--pairs N] [--steps N] [--chunk-tokens N] [--keep-mb N]\n"
    "       lodestone bench --memory N [the same options]\n"
    "       mpirun -np 2 lodestone bench [...]\n"
    "       mpirun -np 2 lodestone bench --all-reduce\n\n"
    "Times whole training steps (encoder, InfoNCE, gradient sum over ranks, AdamW) on random texts with random weights,\n"
    "interleaved with a plain matrix product, and prints JSON: tokens per second, floating-point rate counted on real tokens,\n"
    "share of the product's rate (the ceiling), page faults and heap allocations per step.\n"
    "  --pairs N         pairs of the global batch; ranks share them\n"
    "  --threads N       threads of each rank; default: the cores that it may use\n"
    "  --lengths dense   128 tokens a text; real: queries of 5 to 20, passages of 16 to 128 tokens; short: 4 to 8\n"
    "  --keep-mb N       activations to keep for backward; chunks beyond are computed twice (GradCache)\n"
    "  --memory N        instead: peak step memory with --pairs and with N pairs, less the bytes of vectors that must be held.\n"
    "                    Keeps no more than one chunk unless --keep-mb is given\n"
    "  --all-reduce      instead: a 64 MiB gradient reduction against one MPI_Allreduce, on at least two ranks\n";

namespace {

struct BenchCommand {
  BenchOptions options;
  int64_t memory_pairs = 0;        // 0: time steps
};

BenchCommand parse(std::span<const std::string> arguments) {
  const std::string names[] = {"--model",  "--lengths", "--precision",    "--threads", "--pairs",
                               "--steps",  "--memory",  "--chunk-tokens", "--keep-mb"};
  const Options given(arguments, "bench", names);
  BenchCommand c;
  BenchOptions& o = c.options;
  const auto one_of = [&](const char* name, std::string& value, std::initializer_list<const char*> known) {
    value = given.text(name, value);
    if (std::find(known.begin(), known.end(), value) == known.end()) given.refuse(cat(name, " '", value, "' is not known"));
  };
  one_of("--model", o.model, {"minilm", "bert-base"});
  one_of("--lengths", o.lengths, {"dense", "real", "short"});
  one_of("--precision", o.precision, {"bf16", "f32"});
  o.threads = given.integer("--threads", o.threads, 1);
  o.pairs = given.integer("--pairs", o.pairs, 2);
  o.steps = given.integer("--steps", o.steps, 1);
  o.chunk_tokens = given.integer("--chunk-tokens", o.chunk_tokens, 1);
  if (given.has("--memory")) {
    c.memory_pairs = given.integer("--memory", 0, 2);
    o.keep_mb = 0;
  }
  o.keep_mb = given.integer("--keep-mb", o.keep_mb, 0);
  if (!given.positional().empty()) given.refuse(cat("takes no file, got '", given.positional()[0], "'"));
  return c;
}

nlohmann::ordered_json setting(const BenchOptions& o, const BenchStep& bench, const World& world) {
  return {{"backend", bench.backend_description()}, {"model", o.model}, {"lengths", o.lengths}, {"precision", o.precision},
          {"ranks", world.size()}, {"threads", bench.cores().threads}, {"chunk_tokens", o.chunk_tokens}, {"keep_mb", o.keep_mb}};
}

nlohmann::ordered_json bench_speed(const BenchOptions& o, World& world) {
  BenchStep bench(world, o);
  const Batch batch = bench.batch(o.pairs);
  std::array<double, 2> work{static_cast<double>(batch.ids.size()), bench.flops(batch)};
  all_reduce(world.comm(), work, Reduce::sum);
  const auto [tokens, flops] = work;

  std::vector<double> seconds, ceilings;
  double faults = 0, allocations = 0;
  for (int64_t step = -2; step < o.steps; ++step) {   // two steps of warm-up
    ceilings.push_back(bench.ceiling_flops_per_s());
    const StepCounts counts = bench.run(batch);
    if (step < 0) continue;
    seconds.push_back(counts.seconds);
    faults += static_cast<double>(counts.page_faults);
    allocations += static_cast<double>(counts.allocations);
  }
  std::sort(seconds.begin(), seconds.end());
  std::sort(ceilings.begin(), ceilings.end());
  const double median_s = seconds[seconds.size() / 2], ceiling = ceilings[ceilings.size() / 2];
  const auto steps = static_cast<double>(o.steps);
  const StepMemory memory = bench.memory(batch);
  nlohmann::ordered_json result = setting(o, bench, world);
  result.update({{"pairs", o.pairs}, {"tokens", static_cast<int64_t>(tokens)}, {"step_s", median_s}, {"step_s_min", seconds.front()}, {"step_s_max", seconds.back()},
                 {"tokens_per_s", tokens / median_s}, {"gflops", flops / median_s / 1e9}, {"ceiling_gflops", ceiling / 1e9},
                 {"share_of_ceiling", flops / median_s / ceiling}, {"page_faults_per_step", faults / steps}, {"allocations_per_step", allocations / steps},
                 {"allocations_counted", "calls of operator new by all threads of a rank; the rank with most. Memory that libraries take with malloc is not counted"},
                 {"arena_peak_bytes", memory.peak_bytes}, {"counted_vector_bytes", memory.vectors_bytes},
                 {"arena_peak_less_counted_bytes", memory.beyond_bytes}});
  return result;
}

/// Largest resident memory of this process so far.
int64_t peak_resident_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss * 1024;
}

/// One step of each size, the smaller first, since the peak of a process only grows.
nlohmann::ordered_json bench_memory(const BenchCommand& c, World& world) {
  BenchStep bench(world, c.options);
  std::array<int64_t, 2> sizes{c.options.pairs, c.memory_pairs};
  std::sort(sizes.begin(), sizes.end());
  std::array<StepMemory, 2> peaks;
  nlohmann::ordered_json batches = nlohmann::ordered_json::array();
  for (size_t i = 0; i < sizes.size(); ++i) {
    const Batch batch = bench.batch(sizes[i]);
    bench.run(batch);
    peaks[i] = bench.memory(batch);
    batches.push_back({{"pairs", sizes[i]}, {"tokens_of_rank_0", batch.ids.size()}, {"arena_peak_bytes", peaks[i].peak_bytes},
                       {"counted_vector_bytes", peaks[i].vectors_bytes}, {"arena_peak_less_counted_bytes", peaks[i].beyond_bytes},
                       {"process_peak_bytes", peak_resident_bytes()}});
  }
  nlohmann::ordered_json result = setting(c.options, bench, world);
  result.update({{"batches", batches},
                 {"counted", "sentence vectors, their gradients, copies in other orders, and the gathered passages; of each phase of a step "
                             "what it holds. Step memory is the largest, over phases, of its peak less those bytes"},
                 {"ratio", static_cast<double>(peaks[1].beyond_bytes) / static_cast<double>(peaks[0].beyond_bytes)}});
  return result;
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

nlohmann::ordered_json measure(std::span<const std::string> arguments, World& world) {
  if (arguments.size() == 1 && arguments[0] == "--all-reduce") return bench_all_reduce(world);
  const BenchCommand c = parse(arguments);
  require_ranks_for_batch(c.memory_pairs > 0 ? std::min(c.options.pairs, c.memory_pairs) : c.options.pairs, world.size());
  return c.memory_pairs > 0 ? bench_memory(c, world) : bench_speed(c.options, world);
}

}  // namespace

int run_bench(World& world, std::span<const std::string> arguments) {
  const nlohmann::ordered_json result = measure(arguments, world);
  if (world.rank() == 0) std::cout << result.dump(2) << '\n';
  return 0;
}

}  // namespace lodestone
