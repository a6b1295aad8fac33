#include "launch/bench/bench_ceilings.h"

#include <algorithm>
#include <functional>

#include "launch/console/log.h"

namespace lodestone {

namespace {

using Json = nlohmann::ordered_json;

/// Of one call: the fastest of five rounds of ten calls each, after one round that counts for nothing.
double fastest_s(Backend& backend, const std::function<void()>& call) {
  constexpr int rounds = 6, calls = 10;
  double fastest = 1e30;
  for (int round = 0; round < rounds; ++round) {
    backend.synchronize();
    const double start_s = now_s();
    for (int i = 0; i < calls; ++i) call();
    backend.synchronize();
    if (round > 0) fastest = std::min(fastest, (now_s() - start_s) / calls);
  }
  return fastest;
}

/// n values in [-0.5, 0.5): a processor that multiplies zeros takes less power, and is faster than with any real matrix.
std::vector<float> random_values(int64_t n) {
  const Key key = Key(1).with("bench ceilings");
  std::vector<float> values(static_cast<size_t>(n));
  uint64_t i = 0;
  for (float& x : values) x = static_cast<float>(key.uniform(i++) - 0.5);
  return values;
}

Json product(Backend& backend, Arena& arena, ConstTensor values, DType dtype) {
  const auto scope = arena.scope();
  const Tensor a = arena.tensor(dtype, values.shape()), b = arena.tensor(dtype, values.shape()), c = arena.tensor(dtype, values.shape());
  backend.cast(values, a);
  backend.cast(values, b);
  const double seconds = fastest_s(backend, [&] { backend.gemm(Op::none, a, Op::transpose, b, 1, 0, c); });
  const auto edge = static_cast<double>(values.shape()[0]);
  return {{"precision", name_of(dtype)}, {"product_s", seconds}, {"tflops", 2 * edge * edge * edge / seconds / 1e12}};
}

/// `moved`: bytes that are read or written there in one call.
Json copies(Backend& backend, const char* way, size_t moved, const std::function<void()>& call) {
  const double seconds = fastest_s(backend, call);
  return {{"way", way}, {"bytes", moved}, {"copy_s", seconds}, {"gb_per_s", static_cast<double>(moved) / seconds / 1e9}};
}

}  // namespace

Json bench_ceilings(const BenchOptions& options, int64_t edge, World& world) {
  if (world.size() > 1)
    throw Error(ExitCode::usage, "usage", "bench --ceilings measures one device, for one rank", "start it without mpirun");
  const std::unique_ptr<Backend> backend =
      make_backend({.kind = options.backend, .threads = choose_threads(world, options.threads).threads});
  Arena arena(backend->memory());
  std::vector<float> host = random_values(edge * edge);
  const Tensor values = arena.tensor(DType::f32, {edge, edge}), other = arena.tensor(DType::f32, {edge, edge});
  const Tensor on_host = view(std::span(host)).reshape({edge, edge});
  backend->upload(on_host, values);
  const size_t size = values.size_bytes();
  return {{"backend", backend->description()},
          {"edge", edge},
          {"products", {product(*backend, arena, values, DType::bf16), product(*backend, arena, values, DType::f32)}},
          {"copies",
           {copies(*backend, "on the device, read and written", 2 * size, [&] { backend->copy(values, other); }),
            copies(*backend, "from the host, through pinned staging", size, [&] { backend->upload(on_host, other); }),
            copies(*backend, "to the host, through pinned staging", size, [&] { backend->download(values, on_host); })}}};
}

}  // namespace lodestone
