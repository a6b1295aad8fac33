// Attention as a graph of cuDNN: the one door to cuDNN and to the headers of its frontend, which take 40 seconds to compile.
#pragma once

#include <driver_types.h>

#include <cstddef>
#include <memory>
#include <string>

#include "core/cuda/attention_plan.h"

namespace lodestone::cudnn {

/// "9.19.0": of the library that is loaded.
std::string version();
/// Why the library that is loaded cannot be taken (versions.h), or nothing.
std::string against_library();

/// What plans are made for: a GPU that is here, or one that is only described.
class Target {
 public:
  /// The present GPU. Throws std::runtime_error with what cuDNN says where it cannot start there.
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
  /// As AttentionLibrary::plan.
  static std::unique_ptr<AttentionGraph> make(Target& target, const cuda::AttentionBucket& bucket, bool& supported, std::string& reason);
  ~AttentionGraph();
  AttentionGraph(const AttentionGraph&) = delete;
  AttentionGraph& operator=(const AttentionGraph&) = delete;

  size_t workspace_bytes() const { return workspace_bytes_; }
  /// As AttentionLibrary::execute (core/cuda/attention_plan.h).
  bool execute(cudaStream_t stream, const cuda::AttentionOperands& operands, void* workspace, std::string& reason);

 private:
  struct Parts;
  AttentionGraph(Target& target, const cuda::AttentionBucket& bucket);
  /// What cuDNN says against it, or nothing, and whether it says that it has none.
  std::string build(bool& supported);

  Target& target_;
  const cuda::AttentionBucket bucket_;
  std::unique_ptr<Parts> parts_;
  size_t workspace_bytes_ = 0;
};

}  // namespace lodestone::cudnn
