// ChunkMeter: what an encoder keeps of a chunk of texts, found by a forward pass that computes nothing.
#pragma once

#include <memory>

#include "core/nn/encoder.h"

namespace lodestone {

class DryRun;

class ChunkMeter {
 public:
  ChunkMeter();
  ~ChunkMeter();
  /// Bytes of ex.arena that encoder.forward_saved(ex, texts, ...) keeps.
  size_t saved_bytes(const Exec& ex, const Encoder& encoder, const DeviceTexts& texts);

 private:
  std::unique_ptr<DryRun> dry_;
  const Backend* of_ = nullptr;  // what dry_ stands for
};

}  // namespace lodestone
