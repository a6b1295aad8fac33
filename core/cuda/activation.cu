// GELU and tanh, forward and backward. Bytes: 2 (forward) or 3 (backward) elements each; FLOPs: about 20 an element.
#include "core/checks.h"
#include "core/cuda/cuda_backend.h"
#include "core/cuda/device/map.h"

namespace lodestone {

namespace {

using namespace cuda;

__device__ double normal_cdf(double x) { return 0.5 * erfc(-x * 0.70710678118654752440); }
__device__ float normal_cdf(float x) { return 0.5f * erfcf(-x * 0.70710678118654752440f); }
__device__ double normal_density(double x) { return exp(-0.5 * x * x) * 0.39894228040143267794; }
__device__ float normal_density(float x) { return expf(-0.5f * x * x) * 0.39894228040143267794f; }

struct Gelu {
  template <class W>
  __device__ W operator()(W x) const {
    return x * normal_cdf(x);
  }
};
struct GeluBackward {
  template <class W>
  __device__ W operator()(W x, W dy) const {
    return dy * (normal_cdf(x) + x * normal_density(x));
  }
};
struct Tanh {
  __device__ double operator()(double x) const { return tanh(x); }
  __device__ float operator()(float x) const { return tanhf(x); }
};
struct TanhBackward {
  template <class W>
  __device__ W operator()(W y, W dy) const {
    return dy * (W{1} - y * y);
  }
};

}  // namespace

void CudaBackend::gelu_forward(ConstTensor x, Tensor y) {
  checks::same("gelu_forward", "y", x, y);
  for_compute("gelu_forward", x.dtype(),
              [&]<class T>(T) { map(enqueue("gelu_forward", x), x.count(), Gelu{}, elements<T>(y), elements<T>(x)); });
}

void CudaBackend::gelu_backward(ConstTensor x, ConstTensor dy, Tensor dx) {
  checks::same("gelu_backward", "dy", x, dy);
  checks::same("gelu_backward", "dx", x, dx);
  for_compute("gelu_backward", x.dtype(), [&]<class T>(T) {
    map(enqueue("gelu_backward", x), x.count(), GeluBackward{}, elements<T>(dx), elements<T>(x), elements<T>(dy));
  });
}

void CudaBackend::tanh_forward(ConstTensor x, Tensor y) {
  checks::same("tanh_forward", "y", x, y);
  for_compute("tanh_forward", x.dtype(),
              [&]<class T>(T) { map(enqueue("tanh_forward", x), x.count(), Tanh{}, elements<T>(y), elements<T>(x)); });
}

void CudaBackend::tanh_backward(ConstTensor y, ConstTensor dy, Tensor dx) {
  checks::same("tanh_backward", "dy", y, dy);
  checks::same("tanh_backward", "dx", y, dx);
  for_compute("tanh_backward", y.dtype(), [&]<class T>(T) {
    map(enqueue("tanh_backward", y), y.count(), TanhBackward{}, elements<T>(dx), elements<T>(y), elements<T>(dy));
  });
}

}  // namespace lodestone
