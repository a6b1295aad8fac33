// predict: how long would a GPU take for counted work, and what bounds it?
#pragma once

#include <array>
#include <span>

#include "core/null/work.h"
#include "launch/prediction/gpu_ceilings.h"

namespace lodestone {

// Assumptions, not measured. An operation's time is proportional to none of them, but the sum of a step may be.

/// What attention's kernels reach of the rate of mma.sync, either way. The instructions that run leave 0.61 to it where something is
/// dropped, as the machine code of sm_90a counts them, and cache asks for about as much (docs/cuda.md, "Own attention"); a fifth of it is
/// taken off for waiting. 0.5 of 494 TFLOP/s is 247; FlashAttention-2, which has the same instruction, is published with some 280 forward
/// at 512 tokens and heads of 64 on an H100 (beside FlashAttention-3, arXiv 2407.08608).
inline constexpr double attention_share = 0.5;
/// What driver and libraries take on the host for a launch, a product's heuristics cached.
inline constexpr double launch_s = 2.5e-6;
/// The same for a CUDA graph of some hundred kernels.
inline constexpr double graph_launch_s = 10e-6;
/// From the end of a kernel to the beginning of the next one in its stream: it drains, the other fills. In a graph too, where it may be
/// less.
inline constexpr double gap_s = 1e-6;
/// Of an exchange, however small, between ranks.
inline constexpr double exchange_s = 20e-6;
/// GPUs that a host has, between which the link is.
inline constexpr int gpus_of_a_host = 8;

/// What an operation, or a part of its time, is bounded by.
enum class Bound : uint8_t {
  products,   // FLOPs of matrix products
  other,      // other FLOPs
  bytes,      // device memory
  launches,   // gaps between kernels, and waiting for the host
  exchanges,  // waiting for other ranks' bytes
};
inline constexpr size_t bounds = 5;

constexpr std::string_view name_of(Bound value) {
  switch (value) {
    case Bound::products:
      return "products";
    case Bound::other:
      return "other FLOPs";
    case Bound::bytes:
      return "bytes";
    case Bound::launches:
      return "launches";
    case Bound::exchanges:
      return "exchanges";
  }
  return {};
}

/// Of one kind of work, or of all.
struct PredictedWork {
  int64_t operations = 0, launches = 0;
  double product_flops = 0, other_flops = 0, bytes = 0;
  std::array<double, bounds> seconds{};  // by what bounds them

  double total_s() const;
  /// What bounds most of it.
  Bound bound() const;
  PredictedWork& operator+=(const PredictedWork& other);
};

inline constexpr size_t work_kinds = static_cast<size_t>(WorkKind::joins) + 1;

struct Prediction {
  double step_s = 0;
  double host_s = 0;  // that the host is busy
  std::array<PredictedWork, work_kinds> kinds{};

  const PredictedWork& of(WorkKind kind) const { return kinds[static_cast<size_t>(kind)]; }
  PredictedWork all() const;
};

/// A roofline for each operation, in the order of the work. An operation takes the longest of its products' FLOPs, its other FLOPs and its
/// bytes, each by its ceiling, and a gap for each launch; it begins when the one before it has ended and the host has launched it, and what
/// the device waits counts as launches. The host takes launch_s a launch or upload that is in no graph, runs ahead, and waits where the
/// work says so. Exchanges go on beside, one after the other, from when what was asked for before them is done; what the device then waits
/// for them counts as exchanges. `ranks` decides whether they go by the link or by the network.
///
/// Left out: waves of blocks that do not fill the device, products' sizes (a product of few columns reaches no ceiling even where FLOPs
/// bound it), hits in the L2 cache, clocks that fall under load, uploads' own time. All but the cache make a step slower.
Prediction predict(std::span<const Work> work, const GpuCeilings& gpu, int ranks);

}  // namespace lodestone
