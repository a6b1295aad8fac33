// Measures the gradient sum against one whole all-reduce of the MPI library.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "core/backend.h"

namespace lodestone {

/// One way to sum a vector over ranks. The slowest rank's times.
struct ReduceTiming {
  std::string name;
  double median_s = 0, fastest_s = 0, slowest_s = 0;
  double bus_gb_s = 0;  // 2 (W-1)/W bytes / median: what each rank sends and receives at least, as nccl-tests counts it
};

struct ReduceBench {
  int ranks = 1;
  int64_t bytes = 0;
  std::vector<ReduceTiming> ways;  // the whole all-reduce first; empty in a world of one
};

/// Collective. Sums `bytes` of f32 `repeats` times by each way in turn, so that all ways see the same disturbances.
/// piece_bytes: GradSync pieces to try. In the memory of `backend`, the host's.
ReduceBench measure_reduce(Communicator& comm, Backend& backend, int64_t bytes, int repeats, std::span<const int64_t> piece_bytes);

}  // namespace lodestone
