// CpuBackend: what works on rows - embeddings, normalisation, dropout, activations.
#include "core/checks.h"
#include "core/cpu/cpu_backend.h"
#include "core/cpu/scratch_sizes.h"
#include "core/cpu/storage.h"

namespace lodestone {

namespace {

constexpr int64_t grain = 4096;  // elements below which another thread does not pay

/// Rows that make up about `grain` elements.
int64_t row_grain(int64_t columns) { return std::max<int64_t>(1, grain / std::max<int64_t>(1, columns)); }

/// Runs the backward kernel by blocks of rows and adds their shares of d_gamma and d_beta in order.
template <class T>
void norm_backward(const Parallel& parallel, const vec::Kernels<T>& kernels, Scratch& scratch, const vec::NormBackward<T>& op, int64_t rows,
                   float* d_gamma, float* d_beta) {
  const int64_t block_rows = scratch_sizes::norm_block_rows, blocks = scratch_sizes::norm_blocks(rows), n = op.columns;
  float* partial = scratch.take<float>(scratch_sizes::norm_partials(rows, n));
  parallel.ranges(blocks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b)
      kernels.norm_backward(op, b * block_rows, std::min(rows, (b + 1) * block_rows), partial + b * 2 * n);
  });
  for (int64_t b = 0; b < blocks; ++b)
    for (int64_t i = 0; i < n; ++i) {
      d_gamma[i] += partial[b * 2 * n + i];
      d_beta[i] += partial[b * 2 * n + n + i];
    }
}

/// Calls body(token, place, length, type) for the part of text b with token type 0, and for that with type 1: its first token in
/// the batch, that token's place in the text, the part's length, and the row of the type table.
template <class Body>
void typed_parts(const TokenBatch& tokens, int64_t b, Body body) {
  const int64_t first = tokens.offsets[static_cast<size_t>(b)], middle = tokens.first_length(b), length = tokens.length(b);
  body(first, int64_t{0}, middle, int64_t{0});
  if (middle < length) body(first + middle, middle, length - middle, int64_t{1});
}

}  // namespace

void CpuBackend::embed_forward(const DeviceTexts& texts, ConstTensor word, ConstTensor position, ConstTensor type, Tensor y) {
  if (y.dtype() == DType::f64) return ReferenceBackend::embed_forward(texts, word, position, type, y);
  checks::embed("embed_forward", texts, DType::f32, word, position, type, y);
  const TokenBatch tokens = on_host(texts);
  by_storage(table_, y.dtype(), [&]<class T>(const vec::Kernels<T>& kernels, T) {
    parallel_.ranges(tokens.texts(), 1, [&](int64_t begin, int64_t end) {
      const int64_t hidden = y.dim(1);
      for (int64_t b = begin; b < end; ++b)
        typed_parts(tokens, b, [&](int64_t token, int64_t place, int64_t length, int64_t kind) {
          kernels.embed_forward(tokens.ids.data() + token, length, elements<float>(word), elements<float>(position) + place * hidden,
                                elements<float>(type) + kind * hidden, elements<T>(y) + token * hidden, hidden);
        });
    });
  });
}

// Threads own columns, so the order of additions is that of the tokens for any number of threads.
void CpuBackend::embed_backward(const DeviceTexts& texts, ConstTensor dy, Tensor d_word, Tensor d_position, Tensor d_type) {
  if (dy.dtype() == DType::f64) return ReferenceBackend::embed_backward(texts, dy, d_word, d_position, d_type);
  checks::embed("embed_backward", texts, DType::f32, d_word, d_position, d_type, dy);
  const TokenBatch tokens = on_host(texts);
  by_storage(table_, dy.dtype(), [&]<class T>(const vec::Kernels<T>& kernels, T) {
    parallel_.ranges(dy.dim(1), 64, [&](int64_t begin, int64_t end) {
      const int64_t hidden = dy.dim(1);
      for (int64_t b = 0; b < tokens.texts(); ++b)
        typed_parts(tokens, b, [&](int64_t token, int64_t place, int64_t length, int64_t kind) {
          kernels.embed_backward(tokens.ids.data() + token, length, elements<T>(dy) + token * hidden, elements<float>(d_word),
                                 elements<float>(d_position) + place * hidden, elements<float>(d_type) + kind * hidden, hidden, begin, end);
        });
    });
  });
}

