// MaskedChunk: what is predicted in a chunk of masked texts, in the chunk's order.
#pragma once

#include <vector>

#include "core/batch.h"
#include "core/exec.h"
#include "core/nn/mlm_decoder.h"

namespace lodestone {

/// Tokens of a chunk to predict.
struct Targets {
  ConstTensor places = {};  // [R] i64: rows of the chunk, ascending
  ConstTensor labels = {};  // [R] i32: the ids that stand there
  int64_t count() const { return places.count(); }
};

/// A chunk as operations read it.
struct DeviceMaskedTexts {
  DeviceTexts tokens = {};  // the encoder's input
  Targets of_encoder = {}, of_decoder = {};
  DecoderTexts decoder = {};
};

/// Reuses its memory from chunk to chunk.
class MaskedChunk {
 public:
  /// `tokens` are the chunk's texts, in the order of their numbers `texts` in the batch whose tokens begin at `offsets` and whose
  /// masks are `masked`. A view of `tokens` is kept.
  void assign(const MaskedTexts& masked, std::span<const int64_t> offsets, const TokenBatch& tokens, std::span<const int64_t> texts);
  /// What assign() was given, until the innermost scope of the arena ends; until then it is not to be called again.
  DeviceMaskedTexts upload(const Exec& ex) const;

 private:
  struct Chosen {
    std::vector<int64_t> places;
    std::vector<int32_t> labels;
    Targets upload(Backend& backend, Arena& arena) const;
  };
  /// Those of a text whose tokens begin at `first_token` in the batch.
  void add_masks(const KeyMasks& masks, size_t text, size_t first_token, int64_t length);

  TokenBatch tokens_;
  Chosen encoder_, decoder_;
  std::vector<int32_t> decoder_ids_, text_of_;  // [S]
  std::vector<uint64_t> mask_bits_;             // as KeyMasks, of the chunk's texts
  std::vector<int64_t> mask_first_;             // [B]
  std::vector<uint8_t> mask_of_row_;            // [S]
};

}  // namespace lodestone
