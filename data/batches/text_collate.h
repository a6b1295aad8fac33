// RetroMaeCollator: rows of single texts to the Batch of one rank, masked for encoder and decoder.
#pragma once

#include <cstdint>
#include <vector>

#include "core/batch.h"
#include "core/nn/retromae.h"
#include "data/batches/masking.h"
#include "data/batches/row_collator.h"
#include "data/corpus/row_source.h"

namespace lodestone {

struct RetroMaeCollateConfig {
  int64_t max_len = 512;      // tokens with [CLS] and [SEP]; longer texts lose their end
  RetroMaeOptions options{};  // probabilities and decoding are read here
  uint64_t seed = 0;
  Purpose purpose = Purpose::training;
};

/// Masks are keyed by (seed, purpose, step, row id), never by rank or place: put together over the ranks of any world, the batches
/// are those of a world of one.
class RetroMaeCollator final : public RowCollator {
 public:
  /// Throws Error (usage): a length without room for a text, probabilities outside (0, 1].
  RetroMaeCollator(const RetroMaeCollateConfig& config, WordTable words);

  /// Fills `out` (its memory is reused) with the rank's texts: `queries` counts them and `group` is 0. ids are the encoder's input
  /// [CLS] text [SEP] with masks in it; masked() has what both sides predict and what the decoder reads and may see.
  /// Throws Error (data) with the row: a row with passages.
  void collate(const RowSource& rows, const BatchRows& which, Batch& out) override;

  /// Tokens that collate() would give a row. Reads the row; throws as collate() does.
  int64_t tokens(const RowSource& rows, int64_t row_id, int64_t step) override;

  /// Reserves, here and in `out`, what the largest batch of B texts on W ranks needs: collate() then allocates nothing.
  void reserve(int64_t texts, int world, Batch& out) override;
  Purpose purpose() const override { return config_.purpose; }

  const RetroMaeCollateConfig& config() const { return config_; }

 private:
  void read(const RowSource& rows, int64_t row_id);
  void add_text(Key key, Batch& out);

  RetroMaeCollateConfig config_;
  WordTable table_;
  PackedRow row_;             // the row being read
  std::vector<int32_t> ids_;  // its text, as it is
  std::vector<Word> words_, shuffled_;
  std::vector<uint64_t> mask_;  // one mask of it
};

}  // namespace lodestone