void CpuBackend::layer_norm_forward(ConstTensor x, ConstTensor gamma, ConstTensor beta, double eps, Tensor y, Tensor mean, Tensor rstd) {
  if (x.dtype() == DType::f64) return ReferenceBackend::layer_norm_forward(x, gamma, beta, eps, y, mean, rstd);
  checks::layer_norm_forward(x, gamma, beta, y, mean, rstd);
  by_storage(table_, x.dtype(), [&]<class T>(const vec::Kernels<T>& kernels, T) {
    const vec::NormForward<T> op{nullptr,
                                 elements<T>(x),
                                 elements<float>(gamma),
                                 elements<float>(beta),
                                 nullptr,
                                 elements<T>(y),
                                 elements<float>(mean),
                                 elements<float>(rstd),
                                 static_cast<float>(eps),
                                 x.dim(1),
                                 {}};
    parallel_.ranges(x.dim(0), row_grain(x.dim(1)), [&](int64_t begin, int64_t end) { kernels.norm_forward(op, begin, end); });
  });
}

void CpuBackend::layer_norm_backward(ConstTensor dy, ConstTensor x, ConstTensor gamma, ConstTensor mean, ConstTensor rstd, Tensor dx,
                                     Tensor d_gamma, Tensor d_beta) {
  if (x.dtype() == DType::f64) return ReferenceBackend::layer_norm_backward(dy, x, gamma, mean, rstd, dx, d_gamma, d_beta);
  checks::layer_norm_backward(dy, x, gamma, mean, rstd, dx, d_gamma, d_beta);
  by_storage(table_, x.dtype(), [&]<class T>(const vec::Kernels<T>& kernels, T) {
    const vec::NormBackward<T> op{elements<T>(dy),
                                  elements<T>(x),
                                  elements<float>(gamma),
                                  elements<float>(mean),
                                  elements<float>(rstd),
                                  elements<T>(dx),
                                  nullptr,
                                  x.dim(1),
                                  {}};
    norm_backward(parallel_, kernels, scratch_, op, x.dim(0), elements<float>(d_gamma), elements<float>(d_beta));
  });
}

void CpuBackend::dropout(const DeviceTexts& texts, ConstTensor x, Dropout dropout, Tensor y) {
  if (x.dtype() == DType::f64) return ReferenceBackend::dropout(texts, x, dropout, y);
  checks::token_rows("dropout", "x", texts, x);
  checks::same("dropout", "y", x, y);
  checks::dropout("dropout", texts, dropout);
  const TokenBatch tokens = on_host(texts);
  const vec::RowMask mask = row_mask(tokens, dropout);
  by_storage(table_, x.dtype(), [&]<class T>(const vec::Kernels<T>& kernels, T) {
    parallel_.ranges(x.dim(0), row_grain(x.dim(1)),
                     [&](int64_t begin, int64_t end) { kernels.dropout(mask, elements<T>(x), elements<T>(y), x.dim(1), begin, end); });
  });
}

void CpuBackend::residual_layer_norm_forward(const DeviceTexts& texts, ConstTensor residual, ConstTensor branch, Dropout dropout,
                                             ConstTensor gamma, ConstTensor beta, double eps, Tensor sum, Tensor y, Tensor mean,
                                             Tensor rstd) {
  if (branch.dtype() == DType::f64)
    return ReferenceBackend::residual_layer_norm_forward(texts, residual, branch, dropout, gamma, beta, eps, sum, y, mean, rstd);
  const char* op_name = "residual_layer_norm_forward";
  checks::token_rows(op_name, "branch", texts, branch);
  checks::same(op_name, "residual", branch, residual);
  checks::same(op_name, "sum", branch, sum);
  checks::layer_norm_forward(sum, gamma, beta, y, mean, rstd);
  checks::dropout(op_name, texts, dropout);
  const TokenBatch tokens = on_host(texts);
  by_storage(table_, branch.dtype(), [&]<class T>(const vec::Kernels<T>& kernels, T) {
    const vec::NormForward<T> op{elements<T>(residual),   elements<T>(branch), elements<float>(gamma),   elements<float>(beta),
                                 elements<T>(sum),        elements<T>(y),      elements<float>(mean),    elements<float>(rstd),
                                 static_cast<float>(eps), branch.dim(1),       row_mask(tokens, dropout)};
    parallel_.ranges(branch.dim(0), row_grain(branch.dim(1)), [&](int64_t begin, int64_t end) { kernels.norm_forward(op, begin, end); });
  });
}

