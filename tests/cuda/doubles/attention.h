// What the double of liblodestone_cudnn.so (cudnn.cpp) was asked, and negative controls.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace lodestone::doubles {

struct AttentionDouble {
  int64_t asked = 0, refused = 0;  // plans
  int64_t alive = 0;               // plans that are not released
  int64_t executed = 0;            // plans, when they are enqueued
  std::string refuses{};           // a bucket whose description has this; empty: none. LODESTONE_DOUBLE_CUDNN_REFUSES says it too
  bool fails = false;              // executions, when they are to be enqueued
  int64_t offset_error = 0;        // tokens that ragged offsets are read off
  size_t workspace_bytes = 4096;   // of the plans that follow, all of which an execution overwrites
};

/// Since the process began, or since a test changed it.
AttentionDouble& attention_double();

}  // namespace lodestone::doubles
