// Losses of each query's own group, and CoSENT: core/group_losses.h and core/cosent.h, in double. One thread a group; CoSENT goes along its
// order with one thread in either direction, which is what is slow here for N above some thousands. Bytes: the scores and what stands
// beside them once (then from cache), the gradient read and written. FLOPs: at most 4 exponentials a score, and logarithms in the cascade;
// 5 exponentials a pair of CoSENT.
#include "core/checks.h"
#include "core/cuda/cuda_backend.h"
#include "core/cuda/device/sums.h"
#include "core/cuda/device/values.h"

namespace lodestone {

namespace {

using namespace cuda;

constexpr int block_threads = 128;

/// core/log_sum.h on the device.
struct LogSum {
  double largest = -INFINITY, sum = 0;
  __device__ void add(double x) {
    if (x == -INFINITY) return;
    if (x <= largest) {
      sum += exp(x - largest);
    } else {
      sum = sum * exp(largest - x) + 1;
      largest = x;
    }
  }
  __device__ double value() const { return largest + log(sum); }
};

__device__ double log_sum_exp(const double* x, int64_t n, double scale) {
  LogSum sum;
  for (int64_t g = 0; g < n; ++g) sum.add(scale * x[g]);
  return sum.value();
}
__device__ double softplus(double x) { return (x > 0 ? x : 0.0) + log1p(exp(-fabs(x))); }
__device__ double sigmoid(double x) { return x >= 0 ? 1 / (1 + exp(-x)) : exp(x) / (1 + exp(x)); }

// What one row s of G scores costs, and weight times its gradient, which is added to d. t: the teacher's scores, where there is one.
struct CrossEntropy {
  __device__ double operator()(const double* s, const double*, int64_t group, double weight, double* d) const {
    const double sum = log_sum_exp(s, group, 1);
    for (int64_t g = 0; g < group; ++g) d[g] += weight * (exp(s[g] - sum) - (g == 0 ? 1.0 : 0.0));
    return sum - s[0];
  }
};
struct BinaryCrossEntropy {
  __device__ double operator()(const double* s, const double*, int64_t group, double weight, double* d) const {
    const double share = 1 / static_cast<double>(group);
    double loss = 0;
    for (int64_t g = 0; g < group; ++g) {
      loss += share * softplus(g == 0 ? -s[g] : s[g]);
      d[g] += weight * share * (sigmoid(s[g]) - (g == 0 ? 1.0 : 0.0));
    }
    return loss;
  }
};
struct Distillation {
  double sharpness;
  bool entropy_removed;
  __device__ double operator()(const double* s, const double* t, int64_t group, double weight, double* d) const {
    const double student = log_sum_exp(s, group, 1), teacher = log_sum_exp(t, group, sharpness);
    double loss = 0;
    for (int64_t g = 0; g < group; ++g) {
      const double log_p = s[g] - student, log_w = sharpness * t[g] - teacher, w = exp(log_w);
      if (w > 0) loss += w * ((entropy_removed ? log_w : 0.0) - log_p);
      d[g] += weight * (exp(log_p) - w);
    }
    return loss;
  }
};
struct MarginMse {
  __device__ double operator()(const double* s, const double* t, int64_t group, double weight, double* d) const {
    const double share = 1 / static_cast<double>(group - 1);
    double loss = 0;
    for (int64_t g = 1; g < group; ++g) {
      const double difference = (s[0] - s[g]) - (t[0] - t[g]);
      loss += share * difference * difference;
      d[0] += 2 * weight * share * difference;
      d[g] -= 2 * weight * share * difference;
    }
    return loss;
  }
};

Distillation on_device(const GroupTeacherEntropy& loss) { return {1 / loss.temperature, loss.entropy == Entropy::removed}; }
CrossEntropy on_device(const GroupCrossEntropy&) { return {}; }
BinaryCrossEntropy on_device(const GroupBinaryCrossEntropy&) { return {}; }
MarginMse on_device(const GroupMarginMse&) { return {}; }

template <class Loss>
__global__ void __launch_bounds__(block_threads)
    group_loss_kernel(Loss loss, int64_t rows, int64_t group, const double* scores, const double* teacher, double weight, double* d_scores,
                      double* row_loss) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x, first = i * group;
  if (i >= rows) return;
  row_loss[i] = loss(scores + first, teacher == nullptr ? nullptr : teacher + first, group, weight, d_scores + first);
}

/// group_cascade() of core/group_losses.h for one row.
template <class T>
__global__ void __launch_bounds__(block_threads) cascade(int64_t rows, int64_t group, const double* scores, const int64_t* order,
                                                         const double* log_weights, T* others, double* d_scores, double* row_loss) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= rows) return;
  const double *const z = scores + i * group, *const log_w = log_weights + i * group;
  const int64_t* const place = order + i * group;
  double* const d = d_scores + i * group;
  LogSum denominator;
  denominator.add(static_cast<double>(others[i]));
  for (int64_t k = group; k-- > 0;) {
    denominator.add(z[place[k]]);
    d[place[k]] = denominator.value();
  }
  LogSum push;
  double loss = 0;
  for (int64_t k = 0; k < group; ++k) {
    const int64_t g = place[k];
    const double w = exp(log_w[g]);
    loss += w * (d[g] - z[g]);
    push.add(log_w[g] - d[g]);
    d[g] = exp(z[g] + push.value()) - w;
  }
  others[i] = static_cast<T>(-push.value());
  row_loss[i] = loss;
}

struct RowLoss {
  const double* loss;
  __device__ double operator()(int64_t i) const { return loss[i]; }
};

