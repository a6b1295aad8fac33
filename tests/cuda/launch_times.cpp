// How long does the host take to enqueue a chunk of BERT-base, beside what a GPU would take at least? On doubles that do nothing, so
// without the time that a driver takes for each launch.   cuda_launch_times [REPEATS]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "tests/cuda/bert_chunk.h"
#include "tests/cuda/doubles/counts.h"
#include "tests/cuda/doubles/streams.h"

namespace lodestone::test {
namespace {

constexpr double h200_bf16_flops_per_s = 788e12;  // a large product, as others have measured it

double milliseconds_of(BertChunk& chunk, int repeats) {
  double best = 1e30;
  for (int i = 0; i < repeats; ++i) {
    const auto start = std::chrono::steady_clock::now();
    chunk.run();
    best = std::min(best, std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count());
  }
  return best;
}

/// Six FLOPs for each weight of a product and token; attention's own come on top.
double floor_milliseconds(int64_t layers, double tokens) {
  const double weights = static_cast<double>(layers) * (4.0 * 768 * 768 + 2.0 * 768 * 3072);
  return 6 * weights * tokens / h200_bf16_flops_per_s * 1e3;
}

void report(int repeats) {
  doubles::set_execution(doubles::Execution::dropped);
  std::printf("%8s %10s %10s %12s %12s %16s %18s %16s\n", "tokens", "launches", "uploads", "bytes", "host ms", "host us/launch",
              "with graphs ms", "H200 floor ms");
  for (const int64_t texts : {8, 32, 64, 128}) {
    constexpr int64_t layers = 12;
    BertChunk chunk(layers, texts);
    chunk.run();  // algorithms are chosen
    doubles::counts() = {};
    chunk.run();
    const doubles::Counts counts = doubles::counts();
    const double ms = milliseconds_of(chunk, repeats);
    const auto launches = static_cast<double>(counts.launches());
    BertChunk graphs(layers, texts, Launches::graphs);
    for (int i = 0; i < 2; ++i) graphs.run();  // enqueued, recorded
    std::printf("%8ld %10ld %10ld %12ld %12.3f %16.3f %18.3f %16.3f\n", static_cast<long>(texts * 128),
                static_cast<long>(counts.launches()), static_cast<long>(counts.uploads), static_cast<long>(counts.uploaded_bytes), ms,
                1e3 * ms / launches, milliseconds_of(graphs, repeats), floor_milliseconds(layers, static_cast<double>(texts * 128)));
  }
}

}  // namespace
}  // namespace lodestone::test

int main(int argc, char** argv) { lodestone::test::report(argc > 1 ? std::atoi(argv[1]) : 50); }
