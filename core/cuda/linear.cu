// Products and what stands beside them: biases and sums of columns. The products themselves are cuBLASLt's (products.h): 2 M N K FLOPs, and
// the three matrices once from memory; biases and their gradients are its epilogues where it has them for a shape, and cost no pass of
// their own. Elsewhere a bias is a pass over the result, and a column sum one over its matrix.
#include "core/checks.h"
#include "core/cuda/cuda_backend.h"
#include "core/cuda/device/columns.h"
#include "core/cuda/device/map.h"
#include "core/cuda/products.h"

namespace lodestone {

namespace {

using namespace cuda;

template <class T, class B>
__global__ void __launch_bounds__(map_threads) add_to_rows(int64_t n, int64_t columns, const B* bias, T* y) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < n) y[i] = from_wide<T>(to_wide(y[i]) + to_wide(bias[i % columns]));
}

template <class T>
__global__ void __launch_bounds__(map_threads) scale_kernel(int64_t n, double alpha, T* y) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < n) y[i] = alpha == 0 ? from_wide<T>(wide_t<T>{0}) : from_wide<T>(static_cast<wide_t<T>>(alpha) * to_wide(y[i]));
}

}  // namespace

// The library adds biases of c's own dtype, read 16 bytes at a time. Others are rounded or widened first, and those that lie otherwise
// (parameters lie one behind the other) are copied; it adds none in f64.
void CudaBackend::linear(ConstTensor x, ConstTensor weight, ConstTensor bias, Tensor y) {
  const checks::ProductDims d = checks::linear(x, weight, bias, y, checks::Biases::wide_or_rounded);
  if (d.m == 0 || d.n == 0) return;
  const cudaStream_t stream = enqueue("linear", x);
  Product product{.op_a = Op::none, .op_b = Op::transpose, .a = x, .b = weight, .c = y};
  if (!bias.empty() && y.dtype() != DType::f64) {
    product.bias = bias;
    if (bias.dtype() != y.dtype() || !aligned_16(bias)) {
      const Tensor copy(scratch(static_cast<size_t>(d.n) * size_of(y.dtype())), y.dtype(), {d.n}, Device::cuda);
      cast(bias, copy);
      product.bias = copy;
    }
    if (products_->try_run(product)) return;
    product.bias = {};
  }
  products_->run(product);
  if (bias.empty()) return;
  for_compute("linear", y.dtype(), [&]<class T>(T) {
    const auto add = [&](auto* from) {
      launch(add_to_rows<T, std::remove_const_t<std::remove_pointer_t<decltype(from)>>>, blocks_of(y.count(), map_threads), map_threads, 0,
             stream, y.count(), d.n, from, elements<T>(y));
    };
    if (bias.dtype() == y.dtype())
      add(elements<T>(bias));
    else
      add(elements<wide_t<T>>(bias));
  });
}

// The epilogue overwrites its vector, and ours must be added: it goes to scratch first.
void CudaBackend::linear_gradients(ConstTensor dy, ConstTensor x, Tensor d_weight, Tensor d_bias) {
  const checks::ProductDims d = checks::gemm(Op::transpose, dy, Op::none, x, d_weight);
  Product product{.op_a = Op::transpose, .op_b = Op::none, .a = dy, .b = x, .c = d_weight, .beta = 1};
  if (d_weight.dtype() == DType::f32 && !d_bias.empty() && d.n > 0 && d.k > 0)
    product.row_sums = Tensor(scratch(d_bias.size_bytes()), DType::f32, {d.m}, Device::cuda);
  if (product.row_sums.empty()) return Backend::linear_gradients(dy, x, d_weight, d_bias);
  checks::column_sums(dy, d_bias);
  enqueue("linear_gradients", dy);
  if (!products_->try_run(product)) return Backend::linear_gradients(dy, x, d_weight, d_bias);
  axpy(1, product.row_sums, d_bias);
}

void CudaBackend::gemm(Op op_a, ConstTensor a, Op op_b, ConstTensor b, double alpha, double beta, Tensor c) {
  const checks::ProductDims d = checks::gemm(op_a, a, op_b, b, c);
  if (d.m == 0 || d.n == 0) return;
  const cudaStream_t stream = enqueue("gemm", a);
  if (d.k > 0) return products_->run({.op_a = op_a, .op_b = op_b, .a = a, .b = b, .c = c, .alpha = alpha, .beta = beta});
  for_compute("gemm", c.dtype(), [&]<class T>(T) {
    launch(scale_kernel<T>, blocks_of(c.count(), map_threads), map_threads, 0, stream, c.count(), beta, elements<T>(c));
  });
}

void CudaBackend::column_sums(ConstTensor x, Tensor sums) {
  checks::column_sums(x, sums);
  const int64_t rows = x.dim(0), columns = x.dim(1);
  for_compute("column_sums", x.dtype(), [&]<class T>(T) {
    using W = wide_t<T>;
    auto* const part = reinterpret_cast<W*>(scratch(static_cast<size_t>(column_parts<1>(rows, columns)) * sizeof(W)));
    add_columns<1>(enqueue("column_sums", x), rows, columns, Unchanged{}, part, {{elements<W>(sums)}}, elements<T>(x));
  });
}

}  // namespace lodestone
