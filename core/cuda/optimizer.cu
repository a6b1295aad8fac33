// AdamW over all parameters, whichever decay, in one kernel (one for each 512 runs of equal decay). Bytes: 7 elements each (reads g, p, m,
// v; writes p, m, v); FLOPs: 14 an element.
#include <cmath>
#include <span>

#include "core/checks.h"
#include "core/cuda/cuda_backend.h"
#include "core/cuda/device/values.h"

namespace lodestone {

namespace {

using namespace cuda;

constexpr int block_threads = 256;

/// A step's numbers in the dtype of the vectors.
template <class T>
struct Step {
  T lr, beta1, beta2, eps, weight_decay, gradient_scale, correction1, correction2;

  explicit Step(const AdamWStep& s)
      : lr(static_cast<T>(s.lr)),
        beta1(static_cast<T>(s.beta1)),
        beta2(static_cast<T>(s.beta2)),
        eps(static_cast<T>(s.eps)),
        weight_decay(static_cast<T>(s.weight_decay)),
        gradient_scale(static_cast<T>(s.gradient_scale)),
        correction1(static_cast<T>(1 / (1 - std::pow(s.beta1, static_cast<double>(s.t))))),
        correction2(static_cast<T>(1 / (1 - std::pow(s.beta2, static_cast<double>(s.t))))) {}

  __device__ void apply(T decay, T g, T& p, T& m, T& v) const {
    const T d = gradient_scale * g;
    m = beta1 * m + (T{1} - beta1) * d;
    v = beta2 * v + (T{1} - beta2) * d * d;
    p -= lr * (m * correction1 / (sqrt(v * correction2) + eps) + decay * p);
  }
};

/// Runs as a kernel takes them, by value, of which its parameters have room for so many. Block b works on the last run whose first_block is
/// not behind it.
struct Runs {
  static constexpr int most = 512;
  struct Part {
    int64_t begin, end;
    uint32_t first_block;
    bool decays, aligned;  // whether vectors of 16 bytes may be read from `begin` on
  };
  Part parts[most];
  int count = 0;
};

constexpr size_t most_parameter_bytes = 32764;  // of a kernel, from CUDA 12.1 and sm_70 on
static_assert(sizeof(Runs) + sizeof(Step<double>) + 4 * sizeof(void*) <= most_parameter_bytes);

/// Several elements a thread: at once where they lie aligned, else one by one.
template <int N, class T>
__global__ void __launch_bounds__(block_threads)
    adamw_kernel(const __grid_constant__ Runs runs, const __grid_constant__ Step<T> step, const T* g, T* p, T* m, T* v) {
  int low = 0, high = runs.count;  // the run lies in [low, high)
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    const bool reached = runs.parts[middle].first_block <= blockIdx.x;
    low = reached ? middle : low;
    high = reached ? high : middle;
  }
  const Runs::Part& run = runs.parts[low];
  const T decay = run.decays ? step.weight_decay : T{0};
  const int64_t i = run.begin + (static_cast<int64_t>(blockIdx.x - run.first_block) * blockDim.x + threadIdx.x) * N;
  if (run.aligned && i + N <= run.end) {
    const Several<T, N> gradient = load<N>(g + i);
    Several<T, N> param = load<N>(p + i), first = load<N>(m + i), second = load<N>(v + i);
#pragma unroll
    for (int k = 0; k < N; ++k) step.apply(decay, gradient.at[k], param.at[k], first.at[k], second.at[k]);
    store<N>(p + i, param);
    store<N>(m + i, first);
    store<N>(v + i, second);
  } else {
#pragma unroll 1
    for (int64_t k = i; k < i + N && k < run.end; ++k) step.apply(decay, g[k], p[k], m[k], v[k]);
  }
}

}  // namespace

void CudaBackend::adamw(const AdamWStep& step, const std::vector<UpdateRun>& runs, ConstTensor g, Tensor p, Tensor m, Tensor v) {
  checks::adamw(step, runs, g, p, m, v);
  const cudaStream_t stream = enqueue("adamw", g);
  for_wide("adamw", g.dtype(), [&]<class T>(T) {
    constexpr int N = std::is_same_v<T, double> ? 1 : per_16_bytes<T>;  // two doubles at once would spill a register
    for (std::span<const UpdateRun> left(runs); !left.empty(); left = left.subspan(std::min(left.size(), size_t{Runs::most}))) {
      Runs some{};
      uint32_t blocks = 0;
      for (const UpdateRun& run : left.first(std::min(left.size(), size_t{Runs::most}))) {
        const Slice at = run.slice;
        const bool aligned = aligned_16(g, p, m, v) && at.begin % N == 0;
        some.parts[some.count++] = {at.begin, at.end, blocks, run.decays, aligned};
        blocks += static_cast<uint32_t>(blocks_of(blocks_of(at.count(), N), block_threads));
      }
      launch(adamw_kernel<N, T>, blocks, block_threads, 0, stream, some, Step<T>(step), elements<T>(g), elements<T>(p), elements<T>(m),
             elements<T>(v));
    }
  });
}

}  // namespace lodestone
