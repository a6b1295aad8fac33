// The ceiling: a product of two large matrices, measured before and after what is judged by it.
#pragma once

#include <nlohmann/json.hpp>

#include "core/buffer.h"
#include "core/exec.h"

namespace lodestone {

/// c = a b^T of random matrices [edge, edge], in memory of its own.
class LargeProduct {
 public:
  /// `backend` must outlive it.
  LargeProduct(Backend& backend, int64_t edge, DType dtype);

  /// Enqueues it so many times.
  void enqueue(int64_t times) const;
  /// The fastest of five rounds of ten.
  double flops_per_s() const;
  int64_t edge() const { return edge_; }
  DType dtype() const { return dtype_; }

 private:
  Backend& backend_;
  int64_t edge_;
  DType dtype_;
  Buffer a_, b_, c_;
};

/// A ceiling's rate before and after. Where the two differ by more than a twentieth of the larger, the machine changed its speed meanwhile
/// and nothing is judged by them.
struct Ceiling {
  int64_t edge = 0;
  DType dtype = DType::bf16;
  double before = 0, after = 0;  // FLOP/s

  /// |after - before| / the larger.
  double apart() const;
  /// {"edge", "precision", "before_tflops", "after_tflops", "apart"}.
  nlohmann::ordered_json report() const;
  /// `flops_per_s` over the mean of the two, or why not.
  nlohmann::ordered_json share(double flops_per_s) const;
};

}  // namespace lodestone
