#include "core/cuda/cudnn/attention_graph.h"

#include <cudnn_frontend.h>

#include <cmath>
#include <functional>
#include <initializer_list>
#include <stdexcept>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/cuda/cudnn/versions.h"

namespace lodestone::cudnn {

namespace {

namespace fe = cudnn_frontend;
using cuda::AttentionBucket;
using cuda::AttentionOperands;
using cuda::AttentionWay;
using fe::graph::Graph;
using fe::graph::Tensor_attributes;
using Tensor = std::shared_ptr<Tensor_attributes>;

/// By which execute() finds the tensors of a graph.
enum Name : int64_t {
  uid_q = 1,
  uid_k,
  uid_v,
  uid_ctx,
  uid_lse,
  uid_d_ctx,
  uid_d_q,
  uid_d_k,
  uid_d_v,
  uid_lengths_of_q,
  uid_lengths_of_k,
  uid_qkv_offsets,
  uid_ctx_offsets,
  uid_lse_offsets,
  uid_seed,
  uid_seed_offset
};

/// What the frontend returns, and what the library said last, where it is an error.
std::string said(fe::error_t status) {
  if (status.is_good()) return {};
  char last[1024] = {};
  cudnnGetLastErrorString(last, sizeof last);
  std::string text = status.get_message();
  if (text.empty()) text = "error " + std::to_string(static_cast<int>(status.get_code()));
  if (last[0] != '\0') text += std::string(" (") + last + ")";
  for (char& c : text)
    if (c == '\n') c = ' ';
  return text;
}

/// Whether that is a refusal: by the frontend, which knows what the library takes, or by the library, which names its status or has no
/// engine. Whatever else went wrong, memory say, is none.
bool is_refusal(fe::error_t status, const std::string& text) {
  if (status.get_code() == fe::error_code_t::GRAPH_NOT_SUPPORTED) return true;
  for (const char* const words : {"NOT_SUPPORTED", "not supported", "No valid engine configs", "No execution plans support"})
    if (text.find(words) != std::string::npos) return true;
  return false;
}

/// The tensors of a bucket, [B,A,T,D] over rows of qkv or of ctx, whose texts begin where their ragged offsets say.
class Tensors {
 public:
  Tensors(Graph& graph, const AttentionBucket& bucket)
      : graph_(graph),
        b_(bucket),
        hidden_(bucket.heads * bucket.head_size),
        of_qkv_(vector(uid_qkv_offsets, b_.texts + 1, fe::DataType_t::INT64)),
        of_ctx_(vector(uid_ctx_offsets, b_.texts + 1, fe::DataType_t::INT64)),
        of_lse_(vector(uid_lse_offsets, b_.texts + 1, fe::DataType_t::INT64)) {}

  Tensor input_of_qkv(Name name) { return graph_.tensor(Tensor_attributes(*shape_qkv(std::make_shared<Tensor_attributes>(), name))); }
  Tensor input_of_ctx(Name name) { return graph_.tensor(Tensor_attributes(*shape_ctx(std::make_shared<Tensor_attributes>(), name))); }
  Tensor input_lse() { return graph_.tensor(Tensor_attributes(*shape_lse(std::make_shared<Tensor_attributes>()))); }
  Tensor lengths(Name name) { return vector(name, b_.texts, fe::DataType_t::INT32); }
  /// Adds the bucket's dropout, where it has some, to the attributes of either way.
  template <class Attributes>
  Attributes with_dropout(Attributes attributes) {
    if (b_.dropout == 0) return attributes;
    return attributes.set_dropout(static_cast<float>(b_.dropout) / 65536, vector(uid_seed, 1, fe::DataType_t::INT64),
                                  vector(uid_seed_offset, 1, fe::DataType_t::INT64));
  }

  Tensor shape_qkv(Tensor t, Name name) const { return shape(std::move(t), name, 3 * hidden_, of_qkv_); }
  Tensor shape_ctx(Tensor t, Name name) const { return shape(std::move(t), name, hidden_, of_ctx_); }
  /// [B,A,T,1] over rows of A.
  Tensor shape_lse(Tensor t) const {
    t->set_uid(uid_lse)
        .set_dim({b_.texts, b_.heads, b_.longest, 1})
        .set_stride({b_.longest * b_.heads, 1, b_.heads, 1})
        .set_data_type(fe::DataType_t::FLOAT)
        .set_ragged_offset(of_lse_);
    return t;
  }

