#include "launch/bench/bench_product.h"

#include <algorithm>
#include <cmath>

#include "launch/bench/bench_timing.h"

namespace lodestone {

namespace {

constexpr double most_apart = 0.05;

Buffer matrix(Backend& backend, int64_t edge, DType dtype) { return {backend.memory(), static_cast<size_t>(edge * edge) * size_of(dtype)}; }

}  // namespace

LargeProduct::LargeProduct(Backend& backend, int64_t edge, DType dtype)
    : backend_(backend),
      edge_(edge),
      dtype_(dtype),
      a_(matrix(backend, edge, dtype)),
      b_(matrix(backend, edge, dtype)),
      c_(matrix(backend, edge, dtype)) {
  const std::vector<float> host = random_values(edge * edge);
  const Buffer wide = matrix(backend, edge, DType::f32);
  const Tensor values = wide.tensor(DType::f32, {edge, edge});
  backend.upload(view(std::span<const float>(host)).reshape({edge, edge}), values);
  for (const Buffer* b : {&a_, &b_}) backend.cast(values, b->tensor(dtype, {edge, edge}));
  backend.synchronize();
}

void LargeProduct::enqueue(int64_t times) const {
  const Shape square{edge_, edge_};
  for (int64_t i = 0; i < times; ++i)
    backend_.gemm(Op::none, a_.tensor(dtype_, square), Op::transpose, b_.tensor(dtype_, square), 1, 0, c_.tensor(dtype_, square));
}

double LargeProduct::flops_per_s() const {
  return 2 * std::pow(static_cast<double>(edge_), 3) / fastest_s(backend_, [this] { enqueue(1); });
}

double Ceiling::apart() const { return std::abs(after - before) / std::max(after, before); }

nlohmann::ordered_json Ceiling::report() const {
  return {
      {"edge", edge}, {"precision", name_of(dtype)}, {"before_tflops", before / 1e12}, {"after_tflops", after / 1e12}, {"apart", apart()}};
}

nlohmann::ordered_json Ceiling::share(double flops_per_s) const {
  if (apart() <= most_apart) return 2 * flops_per_s / (before + after);
  return not_measured(
      cat("the products before and after differ by ", std::round(1000 * apart()) / 10, " %, more than ", 100 * most_apart, " %"));
}

}  // namespace lodestone
