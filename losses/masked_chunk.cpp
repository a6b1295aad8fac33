#include "losses/masked_chunk.h"

#include <algorithm>

#include "core/step_texts.h"

namespace lodestone {

void MaskedChunk::assign(const MaskedTexts& masked, std::span<const int64_t> offsets, const TokenBatch& tokens,
                         std::span<const int64_t> texts) {
  tokens_ = tokens;
  for (Chosen* t : {&encoder_, &decoder_}) {
    t->places.clear();
    t->labels.clear();
  }
  decoder_ids_.clear();
  text_of_.clear();
  mask_bits_.clear();
  mask_first_.clear();
  mask_of_row_.clear();
  const auto add = [](Chosen& targets, int32_t label, int64_t row) {
    if (label == no_label) return;
    targets.places.push_back(row);
    targets.labels.push_back(label);
  };
  for (size_t k = 0; k < texts.size(); ++k) {
    const auto text = static_cast<size_t>(texts[k]);
    const int64_t first_row = tokens.offsets[k], length = tokens.length(static_cast<int64_t>(k));
    if (!masked.decoder_masks.first.empty()) add_masks(masked.decoder_masks, text, static_cast<size_t>(offsets[text]), length);
    for (int64_t t = 0; t < length; ++t) {
      const auto from = static_cast<size_t>(offsets[text] + t);
      add(encoder_, masked.labels[from], first_row + t);
      add(decoder_, masked.decoder_labels[from], first_row + t);
      decoder_ids_.push_back(masked.decoder_ids[from]);
      text_of_.push_back(static_cast<int32_t>(k));
    }
  }
}

void MaskedChunk::add_masks(const KeyMasks& masks, size_t text, size_t first_token, int64_t length) {
  const auto of_row = masks.of_row.subspan(first_token, static_cast<size_t>(length));
  const auto bits = masks.bits.subspan(static_cast<size_t>(masks.first[text]),
                                       static_cast<size_t>(masks.words_of_text(static_cast<int64_t>(first_token), length)));
  mask_first_.push_back(std::ssize(mask_bits_));
  mask_bits_.insert(mask_bits_.end(), bits.begin(), bits.end());
  mask_of_row_.insert(mask_of_row_.end(), of_row.begin(), of_row.end());
}

Targets MaskedChunk::Chosen::upload(Backend& backend, Arena& arena) const {
  return {backend.upload(view(std::span(places)), arena), backend.upload(view(std::span(labels)), arena)};
}

DeviceMaskedTexts MaskedChunk::upload(const Exec& ex) const {
  Backend& backend = ex.backend;
  Arena& arena = ex.arena;
  DeviceMaskedTexts chunk{.tokens = upload_texts(backend, arena, in_step(ex, tokens_)),
                          .of_encoder = encoder_.upload(backend, arena),
                          .of_decoder = decoder_.upload(backend, arena)};
  const auto [least, most] = std::minmax_element(decoder_ids_.begin(), decoder_ids_.end());
  LODE_CHECK(decoder_ids_.empty() || *least >= 0, "the decoder's input has the id ", *least);
  const int64_t texts = tokens_.texts();
  DecoderTexts& decoder = chunk.decoder;
  decoder.tokens = chunk.tokens.with_ids(backend.upload(view(std::span(decoder_ids_)), arena), decoder_ids_.empty() ? 0 : *most + 1);
  decoder.sentences = chunk.tokens.with_ids(backend.upload(view(std::span(text_of_)), arena), texts);
  decoder.places = chunk.tokens.offsets.slice({0, texts});
  if (!mask_of_row_.empty()) decoder.masks = upload_masks(backend, arena, tokens_, {mask_bits_, mask_first_, mask_of_row_});
  return chunk;
}

}  // namespace lodestone
