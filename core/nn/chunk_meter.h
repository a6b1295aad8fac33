// ChunkMeter: what an encoder keeps of a chunk of texts, found by a forward pass that computes nothing.
#pragma once

#include <memory>

#include "core/nn/encoder.h"
#include "core/null/dry_run.h"

namespace lodestone {

class ChunkMeter {
 public:
  /// Bytes of ex.arena that encoder.forward_saved(ex, texts, ...) keeps.
  size_t saved_bytes(const Exec& ex, const Encoder& encoder, const DeviceTexts& texts);

 private:
  std::unique_ptr<DryRun> dry_;  // for the first backend seen
};

}  // namespace lodestone
