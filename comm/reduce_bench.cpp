#include "comm/reduce_bench.h"

#include <algorithm>
#include <chrono>
#include <functional>
#include <memory>

#include "comm/grad_sync.h"
#include "core/buffer.h"

namespace lodestone {

namespace {

struct Way {
  std::string name;
  std::function<void(Tensor)> run;
  std::vector<double> times_s;
};

ReduceTiming summarize(const Way& way, int ranks, int64_t bytes) {
  std::vector<double> t = way.times_s;
  std::sort(t.begin(), t.end());
  const double median = t[t.size() / 2];
  const double moved = 2.0 * (ranks - 1) / ranks * static_cast<double>(bytes);
  return {way.name, median, t.front(), t.back(), moved / median * 1e-9};
}

}  // namespace

ReduceBench measure_reduce(Communicator& comm, Backend& backend, int64_t bytes, int repeats, std::span<const int64_t> piece_bytes) {
  ReduceBench result{.ranks = comm.size(), .bytes = bytes, .ways = {}};
  if (comm.size() == 1) return result;
  const int64_t count = bytes / static_cast<int64_t>(sizeof(float));
  const Buffer memory(backend.memory(), static_cast<size_t>(bytes));
  const Tensor values = memory.tensor(DType::f32, {count});

  std::vector<std::unique_ptr<GradSync>> syncs;
  std::vector<Way> ways;
  ways.push_back({"one whole all-reduce", [&comm](Tensor t) { comm.all_reduce(t, t, Reduce::sum).wait(); }, {}});
  for (const int64_t piece : piece_bytes)
    for (const GradSync::Route route : {GradSync::Route::communicator, GradSync::Route::automatic}) {
      syncs.push_back(
          std::make_unique<GradSync>(comm, backend, count, DType::f32, GradSync::Options{.piece_bytes = piece, .route = route}));
      GradSync* const sync = syncs.back().get();
      if (route == GradSync::Route::automatic && std::string(sync->route_name()) == "communicator") continue;  // measured already
      ways.push_back({cat("pieces of ", piece >> 10, " KiB through ", sync->route_name()), [sync](Tensor t) { sync->finish(t); }, {}});
    }

  for (int repeat = -1; repeat < repeats; ++repeat)  // the first round warms up
    for (Way& way : ways) {
      comm.barrier();
      const auto start = std::chrono::steady_clock::now();
      way.run(values);
      double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
      all_reduce(comm, std::span<double>(&seconds, 1), Reduce::max);
      if (repeat >= 0) way.times_s.push_back(seconds);
    }
  for (const Way& way : ways) result.ways.push_back(summarize(way, comm.size(), bytes));
  return result;
}

}  // namespace lodestone
