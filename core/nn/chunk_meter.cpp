#include "core/nn/chunk_meter.h"

#include "core/null/dry_run.h"

namespace lodestone {

ChunkMeter::ChunkMeter() = default;
ChunkMeter::~ChunkMeter() = default;

size_t ChunkMeter::saved_bytes(const Exec& ex, const Encoder& encoder, const DeviceTexts& texts) {
  if (of_ != &ex.backend) {
    dry_ = std::make_unique<DryRun>(ex.backend, ScratchCount::left_out);
    of_ = &ex.backend;
  }
  Exec dry = dry_->exec(ex);
  const auto scope = dry.arena.scope();
  const Tensor emb = dry.arena.tensor(dry.wide(), {texts.given_texts(), encoder.config().embedding()});
  const size_t before = dry.arena.used_bytes();
  encoder.forward_saved(dry, texts, emb);
  return dry.arena.used_bytes() - before;
}

}  // namespace lodestone
