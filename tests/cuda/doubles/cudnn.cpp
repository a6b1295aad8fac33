// The double of liblodestone_cudnn.so: the seam of core/cuda/attention_plan.h by plain loops on the memory of the runtime's double. It
// rounds as flash attention does: sums are in f32, and what products on tensor cores take is in bf16, the probabilities and their gradients
// too. What is enqueued runs when its stream does, and reads lengths, offsets and seeds only then. It drops by the number of a text, as the
// real one does, though not the same elements. It looks at what the real one does not: alignments, offsets and lengths that do not fit each
// other or the bucket, a workspace that is no device memory, and what lies in no memory.
#include <cuda_bf16.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "core/cuda/attention_plans.h"
#include "core/rng.h"
#include "tests/cuda/doubles/attention.h"
#include "tests/cuda/doubles/graphs.h"
#include "tests/cuda/doubles/runtime.h"
#include "tests/cuda/doubles/streams.h"

using namespace lodestone::cuda;
using namespace lodestone::doubles;

struct lodestone::cuda::AttentionEngine {};

struct lodestone::cuda::AttentionPlan {
  AttentionBucket bucket;
  size_t workspace_bytes = 0;
};

namespace {

using bf16 = __nv_bfloat16;

void need_aligned(const void* p, size_t bytes) {
  if (p == nullptr || reinterpret_cast<uintptr_t>(p) % bytes != 0) fail("attention on an operand that is not there, or not aligned");
}

/// An execution, by value.
class Attention {
 public:
  Attention(const AttentionPlan& plan, const AttentionOperands& operands, void* workspace)
      : bucket_(plan.bucket),
        operands_(operands),
        workspace_(workspace),
        workspace_bytes_(plan.workspace_bytes),
        damaged_(attention_double().damaged) {}

  void run() const {
    damage_places();
    check_places();
    std::memset(workspace_, 0x7f, workspace_bytes_);
    for (int64_t b = 0; b < bucket_.texts; ++b)
      for (int64_t a = 0; a < bucket_.heads && operands_.lengths[b] > 0; ++a)
        if (back())
          backward(b, a);
        else
          forward(b, a);
  }

 private:
  bool back() const { return bucket_.way == AttentionWay::backward; }
  bool drops() const { return bucket_.dropout > 0; }
  int64_t hidden() const { return bucket_.heads * bucket_.head_size; }
  float scale() const { return 1 / std::sqrt(static_cast<float>(bucket_.head_size)); }

  void need_memory(const void* p, int64_t rows, int64_t row, size_t element) const {
    if (rows > 0 && !is_device_memory(p, static_cast<size_t>(rows * row) * element)) fail("attention beyond its memory");
  }

  /// Puts the second text a token further in what the kernel wrote just now, as AttentionDouble::damaged says.
  void damage_places() const {
    if (damaged_ == 1) ++const_cast<int32_t*>(operands_.lengths)[0];
    if (damaged_ == 2) const_cast<int64_t*>(operands_.qkv_offsets)[1] += 3 * hidden();
    if (damaged_ == 3) const_cast<int64_t*>(operands_.ctx_offsets)[1] += hidden();
    if (damaged_ == 4) const_cast<int64_t*>(operands_.lse_offsets)[1] += bucket_.heads;
  }

  /// Offsets of all operands are those of one division into texts, within the bucket.
  void check_places() const {
    const auto B = static_cast<size_t>(bucket_.texts);
    need_memory(operands_.lengths, bucket_.texts, 1, sizeof(int32_t));
    for (const int64_t* const offsets : {operands_.qkv_offsets, operands_.ctx_offsets, operands_.lse_offsets})
      need_memory(offsets, bucket_.texts + 1, 1, sizeof(int64_t));
    int64_t tokens = 0;
    for (size_t b = 0; b <= B; ++b) {
      if (operands_.lse_offsets[b] != tokens * bucket_.heads || operands_.ctx_offsets[b] != tokens * hidden() ||
          operands_.qkv_offsets[b] != tokens * 3 * hidden())
        fail("offsets of attention that are not the sums of its lengths");
      if (b == B) break;
      if (operands_.lengths[b] < 0 || operands_.lengths[b] > bucket_.longest) fail("a text that is longer than its bucket's");
      tokens += operands_.lengths[b];
    }
    if (back() && tokens > bucket_.tokens) fail("more tokens than the bucket has");
    need_memory(operands_.qkv, tokens, 3 * hidden(), sizeof(bf16));
    need_memory(back() ? operands_.ctx : operands_.to_ctx, tokens, hidden(), sizeof(bf16));
    need_memory(back() ? operands_.lse : operands_.to_lse, tokens, bucket_.heads, sizeof(float));
    if (back()) need_memory(operands_.d_ctx, tokens, hidden(), sizeof(bf16));
    if (back()) need_memory(operands_.to_d_qkv, tokens, 3 * hidden(), sizeof(bf16));
    for (const int64_t* const drawn : {operands_.seed, operands_.seed_offset})
      if (drops()) need_memory(drawn, 1, 1, sizeof(int64_t));
    if (workspace_bytes_ > 0 && !is_device_memory(workspace_, workspace_bytes_)) fail("a workspace that is too short");
  }