 private:
  Tensor vector(Name name, int64_t size, fe::DataType_t type) {
    return graph_.tensor(Tensor_attributes().set_uid(name).set_dim({size, 1, 1, 1}).set_stride({1, 1, 1, 1}).set_data_type(type));
  }
  Tensor shape(Tensor t, Name name, int64_t row, const Tensor& offsets) const {
    t->set_uid(name)
        .set_dim({b_.texts, b_.heads, b_.longest, b_.head_size})
        .set_stride({b_.longest * row, b_.head_size, row, 1})
        .set_ragged_offset(offsets);
    return t;
  }

  Graph& graph_;
  const AttentionBucket& b_;
  int64_t hidden_;
  Tensor of_qkv_, of_ctx_, of_lse_;
};

float scale_of(const AttentionBucket& bucket) { return 1 / std::sqrt(static_cast<float>(bucket.head_size)); }

void add_forward(Graph& graph, const AttentionBucket& bucket) {
  Tensors tensors(graph, bucket);
  const Tensor of_q = tensors.input_of_qkv(uid_q), of_k = tensors.input_of_qkv(uid_k), of_v = tensors.input_of_qkv(uid_v);
  const auto [out, sums] = graph.sdpa(of_q, of_k, of_v,
                                      tensors.with_dropout(fe::graph::SDPA_attributes()
                                                               .set_name("attention")
                                                               .set_generate_stats(true)
                                                               .set_attn_scale(scale_of(bucket))
                                                               .set_padding_mask(true)
                                                               .set_seq_len_q(tensors.lengths(uid_lengths_of_q))
                                                               .set_seq_len_kv(tensors.lengths(uid_lengths_of_k))));
  tensors.shape_ctx(out, uid_ctx)->set_output(true);
  tensors.shape_lse(sums)->set_output(true);
}

void add_backward(Graph& graph, const AttentionBucket& bucket) {
  Tensors tensors(graph, bucket);
  const Tensor of_q = tensors.input_of_qkv(uid_q), of_k = tensors.input_of_qkv(uid_k), of_v = tensors.input_of_qkv(uid_v);
  const Tensor out = tensors.input_of_ctx(uid_ctx), d_out = tensors.input_of_ctx(uid_d_ctx), sums = tensors.input_lse();
  const auto [to_q, to_k, to_v] = graph.sdpa_backward(of_q, of_k, of_v, out, d_out, sums,
                                                      tensors.with_dropout(fe::graph::SDPA_backward_attributes()
                                                                               .set_name("attention")
                                                                               .set_attn_scale(scale_of(bucket))
                                                                               .set_padding_mask(true)
                                                                               .set_seq_len_q(tensors.lengths(uid_lengths_of_q))
                                                                               .set_seq_len_kv(tensors.lengths(uid_lengths_of_k))
                                                                               .set_max_total_seq_len_q(bucket.tokens)
                                                                               .set_max_total_seq_len_kv(bucket.tokens)
                                                                               .set_deterministic_algorithm(true)));
  tensors.shape_qkv(to_q, uid_d_q)->set_output(true);
  tensors.shape_qkv(to_k, uid_d_k)->set_output(true);
  tensors.shape_qkv(to_v, uid_d_v)->set_output(true);
}

}  // namespace

std::string version() { return version_text(cudnnGetVersion()); }

std::string against_library() { return against_version(cudnnGetVersion(), cudnnGetCudartVersion(), CUDART_VERSION / 1000); }

struct Target::Parts {
  cudnnHandle_t handle = nullptr;
  std::string properties;  // empty: of the GPU that is here
  int architecture = 0;