void CpuBackend::residual_layer_norm_backward(const DeviceTexts& texts, ConstTensor dy, ConstTensor sum, Dropout dropout, ConstTensor gamma,
                                              ConstTensor mean, ConstTensor rstd, Tensor d_residual, Tensor d_branch, Tensor d_gamma,
                                              Tensor d_beta) {
  if (sum.dtype() == DType::f64)
    return ReferenceBackend::residual_layer_norm_backward(texts, dy, sum, dropout, gamma, mean, rstd, d_residual, d_branch, d_gamma,
                                                          d_beta);
  const char* op_name = "residual_layer_norm_backward";
  checks::token_rows(op_name, "sum", texts, sum);
  checks::layer_norm_backward(dy, sum, gamma, mean, rstd, d_residual, d_gamma, d_beta);
  checks::same(op_name, "d_branch", sum, d_branch);
  checks::dropout(op_name, texts, dropout);
  const TokenBatch tokens = on_host(texts);
  by_storage(table_, sum.dtype(), [&]<class T>(const vec::Kernels<T>& kernels, T) {
    const vec::NormBackward<T> op{elements<T>(dy),          elements<T>(sum),        elements<float>(gamma), elements<float>(mean),
                                  elements<float>(rstd),    elements<T>(d_residual), elements<T>(d_branch),  sum.dim(1),
                                  row_mask(tokens, dropout)};
    norm_backward(parallel_, kernels, scratch_, op, sum.dim(0), elements<float>(d_gamma), elements<float>(d_beta));
  });
}

void CpuBackend::gelu_forward(ConstTensor x, Tensor y) {
  if (x.dtype() == DType::f64) return ReferenceBackend::gelu_forward(x, y);
  checks::same("gelu_forward", "y", x, y);
  by_storage(table_, x.dtype(), [&]<class T>(const vec::Kernels<T>& kernels, T) {
    parallel_.ranges(x.count(), grain,
                     [&](int64_t i, int64_t end) { kernels.gelu_forward(elements<T>(x) + i, elements<T>(y) + i, end - i); });
  });
}

void CpuBackend::gelu_backward(ConstTensor x, ConstTensor dy, Tensor dx) {
  if (x.dtype() == DType::f64) return ReferenceBackend::gelu_backward(x, dy, dx);
  checks::same("gelu_backward", "dy", x, dy);
  checks::same("gelu_backward", "dx", x, dx);
  by_storage(table_, x.dtype(), [&]<class T>(const vec::Kernels<T>& kernels, T) {
    parallel_.ranges(x.count(), grain, [&](int64_t i, int64_t end) {
      kernels.gelu_backward(elements<T>(x) + i, elements<T>(dy) + i, elements<T>(dx) + i, end - i);
    });
  });
}

void CpuBackend::tanh_forward(ConstTensor x, Tensor y) {
  if (x.dtype() == DType::f64) return ReferenceBackend::tanh_forward(x, y);
  checks::same("tanh_forward", "y", x, y);
  by_storage(table_, x.dtype(), [&]<class T>(const vec::Kernels<T>& kernels, T) {
    parallel_.ranges(x.count(), grain,
                     [&](int64_t i, int64_t end) { kernels.tanh_forward(elements<T>(x) + i, elements<T>(y) + i, end - i); });
  });
}

void CpuBackend::tanh_backward(ConstTensor y, ConstTensor dy, Tensor dx) {
  if (y.dtype() == DType::f64) return ReferenceBackend::tanh_backward(y, dy, dx);
  checks::same("tanh_backward", "dy", y, dy);
  checks::same("tanh_backward", "dx", y, dx);
  by_storage(table_, y.dtype(), [&]<class T>(const vec::Kernels<T>& kernels, T) {
    parallel_.ranges(y.count(), grain, [&](int64_t i, int64_t end) {
      kernels.tanh_backward(elements<T>(y) + i, elements<T>(dy) + i, elements<T>(dx) + i, end - i);
    });
  });
}

}  // namespace lodestone
