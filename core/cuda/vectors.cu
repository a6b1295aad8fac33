// Whole vectors: casts, sums of two and along one, fills and copies. Bytes: what is read and written, once; FLOPs: at most 2 an element.
#include "core/checks.h"
#include "core/cuda/cuda_backend.h"
#include "core/cuda/device/map.h"
#include "core/cuda/device/sums.h"

namespace lodestone {

namespace {

using namespace cuda;

template <class W>
struct Scaled {
  W alpha;
  __device__ W operator()(W x) const { return alpha * x; }
};
template <class W>
struct Added {
  W alpha;
  __device__ W operator()(W y, W x) const { return y + alpha * x; }
};

struct Square {
  __device__ double operator()(double x) const { return x * x; }
};
struct Difference {
  __device__ double operator()(double a, double b) const { return a - b; }
};

}  // namespace

void CudaBackend::sum_squares(ConstTensor x, Tensor total) {
  checks::total("sum_squares", total);
  for_wide("sum_squares", x.dtype(), [&]<class T>(T) {
    sum_along(enqueue("sum_squares", x), x.count(), Square{}, 1.0, Into::set, parts(), elements<double>(total), elements<T>(x));
  });
}

void CudaBackend::add_differences(ConstTensor a, ConstTensor b, Tensor total) {
  checks::alike("add_differences", a, b);
  checks::total("add_differences", total);
  for_wide("add_differences", a.dtype(), [&]<class T>(T) {
    sum_along(enqueue("add_differences", a), a.count(), Difference{}, 1.0, Into::add, parts(), elements<double>(total), elements<T>(a),
              elements<T>(b));
  });
}

void CudaBackend::cast(ConstTensor x, Tensor y) {
  checks::shape("cast", "y", y, x.shape());
  const cudaStream_t stream = enqueue("cast", x);
  for_compute("cast", x.dtype(), [&]<class From>(From) {
    for_compute("cast", y.dtype(), [&]<class To>(To) { map(stream, x.count(), Same{}, elements<To>(y), elements<From>(x)); });
  });
}

void CudaBackend::axpy(double alpha, ConstTensor x, Tensor y) {
  checks::same("axpy", "y", x, y);
  for_compute("axpy", x.dtype(), [&]<class T>(T) {
    using W = wide_t<T>;
    map(enqueue("axpy", x), x.count(), Added<W>{static_cast<W>(alpha)}, elements<T>(y), elements<T>(ConstTensor(y)), elements<T>(x));
  });
}

void CudaBackend::scale(double alpha, ConstTensor x, Tensor y) {
  checks::alike("scale", x, y);
  for_wide("scale", x.dtype(),
           [&]<class T>(T) { map(enqueue("scale", x), x.count(), Scaled<T>{static_cast<T>(alpha)}, elements<T>(y), elements<T>(x)); });
}

void CudaBackend::fill_zero(Tensor x) {
  if (!x.empty()) check(cudaMemsetAsync(x.bytes(), 0, x.size_bytes(), enqueue("fill_zero", x)), "fill_zero");
}

void CudaBackend::copy(ConstTensor x, Tensor y) {
  checks::shape("copy", "y", y, x.shape());
  checks::dtype("copy", "y", y, x.dtype());
  if (!x.empty()) check(cudaMemcpyAsync(y.bytes(), x.bytes(), x.size_bytes(), cudaMemcpyDeviceToDevice, enqueue("copy", x)), "copy");
}

}  // namespace lodestone
