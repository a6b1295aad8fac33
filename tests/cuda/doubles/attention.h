// What the double of liblodestone_cudnn.so (cudnn.cpp) was asked, and negative controls.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace lodestone::doubles {

struct AttentionDouble {
  int64_t asked = 0, refused = 0;  // plans
  int64_t alive = 0;               // plans that are not released
  int64_t executed = 0;            // plans, when they are enqueued; none that a graph runs
  std::string refuses{};           // a bucket whose description has this; empty: none. LODESTONE_DOUBLE_CUDNN_REFUSES says it too
  std::string why_not{};           // it does not open; empty: it does
  bool plans_fail = false;         // not refused: as where there is no memory
  bool fails = false;              // executions, when they are to be enqueued
  int damaged = 0;                 // of what says where texts lie: 1 lengths, 2 to 4 offsets of qkv, ctx, lse; 0: nothing
  size_t workspace_bytes = 4096;   // of the plans that follow, all of which an execution overwrites
};

/// Since the process began, or since a test changed it.
AttentionDouble& attention_double();

}  // namespace lodestone::doubles