  /// Where a row of a head begins, by the offsets of its text alone: of qkv with the column of q, k or v.
  int64_t qkv_place(int64_t b, int64_t i, int64_t a, int64_t which) const {
    return operands_.qkv_offsets[b] + i * 3 * hidden() + which * hidden() + a * bucket_.head_size;
  }
  int64_t ctx_place(int64_t b, int64_t i, int64_t a) const { return operands_.ctx_offsets[b] + i * hidden() + a * bucket_.head_size; }
  int64_t lse_place(int64_t b, int64_t i, int64_t a) const { return operands_.lse_offsets[b] + i * bucket_.heads + a; }

  /// What probability j of row i is multiplied with.
  float factor(int64_t b, int64_t a, size_t i, size_t j) const {
    if (!drops()) return 1;
    const lodestone::Key key = lodestone::Key(static_cast<uint64_t>(*operands_.seed)).with(static_cast<uint64_t>(*operands_.seed_offset));
    const uint32_t bits = lodestone::dropout_bits(key, static_cast<uint64_t>(b), static_cast<uint32_t>(a << 16) | static_cast<uint32_t>(i),
                                                  static_cast<uint32_t>(j));
    return bits < bucket_.dropout ? 0 : 1 / (1 - static_cast<float>(bucket_.dropout) / 65536);
  }

  std::vector<float> read(const void* from, int64_t place) const {
    std::vector<float> row(static_cast<size_t>(bucket_.head_size));
    for (size_t d = 0; d < row.size(); ++d) row[d] = __bfloat162float(static_cast<const bf16*>(from)[place + static_cast<int64_t>(d)]);
    return row;
  }
  static void write(void* to, int64_t place, const std::vector<float>& row) {
    for (size_t d = 0; d < row.size(); ++d) static_cast<bf16*>(to)[place + static_cast<int64_t>(d)] = __float2bfloat16(row[d]);
  }
  std::vector<std::vector<float>> rows_of_qkv(int64_t b, int64_t a, int64_t which) const {
    std::vector<std::vector<float>> rows;
    for (int64_t i = 0; i < operands_.lengths[b]; ++i) rows.push_back(read(operands_.qkv, qkv_place(b, i, a, which)));
    return rows;
  }
  static float in_bf16(float x) { return __bfloat162float(__float2bfloat16(x)); }
  static float dot(const std::vector<float>& x, const std::vector<float>& y) {
    float sum = 0;
    for (size_t d = 0; d < x.size(); ++d) sum += x[d] * y[d];
    return sum;
  }
  static void add(float factor, const std::vector<float>& x, std::vector<float>& to) {
    for (size_t d = 0; d < x.size(); ++d) to[d] += factor * x[d];
  }

  void forward(int64_t b, int64_t a) const {
    const auto q = rows_of_qkv(b, a, 0), k = rows_of_qkv(b, a, 1), v = rows_of_qkv(b, a, 2);
    for (size_t i = 0; i < q.size(); ++i) {
      std::vector<float> scores(k.size()), c(q[i].size());
      float top = -std::numeric_limits<float>::infinity(), sum = 0;
      for (size_t j = 0; j < k.size(); ++j) top = std::max(top, scores[j] = scale() * dot(q[i], k[j]));
      for (const float s : scores) sum += std::exp(s - top);
      const float lse = top + std::log(sum);
      for (size_t j = 0; j < k.size(); ++j) add(in_bf16(std::exp(scores[j] - top)) * factor(b, a, i, j), v[j], c);
      for (float& x : c) x /= sum;
      write(operands_.to_ctx, ctx_place(b, static_cast<int64_t>(i), a), c);
      operands_.to_lse[lse_place(b, static_cast<int64_t>(i), a)] = lse;
    }
  }

