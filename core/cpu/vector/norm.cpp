// Vector bodies: dropout, and layer normalisation with residual and dropout in the same pass.
#include "core/cpu/vector/kernels.h"
#include "core/cpu/vector/random.h"

namespace lodestone::LODE_VEC {

template <class T>
void dropout(const RowMask& mask, const T* x, T* y, int64_t columns, int64_t begin, int64_t end) {
  RowNames name(mask, begin);
  for (int64_t s = begin; s < end; ++s, name.next()) {
    const T* in = x + s * columns;
    T* out = y + s * columns;
    sweep_masked(mask, name, columns, [&](int64_t i, auto access, vf factor) { store(out + i, load(in + i, access) * factor, access); });
  }
}

// Three sweeps over a row, the last two in first-level cache: the sum and its mean; the variance; the result. The
// statistics are those of the stored (rounded) sum, which is what backward reads.
template <class T>
void norm_forward(const NormForward<T>& op, int64_t begin, int64_t end) {
  const int64_t n = op.columns;
  const float inverse_n = 1.0f / static_cast<float>(n);
  RowNames name(op.mask, begin);
  for (int64_t s = begin; s < end; ++s, name.next()) {
    const T* row = op.branch + s * n;
    vf total{};
    if (op.residual != nullptr) {
      const T* residual = op.residual + s * n;
      T* sum = op.sum + s * n;
      sweep_masked(op.mask, name, n, [&](int64_t i, auto access, vf factor) {
        store(sum + i, load(residual + i, access) + load(row + i, access) * factor, access);
        total += load(sum + i, access);
      });
      row = sum;
    } else {
      sweep(0, n, [&](int64_t i, auto access) { total += load(row + i, access); });
    }
    const float mean = sum_of(total) * inverse_n;
    vf squares{};
    sweep(0, n, [&](int64_t i, auto access) {
      const vf d = within(load(row + i, access) - mean, access);
      squares += d * d;
    });
    const float rstd = 1.0f / __builtin_sqrtf(sum_of(squares) * inverse_n + op.eps);
    T* y = op.y + s * n;
    sweep(0, n, [&](int64_t i, auto access) {
      store(y + i, (load(row + i, access) - mean) * rstd * load(op.gamma + i, access) + load(op.beta + i, access), access);
    });
    op.mean[s] = mean;
    op.rstd[s] = rstd;
  }
}

// Two sweeps over a row: means of u = dy gamma and u xhat together with the sums for gamma and beta; then the result.
template <class T>
void norm_backward(const NormBackward<T>& op, int64_t begin, int64_t end, float* partial) {
  const int64_t n = op.columns;
  const float inverse_n = 1.0f / static_cast<float>(n);
  float *d_gamma = partial, *d_beta = partial + n;
  for (int64_t i = 0; i < 2 * n; ++i) partial[i] = 0;
  RowNames name(op.mask, begin);
  for (int64_t s = begin; s < end; ++s, name.next()) {
    const T *dy = op.dy + s * n, *x = op.sum + s * n;
    const float mean = op.mean[s], rstd = op.rstd[s];
    vf sum_u{}, sum_ux{};
    sweep(0, n, [&](int64_t i, auto access) {
      const vf d = load(dy + i, access), normal = (load(x + i, access) - mean) * rstd, u = d * load(op.gamma + i, access);
      sum_u += u;
      sum_ux += u * normal;
      store(d_gamma + i, load(d_gamma + i, access) + d * normal, access);
      store(d_beta + i, load(d_beta + i, access) + d, access);
    });
    const float mean_u = sum_of(sum_u) * inverse_n, mean_ux = sum_of(sum_ux) * inverse_n;
    T* out = op.d_sum + s * n;
    const auto result = [&](int64_t i, auto access) {
      const vf normal = (load(x + i, access) - mean) * rstd;
      return rstd * (load(dy + i, access) * load(op.gamma + i, access) - mean_u - normal * mean_ux);
    };
    if (op.d_branch == nullptr) {
      sweep(0, n, [&](int64_t i, auto access) { store(out + i, result(i, access), access); });
    } else {
      T* branch = op.d_branch + s * n;
      sweep_masked(op.mask, name, n, [&](int64_t i, auto access, vf factor) {
        const vf d = result(i, access);
        store(out + i, d, access);
        store(branch + i, d * factor, access);
      });
    }
  }
}

template void dropout(const RowMask&, const float*, float*, int64_t, int64_t, int64_t);
template void dropout(const RowMask&, const uint16_t*, uint16_t*, int64_t, int64_t, int64_t);
template void norm_forward(const NormForward<float>&, int64_t, int64_t);
template void norm_forward(const NormForward<uint16_t>&, int64_t, int64_t);
template void norm_backward(const NormBackward<float>&, int64_t, int64_t, float*);
template void norm_backward(const NormBackward<uint16_t>&, int64_t, int64_t, float*);

}  // namespace lodestone::LODE_VEC
