// ResidualNorm: y = layer_norm(residual + dropout(branch)), the end of each half of a block, and its backward.
#pragma once

#include "core/nn/activation.h"
#include "core/params.h"

namespace lodestone {

/// Where gamma [H] and beta [H] lie in the flat parameter vector, and the variance's floor.
struct NormParams {
  Slice gamma, beta;
  double eps = 1e-12;
};

class ResidualNorm {
 public:
  ResidualNorm(NormParams norm, double dropout, int64_t layer, Place place) : norm_(norm), p_(dropout), layer_(layer), place_(place) {}

  /// sum holds the branch before forward and residual + dropout(branch) after it.
  struct Saved {
    Activation sum;     // [S,H]
    Tensor mean, rstd;  // [S]
  };
  /// The statistics alone; the caller gives `sum`.
  static Saved take(Exec& ex, const Activation& sum);

  void forward(Exec& ex, const ParamStore& params, const DeviceTexts& texts, const Activation& residual, const Saved& saved,
               const Activation& y) const;
  /// dy becomes dL/d residual, in place; d_branch = dL/d branch; d_gamma +=, d_beta +=.
  void backward(Exec& ex, const ParamStore& params, const DeviceTexts& texts, const Saved& saved, const Activation& dy,
                const Activation& d_branch, Tensor grads) const;

 private:
  NormParams norm_;
  double p_;
  int64_t layer_;
  Place place_;
};

}  // namespace lodestone
