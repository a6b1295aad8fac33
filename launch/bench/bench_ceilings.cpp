#include "launch/bench/bench_ceilings.h"

#include <cmath>

#include "launch/bench/bench_product.h"
#include "launch/bench/bench_timing.h"

namespace lodestone {

namespace {

using Json = nlohmann::ordered_json;

Json product(Backend& backend, int64_t edge, DType dtype) {
  const double rate = LargeProduct(backend, edge, dtype).flops_per_s();
  return {{"precision", name_of(dtype)}, {"product_s", 2 * std::pow(static_cast<double>(edge), 3) / rate}, {"tflops", rate / 1e12}};
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
  const Json products{product(*backend, edge, DType::bf16), product(*backend, edge, DType::f32)};
  Arena arena(backend->memory());  // behind them: on a GPU it takes what there is
  std::vector<float> host = random_values(edge * edge);
  const Tensor values = arena.tensor(DType::f32, {edge, edge}), other = arena.tensor(DType::f32, {edge, edge});
  const Tensor on_host = view(std::span(host)).reshape({edge, edge});
  backend->upload(on_host, values);
  const size_t size = values.size_bytes();
  return {{"backend", backend->description()},
          {"edge", edge},
          {"products", products},
          {"copies",
           {copies(*backend, "on the device, read and written", 2 * size, [&] { backend->copy(values, other); }),
            copies(*backend, "from the host, through pinned staging", size, [&] { backend->upload(on_host, other); }),
            copies(*backend, "to the host, through pinned staging", size, [&] { backend->download(values, on_host); })}}};
}

}  // namespace lodestone