/// out[i] = log sum over the pairs that stand before i, with another gold score, of exp(slope cosine): block 0 upwards into out [N], block
/// 1 downwards with -slope into out + N.
__global__ void __launch_bounds__(warp_size)
    log_sums_before(int64_t n, const double* cosines, const double* gold, const int64_t* order, double slope, double* out) {
  if (threadIdx.x != 0) return;
  const bool up = blockIdx.x == 0;
  double* const to = up ? out : out + n;
  const double factor = up ? slope : -slope;
  const auto at = [&](int64_t k) { return order[up ? k : n - 1 - k]; };
  LogSum sum;
  for (int64_t begin = 0; begin < n;) {
    const double before = sum.value(), score = gold[at(begin)];
    int64_t end = begin;
    for (; end < n && gold[at(end)] == score; ++end) to[at(end)] = before;
    for (; begin < end; ++begin) sum.add(factor * cosines[at(begin)]);
  }
}

/// One block: log(1 + sum_i exp(below_i - scale cosine_i)), into loss; and total += share * it.
__global__ void __launch_bounds__(sum_threads)
    cosent_loss(int64_t n, const double* cosines, const double* below, double scale, double share, double* loss, double* total) {
  __shared__ double parts[warp_size];
  double top = 0;  // that of the 1
  for (int64_t i = threadIdx.x; i < n; i += blockDim.x) top = below[i] - scale * cosines[i] > top ? below[i] - scale * cosines[i] : top;
  top = reduce_block(top, Max{}, 0.0, parts);
  double sum = 0;
  for (int64_t i = threadIdx.x; i < n; i += blockDim.x) sum += exp(below[i] - scale * cosines[i] - top);
  sum = reduce_block(sum, Add{}, 0.0, parts);
  if (threadIdx.x != 0) return;
  *loss = top + log(exp(-top) + sum);
  *total += share * *loss;
}

__global__ void __launch_bounds__(block_threads)
    cosent_gradient(int64_t begin, int64_t n, const double* cosines, const double* below, const double* above, double scale, double weight,
                    const double* loss, double* d) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= n) return;
  const double x = scale * cosines[begin + i];
  d[i] = weight * scale * (exp(above[begin + i] + x - *loss) - exp(below[begin + i] - x - *loss));
}

}  // namespace

void CudaBackend::group_loss(const GroupLoss& loss, ConstTensor scores, ConstTensor teacher, double weight, Tensor d_scores, Tensor total) {
  checks::group_loss(loss, scores, teacher, d_scores, total);
  const int64_t rows = scores.dim(0), group = scores.dim(1);
  const cudaStream_t stream = enqueue("group_loss", scores);
  auto* const part = reinterpret_cast<double*>(scratch(static_cast<size_t>(most_parts + rows) * sizeof(double)));
  double* const row_loss = part + most_parts;
  std::visit(
      [&](const auto& which) {
        const auto kernel = on_device(which);
        launch(group_loss_kernel<std::remove_const_t<decltype(kernel)>>, blocks_of(rows, block_threads), block_threads, 0, stream, kernel,
               rows, group, elements<double>(scores), teacher.empty() ? nullptr : elements<double>(teacher), weight,
               elements<double>(d_scores), row_loss);
      },
      loss);
  sum(stream, rows, RowLoss{row_loss}, weight, Into::add, part, elements<double>(total));
}

void CudaBackend::group_cascade(ConstTensor scores, ConstTensor order, ConstTensor log_weights, Tensor others, Tensor d_scores,
                                Tensor total) {
  checks::group_cascade(scores, order, log_weights, others, d_scores, total);
  const int64_t rows = scores.dim(0);
  const cudaStream_t stream = enqueue("group_cascade", scores);
  auto* const part = reinterpret_cast<double*>(scratch(static_cast<size_t>(most_parts + rows) * sizeof(double)));
  double* const row_loss = part + most_parts;
  for_wide("group_cascade", others.dtype(), [&]<class T>(T) {
    launch(cascade<T>, blocks_of(rows, block_threads), block_threads, 0, stream, rows, scores.dim(1), elements<double>(scores),
           elements<int64_t>(order), elements<double>(log_weights), elements<T>(others), elements<double>(d_scores), row_loss);
  });
  sum(stream, rows, RowLoss{row_loss}, 1.0, Into::add, part, elements<double>(total));
}

void CudaBackend::cosent(ConstTensor cosines, ConstTensor gold, ConstTensor order, double temperature, double weight, Slice own,
                         Tensor work, Tensor d_cosines, Tensor total) {
  checks::cosent(cosines, gold, order, own, work, d_cosines, total);
  const int64_t n = cosines.count();
  if (n == 0) return;
  const cudaStream_t stream = enqueue("cosent", cosines);
  const double scale = 1 / temperature, share = weight * static_cast<double>(own.count()) / static_cast<double>(n);
  double *const below = elements<double>(work), *const above = below + n, *const loss = above + n;
  launch(log_sums_before, 2, warp_size, 0, stream, n, elements<double>(cosines), elements<double>(gold), elements<int64_t>(order), scale,
         below);
  launch(cosent_loss, 1, sum_threads, 0, stream, n, elements<double>(cosines), below, scale, share, loss, elements<double>(total));
  launch(cosent_gradient, blocks_of(own.count(), block_threads), block_threads, 0, stream, own.begin, own.count(),
         elements<double>(cosines), below, above, scale, weight, loss, elements<double>(d_cosines));
}

}  // namespace lodestone
