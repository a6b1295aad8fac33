// Matrices of scores: bands, masks, and logarithms of sums. Bytes: the band's elements, or the vectors, once each way. FLOPs: one an
// element of a band; two exponentials and a logarithm in f64 for log_add, one of them for the other vectors.
#include "core/checks.h"
#include "core/cuda/cuda_backend.h"
#include "core/cuda/device/map.h"
#include "core/cuda/device/sums.h"

namespace lodestone {

namespace {

using namespace cuda;

constexpr int block_threads = 256;

/// The elements of a band of a matrix, by their number in it.
template <class T>
struct InBand {
  T* x;
  int64_t columns, first, stride, width;
  __device__ T& operator[](int64_t k) const {
    const int64_t i = k / width;
    return x[i * columns + first + i * stride + k % width];
  }
};

template <class T, class Matrix>
InBand<T> band_of(const Matrix& x, Band band) {
  return {elements<std::remove_const_t<T>>(x), x.shape().rank() == 1 ? 1 : x.dim(1), band.first, band.stride, band.width};
}

template <class T>
__global__ void __launch_bounds__(block_threads) fill(int64_t n, InBand<T> x, T value) {
  const int64_t k = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (k < n) x[k] = value;
}
template <class T>
__global__ void __launch_bounds__(block_threads) add(int64_t n, InBand<T> x, T value) {
  const int64_t k = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (k < n) x[k] += value;
}
template <class T>
__global__ void __launch_bounds__(block_threads) read(int64_t n, InBand<const T> x, double* y) {
  const int64_t k = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (k < n) y[k] = static_cast<double>(x[k]);
}
template <class T>
__global__ void __launch_bounds__(block_threads) write(int64_t n, const double* y, InBand<T> x) {
  const int64_t k = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (k < n) x[k] = static_cast<T>(y[k]);
}

template <class T>
struct BandElement {
  InBand<const T> x;
  __device__ double operator()(int64_t k) const { return static_cast<double>(x[k]); }
};

/// One block a row.
template <class T>
__global__ void __launch_bounds__(block_threads) mask(const int64_t* offsets, const int32_t* columns, int64_t width, T* x) {
  const int64_t i = blockIdx.x;
  for (int64_t k = offsets[i] + threadIdx.x; k < offsets[i + 1]; k += blockDim.x) x[i * width + columns[k]] = -static_cast<T>(INFINITY);
}

/// log(exp(a) + exp(b)) in double; b where both are -infinity.
struct LogAdd {
  template <class W>
  __device__ W operator()(W total, W part) const {
    const double a = part, b = total, top = a > b ? a : b;
    return top > -INFINITY || isnan(a + b) ? static_cast<W>(top + log(exp(a - top) + exp(b - top))) : total;
  }
};
struct ExpDifference {
  template <class W>
  __device__ W operator()(W a, W b) const {
    return exp(a - b);
  }
};
struct AddLog {
  template <class W>
  __device__ W operator()(W a, W b) const {
    return a + log(b);
  }
};

}  // namespace

void CudaBackend::fill_band(Tensor x, Band band, double value) {
  checks::band("fill_band", x, band);
  const int64_t n = x.dim(0) * band.width;
  for_wide("fill_band", x.dtype(), [&]<class T>(T) {
    launch(fill<T>, blocks_of(n, block_threads), block_threads, 0, enqueue("fill_band", x), n, band_of<T>(x, band), static_cast<T>(value));
  });
}

void CudaBackend::add_to_band(Tensor x, Band band, double value) {
  checks::band("add_to_band", x, band);
  const int64_t n = x.dim(0) * band.width;
  for_wide("add_to_band", x.dtype(), [&]<class T>(T) {
    launch(add<T>, blocks_of(n, block_threads), block_threads, 0, enqueue("add_to_band", x), n, band_of<T>(x, band), static_cast<T>(value));
  });
}

void CudaBackend::read_band(ConstTensor x, Band band, Tensor y) {
  checks::band_values("read_band", x, band, y);
  const int64_t n = x.dim(0) * band.width;
  for_wide("read_band", x.dtype(), [&]<class T>(T) {
    launch(read<T>, blocks_of(n, block_threads), block_threads, 0, enqueue("read_band", x), n, band_of<const T>(x, band),
           elements<double>(y));
  });
}

void CudaBackend::write_band(ConstTensor y, Band band, Tensor x) {
  checks::band_values("write_band", x, band, y);
  const int64_t n = x.dim(0) * band.width;
  for_wide("write_band", x.dtype(), [&]<class T>(T) {
    launch(write<T>, blocks_of(n, block_threads), block_threads, 0, enqueue("write_band", y), n, elements<double>(y), band_of<T>(x, band));
  });
}

void CudaBackend::add_band_sum(ConstTensor x, Band band, double alpha, Tensor total) {
  checks::band("add_band_sum", x, band);
  checks::total("add_band_sum", total);
  for_wide("add_band_sum", x.dtype(), [&]<class T>(T) {
    sum(enqueue("add_band_sum", x), x.dim(0) * band.width, BandElement<T>{band_of<const T>(x, band)}, alpha, Into::add, parts(),
        elements<double>(total));
  });
}

void CudaBackend::mask_elements(ConstTensor offsets, ConstTensor columns, Tensor x) {
  checks::masked_elements("mask_elements", offsets, columns, x);
  if (columns.empty()) return;
  for_wide("mask_elements", x.dtype(), [&]<class T>(T) {
    launch(mask<T>, x.dim(0), block_threads, 0, enqueue("mask_elements", offsets), elements<int64_t>(offsets), elements<int32_t>(columns),
           x.dim(1), elements<T>(x));
  });
}

void CudaBackend::log_add(ConstTensor part, Tensor total) {
  checks::alike("log_add", part, total);
  for_wide("log_add", total.dtype(), [&]<class T>(T) {
    map(enqueue("log_add", part), total.count(), LogAdd{}, elements<T>(total), elements<T>(ConstTensor(total)), elements<T>(part));
  });
}

void CudaBackend::exp_difference(ConstTensor a, ConstTensor b, Tensor y) {
  checks::alike("exp_difference", a, b);
  checks::alike("exp_difference", a, y);
  for_wide("exp_difference", y.dtype(), [&]<class T>(T) {
    map(enqueue("exp_difference", a), y.count(), ExpDifference{}, elements<T>(y), elements<T>(a), elements<T>(b));
  });
}

void CudaBackend::add_log(ConstTensor a, ConstTensor b, Tensor y) {
  checks::alike("add_log", a, b);
  checks::alike("add_log", a, y);
  for_wide("add_log", y.dtype(),
           [&]<class T>(T) { map(enqueue("add_log", a), y.count(), AddLog{}, elements<T>(y), elements<T>(a), elements<T>(b)); });
}

}  // namespace lodestone
