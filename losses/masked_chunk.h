// MaskedChunk: what is predicted in a chunk of masked texts, in the chunk's order.
#pragma once

#include <vector>

#include "core/batch.h"
#include "core/nn/mlm_decoder.h"

namespace lodestone {

/// Tokens of a chunk to predict: their rows, and the ids that stand there.
struct Targets {
  std::vector<int64_t> places;  // [R] rows of the chunk, ascending
  std::vector<int32_t> labels;  // [R]
};

/// Reuses its memory from chunk to chunk.
class MaskedChunk {
 public:
  /// `tokens` are the chunk's texts, in the order of their numbers `texts` in the batch whose tokens begin at `offsets` and whose
  /// masks are `masked`. Views into all of these are kept.
  void assign(const MaskedTexts& masked, std::span<const int64_t> offsets, const TokenBatch& tokens, std::span<const int64_t> texts);

  const Targets& of_encoder() const { return encoder_; }
  const Targets& of_decoder() const { return decoder_; }
  DecoderTexts decoder_texts() const {
    return {{decoder_ids_, tokens_.offsets, tokens_.keys}, text_of_, {mask_bits_, mask_first_, mask_of_row_}};
  }

 private:
  TokenBatch tokens_;
  Targets encoder_, decoder_;
  std::vector<int32_t> decoder_ids_, text_of_;  // [S]
  std::span<const uint64_t> mask_bits_;         // the batch's: a text's place in them is no other in the chunk
  std::vector<int64_t> mask_first_;             // [B]
  std::vector<uint8_t> mask_of_row_;            // [S]
};

}  // namespace lodestone
