// Attention as a graph of cuDNN: the one door to cuDNN and to the headers of its frontend, which take 40 seconds to compile.
#pragma once

#include <memory>
#include <string>

#include "core/cuda/attention_plan.h"

namespace lodestone::cudnn {

/// "9.19.0": of the library that is loaded.
std::string version();

/// What plans are made for: the GPU that is the present one when the first plan is made, or one that is only described.
class Target {
 public:
  Target();
  /// Plans for a GPU that is not here, which can be asked for their workspace and not executed. properties: what cuDNN writes of a GPU, as
  /// JSON (CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION); architecture: 90 is sm_90.
  Target(std::string properties, int architecture);
  ~Target();
  Target(const Target&) = delete;
  Target& operator=(const Target&) = delete;

  struct Parts;
  Parts& parts() { return *parts_; }

 private:
  std::unique_ptr<Parts> parts_;
};

/// A plan of a bucket that is built. The target must outlive it.
class AttentionGraph {
 public:
  /// Null where cuDNN has none: `reason` is what it says.
  static std::unique_ptr<AttentionGraph> make(Target& target, const cuda::AttentionBucket& bucket, std::string& reason);
  ~AttentionGraph();
  AttentionGraph(const AttentionGraph&) = delete;
  AttentionGraph& operator=(const AttentionGraph&) = delete;

  size_t workspace_bytes() const { return workspace_bytes_; }
  /// As AttentionLibrary::execute (core/cuda/attention_plan.h).
  bool execute(cudaStream_t stream, const cuda::AttentionOperands& operands, void* workspace, std::string& reason);

 private:
  struct Parts;
  AttentionGraph(Target& target, const cuda::AttentionBucket& bucket);
  /// What cuDNN says against it, or nothing.
  std::string build();

  Target& target_;
  const cuda::AttentionBucket bucket_;
  std::unique_ptr<Parts> parts_;
  size_t workspace_bytes_ = 0;
};

}  // namespace lodestone::cudnn
