// Multi-head attention over ragged texts, of one stream and of two streams under masks, forward and backward: by cuDNN, by the kernels of
// flash_attention.cu in bf16, and for all else (f32, f64, other head sizes, odd addresses) by plain kernels here, right before fast. One
// block has one row of one head: the row's scores lie in shared memory, T of them. Bytes: keys and values of the text once a row, from
// cache: 2 T D elements a row and head forward, 4 T D backward in each of two kernels. FLOPs: 4 T D a row and head forward, 14 T D backward
// (scores are made twice, which needs no atomic sums), and 10 of Philox a score where something is dropped.
#include "core/checks.h"
#include "core/cuda/cuda_backend.h"
#include "core/cuda/device/reduce.h"
#include "core/cuda/device/texts.h"
#include "core/cuda/flash_attention.h"

namespace lodestone {

namespace {

using namespace cuda;

constexpr int block_threads = 128;

/// One head of one text.
struct Where {
  int64_t text, begin, length, head;
  uint64_t key;  // of the text, for dropout

  __device__ Where(const TextsView& texts, const DropoutMask& mask, int64_t s, int64_t a)
      : text(texts.text_of[s]),
        begin(texts.offsets[text]),
        length(texts.offsets[text + 1] - begin),
        head(a),
        key(mask.threshold == 0 ? 0 : texts.keys[text]) {}
};

template <class T>
__device__ bool sees(const AttentionInput<T>& in, const Where& at, int64_t i, int64_t j) {
  if (in.bits == nullptr) return true;
  return i != j && (in.hidden(at.text, at.begin, at.length, i)[j / 64] >> (j % 64) & 1) == 0;
}

template <class T>
__device__ wide_t<T> dot(const T* a, const T* b, int64_t size) {
  wide_t<T> sum = 0;
  for (int64_t d = 0; d < size; ++d) sum += to_wide(a[d]) * to_wide(b[d]);
  return sum;
}

template <class W>
__device__ W factor(const DropoutMask& mask, const Where& at, int64_t i, int64_t j) {
  return mask.factor<W>(at.key, static_cast<uint32_t>(at.head << 16 | i), static_cast<uint32_t>(j));
}

/// p_ij = exp(q_i k_j / sqrt(D) - lse_i) over the j that i sees;  ctx_i = sum_j z_ij p_ij v_j with the dropout factors z. Block s A + a.
template <class T>
__global__ void __launch_bounds__(block_threads)
    forward_row(TextsView texts, AttentionInput<T> in, DropoutMask mask, T* ctx, wide_t<T>* lse) {
  using W = wide_t<T>;
  LODE_DYNAMIC_SHARED(W, weight);  // [T]
  __shared__ W parts[warp_size];
  const int64_t s = blockIdx.x / in.heads, a = blockIdx.x % in.heads;
  const Where at(texts, mask, s, a);
  const int64_t i = s - at.begin;
  const W nothing = -static_cast<W>(INFINITY);
  W top = nothing;
  for (int64_t j = threadIdx.x; j < at.length; j += blockDim.x) {
    weight[j] = sees(in, at, i, j) ? in.scale() * dot(in.query(s, a), in.key(at.begin + j, a), in.size) : nothing;
    top = weight[j] > top ? weight[j] : top;
  }
  top = reduce_block(top, Max{}, nothing, parts);
  W sum = 0;
  for (int64_t j = threadIdx.x; j < at.length; j += blockDim.x) sum += top == nothing ? W{0} : exp(weight[j] - top);
  sum = reduce_block(sum, Add{}, W{0}, parts);
  const W log_sum = top == nothing ? W{0} : top + log(sum);
  for (int64_t j = threadIdx.x; j < at.length; j += blockDim.x)
    weight[j] = weight[j] == nothing ? W{0} : exp(weight[j] - log_sum) * factor<W>(mask, at, i, j);
  __syncthreads();
  for (int64_t d = threadIdx.x; d < in.size; d += blockDim.x) {
    W c = 0;
    for (int64_t j = 0; j < at.length; ++j)
      if (weight[j] != W{0}) c += weight[j] * to_wide(in.value(at.begin + j, a)[d]);
    ctx[(s * in.heads + a) * in.size + d] = from_wide<T>(c);
  }
  if (threadIdx.x == 0) lse[s * in.heads + a] = log_sum;
}

/// ds_ij = p_ij (z_ij d_ctx_i v_j - delta_i) / sqrt(D), and z_ij p_ij; both 0 for what i does not see.
template <class T>
__device__ void score_gradient(const AttentionInput<T>& in, const AttentionOutput<T>& known, const DropoutMask& mask, const Where& at,
                               int64_t i, int64_t j, wide_t<T> delta, wide_t<T>& ds, wide_t<T>& zp) {
  using W = wide_t<T>;
  ds = zp = W{0};
  if (!sees(in, at, i, j)) return;
  const int64_t s = at.begin + i, other = at.begin + j, a = at.head;
  const W p = exp(in.scale() * dot(in.query(s, a), in.key(other, a), in.size) - known.lse[s * in.heads + a]);
  const W z = factor<W>(mask, at, i, j);
  ds = p * (z * dot(known.d_ctx + (s * in.heads + a) * in.size, in.value(other, a), in.size) - delta) * in.scale();
  zp = z * p;
}

/// dq_i = sum_j ds_ij k_j, and delta_i = d_ctx_i ctx_i into deltas [S,A] for the next kernel. Block s A + a; dq has rows of `stride`.
template <class T>
__global__ void __launch_bounds__(block_threads) backward_queries(TextsView texts, AttentionInput<T> in, DropoutMask mask,
                                                                  AttentionOutput<T> known, wide_t<T>* deltas, int64_t stride, T* dq) {
  using W = wide_t<T>;
  LODE_DYNAMIC_SHARED(W, ds);  // [T]
  __shared__ W parts[warp_size];
  const int64_t s = blockIdx.x / in.heads, a = blockIdx.x % in.heads, row = (s * in.heads + a) * in.size;
  const Where at(texts, mask, s, a);
  W along = 0;
  for (int64_t d = threadIdx.x; d < in.size; d += blockDim.x) along += to_wide(known.d_ctx[row + d]) * to_wide(known.ctx[row + d]);
  const W delta = reduce_block(along, Add{}, W{0}, parts);
  if (threadIdx.x == 0) deltas[s * in.heads + a] = delta;
  for (int64_t j = threadIdx.x; j < at.length; j += blockDim.x) {
    W unused{};
    score_gradient(in, known, mask, at, s - at.begin, j, delta, ds[j], unused);
  }
  __syncthreads();
  for (int64_t d = threadIdx.x; d < in.size; d += blockDim.x) {
    W sum = 0;
    for (int64_t j = 0; j < at.length; ++j)
      if (ds[j] != W{0}) sum += ds[j] * to_wide(in.key(at.begin + j, a)[d]);
    dq[s * stride + a * in.size + d] = from_wide<T>(sum);
  }
}

/// dv_j = sum_i z_ij p_ij d_ctx_i;  dk_j = sum_i ds_ij q_i. Block s A + a, s the key's token; both have rows of `stride`.
template <class T>
__global__ void __launch_bounds__(block_threads)
    backward_keys(TextsView texts, AttentionInput<T> in, DropoutMask mask, AttentionOutput<T> known, const wide_t<T>* deltas,
                  int64_t stride, T* dk, T* dv) {
  using W = wide_t<T>;
  LODE_DYNAMIC_SHARED(W, ds);  // [2,T]: ds, then z p
  const int64_t s = blockIdx.x / in.heads, a = blockIdx.x % in.heads;
  const Where at(texts, mask, s, a);
  W* const zp = ds + at.length;
  for (int64_t i = threadIdx.x; i < at.length; i += blockDim.x)
    score_gradient(in, known, mask, at, i, s - at.begin, deltas[(at.begin + i) * in.heads + a], ds[i], zp[i]);
  __syncthreads();
  for (int64_t d = threadIdx.x; d < in.size; d += blockDim.x) {
    W to_key = 0, to_value = 0;
    for (int64_t i = 0; i < at.length; ++i) {
      const int64_t row = at.begin + i;
      to_key += ds[i] * to_wide(in.query(row, a)[d]);
      to_value += zp[i] * to_wide(known.d_ctx[(row * in.heads + a) * in.size + d]);
    }
    dk[s * stride + a * in.size + d] = from_wide<T>(to_key);
    dv[s * stride + a * in.size + d] = from_wide<T>(to_value);
  }
}

/// One stream: q, k and v side by side.
template <class T>
AttentionInput<T> of_one(ConstTensor qkv, int64_t heads) {
  const int64_t hidden = qkv.dim(1) / 3;
  const T* const x = elements<T>(qkv);
  return {x, x + hidden, x + 2 * hidden, 3 * hidden, 3 * hidden, heads, hidden / heads};
}

template <class T>
AttentionInput<T> of_two(ConstTensor q, ConstTensor kv, int64_t heads, const DeviceMasks& masks) {
  const int64_t hidden = q.dim(1);
  const T* const other = elements<T>(kv);
  return {elements<T>(q),
          other,
          other + hidden,
          hidden,
          2 * hidden,
          heads,
          hidden / heads,
          elements<uint64_t>(masks.bits),
          elements<int64_t>(masks.first),
          elements<uint8_t>(masks.of_row)};
}

/// Enqueues it by the kernels that take it. scratch(n): n bytes of device memory.
template <class T, class Scratch>
void forward(cudaStream_t stream, const DeviceTexts& texts, const AttentionInput<T>& in, const Dropout& dropout, Tensor ctx, Tensor lse,
             const Scratch& scratch) {
  using W = wide_t<T>;
  const DropoutMask mask(dropout.key, dropout.p);
  if constexpr (std::is_same_v<T, bf16>) {
    if (flash_takes(texts, in, {ctx.bytes()}))
      return flash_forward(stream, texts, in, mask, scratch(flash_forward_scratch(texts, in.heads, mask)), elements<T>(ctx),
                           elements<W>(lse));
  }
  launch(forward_row<T>, texts.tokens() * in.heads, block_threads, static_cast<size_t>(texts.longest) * sizeof(W), stream, TextsView(texts),
         in, mask, elements<T>(ctx), elements<W>(lse));
}

template <class T, class Scratch>
void backward(cudaStream_t stream, const DeviceTexts& texts, const AttentionInput<T>& in, const Dropout& dropout,
              const AttentionOutput<T>& known, const AttentionGradients<T>& out, const Scratch& scratch) {
  using W = wide_t<T>;
  const DropoutMask mask(dropout.key, dropout.p);
  if constexpr (std::is_same_v<T, bf16>) {
    if (flash_takes(texts, in, {known.ctx, known.d_ctx, out.q, out.k, out.v}))
      return flash_backward(stream, texts, in, mask, known, scratch(flash_backward_scratch(texts, in.heads, mask)), out);
  }
  const TextsView view(texts);
  const int64_t blocks = texts.tokens() * in.heads;
  const size_t row = static_cast<size_t>(texts.longest) * sizeof(W);
  W* const deltas = reinterpret_cast<W*>(scratch(static_cast<size_t>(blocks) * sizeof(W)));
  launch(backward_queries<T>, blocks, block_threads, row, stream, view, in, mask, known, deltas, out.q_stride, out.q);
  launch(backward_keys<T>, blocks, block_threads, 2 * row, stream, view, in, mask, known, deltas, out.kv_stride, out.k, out.v);
}

}  // namespace

void CudaBackend::attention_forward(const DeviceTexts& texts, ConstTensor qkv, int64_t heads, Dropout dropout, Tensor ctx, Tensor lse) {
  checks::attention("attention_forward", texts, qkv, heads, dropout, ctx, lse);
  if (planned_attention(texts, qkv, heads, dropout,
                        {.qkv = qkv.bytes(), .to_ctx = ctx.bytes(), .to_lse = reinterpret_cast<float*>(lse.bytes())}))
    return;
  for_compute("attention_forward", qkv.dtype(), [&]<class T>(T) {
    forward(enqueue("attention_forward", qkv), texts, of_one<T>(qkv, heads), dropout, ctx, lse, [&](size_t n) { return scratch(n); });
  });
}

void CudaBackend::attention_backward(const DeviceTexts& texts, ConstTensor qkv, ConstTensor ctx, ConstTensor lse, ConstTensor d_ctx,
                                     int64_t heads, Dropout dropout, Tensor d_qkv) {
  checks::attention("attention_backward", texts, qkv, heads, dropout, ctx, lse);
  checks::same("attention_backward", "d_ctx", ctx, d_ctx);
  checks::same("attention_backward", "d_qkv", qkv, d_qkv);
  if (planned_attention(texts, qkv, heads, dropout,
                        {.qkv = qkv.bytes(),
                         .ctx = ctx.bytes(),
                         .lse = reinterpret_cast<const float*>(lse.bytes()),
                         .d_ctx = d_ctx.bytes(),
                         .to_d_qkv = d_qkv.bytes()}))
    return;
  const int64_t hidden = qkv.dim(1) / 3;
  for_compute("attention_backward", qkv.dtype(), [&]<class T>(T) {
    const AttentionOutput<T> known{elements<T>(ctx), elements<T>(d_ctx), elements<wide_t<T>>(lse)};
    T* const d = elements<T>(d_qkv);
    backward(enqueue("attention_backward", qkv), texts, of_one<T>(qkv, heads), dropout, known,
             AttentionGradients<T>{d, d + hidden, d + 2 * hidden, 3 * hidden, 3 * hidden}, [&](size_t n) { return scratch(n); });
  });
}

void CudaBackend::masked_attention_forward(const DeviceTexts& texts, const DeviceMasks& masks, ConstTensor q, ConstTensor kv, int64_t heads,
                                           Dropout dropout, Tensor ctx, Tensor lse) {
  checks::masked_attention("masked_attention_forward", texts, masks, q, kv, heads, dropout, ctx, lse);
  for_compute("masked_attention_forward", q.dtype(), [&]<class T>(T) {
    forward(enqueue("masked_attention_forward", q), texts, of_two<T>(q, kv, heads, masks), dropout, ctx, lse,
            [&](size_t n) { return scratch(n); });
  });
}

void CudaBackend::masked_attention_backward(const DeviceTexts& texts, const DeviceMasks& masks, ConstTensor q, ConstTensor kv,
                                            ConstTensor ctx, ConstTensor lse, ConstTensor d_ctx, int64_t heads, Dropout dropout, Tensor d_q,
                                            Tensor d_kv) {
  const char* const op = "masked_attention_backward";
  checks::masked_attention(op, texts, masks, q, kv, heads, dropout, ctx, lse);
  checks::same(op, "d_ctx", ctx, d_ctx);
  checks::same(op, "d_q", q, d_q);
  checks::same(op, "d_kv", kv, d_kv);
  const int64_t hidden = q.dim(1);
  for_compute(op, q.dtype(), [&]<class T>(T) {
    const AttentionOutput<T> known{elements<T>(ctx), elements<T>(d_ctx), elements<wide_t<T>>(lse)};
    T* const d = elements<T>(d_kv);
    backward(enqueue(op, q), texts, of_two<T>(q, kv, heads, masks), dropout, known,
             AttentionGradients<T>{elements<T>(d_q), d, d + hidden, hidden, 2 * hidden}, [&](size_t n) { return scratch(n); });
  });
}

}  // namespace lodestone