  /// Makes the graph one for this target, before it has a node. What is said against that, or nothing.
  std::string prepare(Graph& graph) {
    if (properties.empty()) return {};
    auto described = std::make_shared<fe::DeviceProperties>();
    std::string against = said(described->deserialize({properties.begin(), properties.end()}));
    if (!against.empty()) return against;
    graph.set_device_properties(described);
    graph.set_sm_version(architecture);
    return {};
  }
};

Target::Target() : parts_(std::make_unique<Parts>()) {
  if (const cudnnStatus_t status = cudnnCreate(&parts_->handle); status != CUDNN_STATUS_SUCCESS)
    throw std::runtime_error(cudnnGetErrorString(status));
}
Target::Target(std::string properties, int architecture)
    : parts_(std::make_unique<Parts>(Parts{nullptr, std::move(properties), architecture})) {}
Target::~Target() {
  if (parts_->handle != nullptr) cudnnDestroy(parts_->handle);
}

struct AttentionGraph::Parts {
  Graph graph;
};

AttentionGraph::AttentionGraph(Target& target, const AttentionBucket& bucket)
    : target_(target), bucket_(bucket), parts_(std::make_unique<Parts>()) {}
AttentionGraph::~AttentionGraph() = default;

std::string AttentionGraph::build(bool& supported) {
  Graph& graph = parts_->graph;
  if (std::string against = target_.parts().prepare(graph); !against.empty()) return against;
  graph.set_io_data_type(fe::DataType_t::BFLOAT16)
      .set_intermediate_data_type(fe::DataType_t::FLOAT)
      .set_compute_data_type(fe::DataType_t::FLOAT);
  if (bucket_.way == AttentionWay::forward)
    add_forward(graph, bucket_);
  else
    add_backward(graph, bucket_);
  int64_t bytes = 0;
  const cudnnHandle_t handle = target_.parts().handle;
  for (const auto& step : std::initializer_list<std::function<fe::error_t()>>{
           [&] { return graph.validate(); },
           [&] { return handle != nullptr ? graph.build_operation_graph(handle) : graph.build_operation_graph(); },
           [&] { return graph.create_execution_plans({fe::HeurMode_t::A}); },
           [&] { return graph.deselect_numeric_notes({fe::NumericalNote_t::NONDETERMINISTIC}).check_support(); },
           [&] { return graph.build_plans(); },
           [&] { return graph.get_workspace_size(bytes); },
       })
    if (fe::error_t status = step(); status.is_bad()) {
      std::string against = said(status);
      supported = !is_refusal(status, against);
      return against;
    }
  workspace_bytes_ = static_cast<size_t>(bytes);
  return {};
}

std::unique_ptr<AttentionGraph> AttentionGraph::make(Target& target, const AttentionBucket& bucket, bool& supported, std::string& reason) {
  std::unique_ptr<AttentionGraph> made(new AttentionGraph(target, bucket));
  supported = true;
  reason = made->build(supported);
  return reason.empty() ? std::move(made) : nullptr;
}

bool AttentionGraph::execute(cudaStream_t stream, const AttentionOperands& operands, void* workspace, std::string& reason) {
  const cudnnHandle_t handle = target_.parts().handle;
  if (handle == nullptr) {
    reason = "a plan for a GPU that is not here cannot be executed";
    return false;
  }
  // The frontend takes addresses of what is read and what is written alike.
  const auto at = [](const void* p, int64_t elements) {
    return const_cast<char*>(static_cast<const char*>(p)) + elements * static_cast<int64_t>(sizeof(uint16_t));
  };
  const int64_t hidden = bucket_.heads * bucket_.head_size;
  std::unordered_map<int64_t, void*> all{{uid_q, at(operands.qkv, 0)},
                                         {uid_k, at(operands.qkv, hidden)},
                                         {uid_v, at(operands.qkv, 2 * hidden)},
                                         {uid_lengths_of_q, at(operands.lengths, 0)},
                                         {uid_lengths_of_k, at(operands.lengths, 0)},
                                         {uid_qkv_offsets, at(operands.qkv_offsets, 0)},
                                         {uid_ctx_offsets, at(operands.ctx_offsets, 0)},
                                         {uid_lse_offsets, at(operands.lse_offsets, 0)}};
  if (bucket_.way == AttentionWay::forward) {
    all[uid_ctx] = operands.to_ctx;
    all[uid_lse] = operands.to_lse;
  } else {
    all[uid_ctx] = at(operands.ctx, 0);
    all[uid_lse] = at(operands.lse, 0);
    all[uid_d_ctx] = at(operands.d_ctx, 0);
    all[uid_d_q] = at(operands.to_d_qkv, 0);
    all[uid_d_k] = at(operands.to_d_qkv, hidden);
    all[uid_d_v] = at(operands.to_d_qkv, 2 * hidden);
  }
  if (bucket_.dropout > 0) {
    all[uid_seed] = at(operands.seed, 0);
    all[uid_seed_offset] = at(operands.seed_offset, 0);
  }
  if (const cudnnStatus_t status = cudnnSetStream(handle, stream); status != CUDNN_STATUS_SUCCESS) {
    reason = cudnnGetErrorString(status);
    return false;
  }
  reason = said(parts_->graph.execute(handle, all, workspace));
  return reason.empty();
}

}  // namespace lodestone::cudnn
