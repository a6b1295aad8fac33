// What a program asked of the GPU that nobody has.
#pragma once

#include <cstdint>

namespace lodestone::doubles {

struct Counts {
  int64_t kernels = 0;
  int64_t products = 0;  // calls of cublasLtMatmul
  int64_t choices = 0;   // of an algorithm for them
  int64_t fills = 0;
  int64_t uploads = 0, downloads = 0, device_copies = 0;
  int64_t uploaded_bytes = 0, downloaded_bytes = 0;
  int64_t event_records = 0;
  int64_t stream_waits = 0;  // of a stream for an event
  int64_t host_waits = 0;    // for a stream or an event
  int64_t questions = 0;     // whether a stream or an event is over, by which a host waits too
  int64_t verbs = 0;         // of NCCL: calls, or groups of them
  int64_t verb_bytes = 0;    // that this rank puts in
  // What a stream captures is counted here, and nowhere above; of the copies of a graph no bytes are.
  int64_t nodes = 0;   // recorded: kernels, products, fills, copies, executions of cuDNN's double
  int64_t graphs = 0;  // captured to the end
  int64_t graph_launches = 0;

  /// What the host enqueues for the GPU to compute.
  int64_t launches() const { return kernels + products + fills + device_copies + graph_launches; }
};

/// Since the process began, or since somebody cleared them.
Counts& counts();

}  // namespace lodestone::doubles
