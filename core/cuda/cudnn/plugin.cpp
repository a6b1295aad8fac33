// What core/cuda/attention_plans.cpp looks up here (AttentionLibrary of core/cuda/attention_plan.h).
#include <exception>
#include <memory>
#include <string>
#include <utility>

#include "core/cuda/cudnn/attention_graph.h"

using namespace lodestone;
using namespace lodestone::cuda;

struct lodestone::cuda::AttentionEngine {
  cudnn::Target target;
};

struct lodestone::cuda::AttentionPlan {
  std::unique_ptr<cudnn::AttentionGraph> graph;
};

namespace {

/// What `make` gives; null, and why, where it or the frontend throws.
template <class Make>
auto made(std::string& reason, const Make& make) -> decltype(make()) {
  try {
    return make();
  } catch (const std::exception& error) {
    reason = error.what();
    return {};
  }
}

}  // namespace

extern "C" {

AttentionEngine* lodestone_cudnn_open(std::string& version, std::string& reason) {
  return made(reason, [&]() -> AttentionEngine* {
    version = cudnn::version();
    reason = cudnn::against_library();
    return reason.empty() ? new AttentionEngine : nullptr;
  });
}

/// For tests where there is no GPU: plans for the one that is described (cudnn::Target).
AttentionEngine* lodestone_cudnn_open_for(const std::string& properties, int architecture, std::string& reason) {
  return made(reason, [&] { return new AttentionEngine{cudnn::Target(properties, architecture)}; });
}

void lodestone_cudnn_close(AttentionEngine* engine) { delete engine; }

AttentionPlan* lodestone_cudnn_plan(AttentionEngine& engine, const AttentionBucket& bucket, bool& supported, std::string& reason) {
  supported = true;
  return made(reason, [&]() -> AttentionPlan* {
    std::unique_ptr<cudnn::AttentionGraph> graph = cudnn::AttentionGraph::make(engine.target, bucket, supported, reason);
    return graph != nullptr ? new AttentionPlan{std::move(graph)} : nullptr;
  });
}

size_t lodestone_cudnn_workspace_bytes(const AttentionPlan& plan) { return plan.graph->workspace_bytes(); }

bool lodestone_cudnn_execute(AttentionPlan& plan, cudaStream_t stream, const AttentionOperands& operands, void* workspace,
                             std::string& reason) {
  return made(reason, [&] { return plan.graph->execute(stream, operands, workspace, reason); });
}

void lodestone_cudnn_release(AttentionPlan* plan) { delete plan; }

}  // extern "C"