  void backward(int64_t b, int64_t a) const {
    const auto q = rows_of_qkv(b, a, 0), k = rows_of_qkv(b, a, 1), v = rows_of_qkv(b, a, 2);
    std::vector<std::vector<float>> d_q(q.size(), std::vector<float>(q[0].size())), d_k = d_q, d_v = d_q;
    for (size_t i = 0; i < q.size(); ++i) {
      const auto row = static_cast<int64_t>(i);
      const auto c = read(operands_.ctx, ctx_place(b, row, a)), d_c = read(operands_.d_ctx, ctx_place(b, row, a));
      const float delta = dot(c, d_c), lse = operands_.lse[lse_place(b, row, a)];
      for (size_t j = 0; j < k.size(); ++j) {
        const float p = std::exp(scale() * dot(q[i], k[j]) - lse), z = factor(b, a, i, j), d_s = in_bf16(p * (z * dot(d_c, v[j]) - delta));
        add(in_bf16(p) * z, d_c, d_v[j]);
        add(d_s * scale(), k[j], d_q[i]);
        add(d_s * scale(), q[i], d_k[j]);
      }
    }
    for (size_t i = 0; i < q.size(); ++i) {
      const auto row = static_cast<int64_t>(i);
      write(operands_.to_d_qkv, qkv_place(b, row, a, 0), d_q[i]);
      write(operands_.to_d_qkv, qkv_place(b, row, a, 1), d_k[i]);
      write(operands_.to_d_qkv, qkv_place(b, row, a, 2), d_v[i]);
    }
  }

  AttentionBucket bucket_;
  AttentionOperands operands_;
  void* workspace_;
  size_t workspace_bytes_;
  int damaged_;  // as AttentionDouble::damaged
};

}  // namespace

extern "C" {

AttentionEngine* lodestone_cudnn_open(std::string& version, std::string& reason) {
  version = "9.19.0";
  reason = attention_double().why_not;
  if (!reason.empty()) return nullptr;
  return new AttentionEngine;
}

void lodestone_cudnn_close(AttentionEngine* engine) {
  if (attention_double().alive > 0) fail("plans outlive their engine");
  delete engine;
}

AttentionPlan* lodestone_cudnn_plan(AttentionEngine&, const AttentionBucket& bucket, bool& supported, std::string& reason) {
  AttentionDouble& state = attention_double();
  ++state.asked;
  supported = true;
  if (state.plans_fail) {
    reason = "CUDNN_STATUS_ALLOC_FAILED";
    return nullptr;
  }
  const std::string text = describe(bucket);
  if (!state.refuses.empty() && text.find(state.refuses) != std::string::npos) {
    ++state.refused;
    supported = false;
    reason = "this double was told to refuse it";
    return nullptr;
  }
  ++state.alive;
  return new AttentionPlan{bucket, state.workspace_bytes};
}

size_t lodestone_cudnn_workspace_bytes(const AttentionPlan& plan) { return plan.workspace_bytes; }

bool lodestone_cudnn_execute(AttentionPlan& plan, cudaStream_t stream, const AttentionOperands& operands, void* workspace,
                             std::string& reason) {
  const bool back = plan.bucket.way == AttentionWay::backward;
  for (const void* const p :
       {operands.qkv, back ? operands.ctx : operands.to_ctx, static_cast<const void*>(back ? operands.lse : operands.to_lse),
        static_cast<const void*>(operands.lengths), static_cast<const void*>(operands.qkv_offsets),
        static_cast<const void*>(operands.ctx_offsets), static_cast<const void*>(operands.lse_offsets)})
    need_aligned(p, 16);
  if (back) need_aligned(operands.d_ctx, 16);
  if (back) need_aligned(operands.to_d_qkv, 16);
  for (const int64_t* const drawn : {operands.seed, operands.seed_offset})
    if (plan.bucket.dropout > 0) need_aligned(drawn, 16);
  if (plan.workspace_bytes > 0) need_aligned(workspace, 256);
  if (attention_double().fails || counted(stream, attention_double().executed) != cudaSuccess) {
    reason = "CUDNN_STATUS_EXECUTION_FAILED";
    return false;
  }
  if (dropping()) return true;
  enqueue(stream, [run = Attention(plan, operands, workspace)] { run.run(); });
  return true;
}

void lodestone_cudnn_release(AttentionPlan* plan) {
  --attention_double().alive;
  delete plan;
}

}  // extern "C"
