// TokenBatch, Pairs, MaskedTexts and Batch: what data hands to training. Ragged: no padding and no padding mask.
#pragma once

#include <algorithm>
#include <span>
#include <vector>

#include "core/rng.h"
#include "core/tensor.h"

namespace lodestone {

/// B texts of S tokens in all: text b is ids[offsets[b] .. offsets[b+1]). A view; spans live as long as their owner.
struct TokenBatch {
  std::span<const int32_t> ids;       // [S] token ids with special tokens and prompt, truncated
  std::span<const int64_t> offsets;   // [B+1], offsets[0] == 0
  std::span<const uint64_t> keys;     // [B] text_key() of each text: names its dropout masks. Empty when dropout is off
  std::span<const int64_t> second{};  // [B] place in each text where token type 1 begins; empty: every token has type 0
  int64_t texts() const { return static_cast<int64_t>(offsets.size()) - 1; }
  int64_t tokens() const { return static_cast<int64_t>(ids.size()); }
  int64_t length(int64_t b) const { return offsets[static_cast<size_t>(b) + 1] - offsets[static_cast<size_t>(b)]; }
  /// How many tokens of text b have type 0: they come first.
  int64_t first_length(int64_t b) const { return second.empty() ? length(b) : second[static_cast<size_t>(b)]; }
};

/// How the texts of a batch belong together. Texts are ordered: the B queries, then the B*G passages query-major
/// (passage i*G is the positive of query i, i*G+1 .. i*G+G-1 its negatives). All counts are this rank's.
struct Pairs {
  int64_t queries = 0;                         // B: queries on this rank
  int64_t group = 1;                           // G: passages per query, the positive first
  int64_t first_query = 0;                     // global index of this rank's first query
  int64_t global_queries = 0;                  // N over all ranks of the group
  std::span<const int64_t> rank_queries;       // [W] queries of every rank; their sum is global_queries
  std::span<const uint64_t> query_hash;        // [B]   text hashes, for masking duplicates
  std::span<const uint64_t> passage_hash;      // [B*G]
  std::span<const uint64_t> passage_document;  // [B*G] document ids (text hashes where the input names none)
  std::span<const double> scores;              // [B] gold scores of scored pairs; empty otherwise
  std::span<const double> teacher_scores;      // [B*G] teacher scores; empty otherwise
  bool in_batch_negatives = true;              // false: this batch's source says that other queries' passages are no negatives
};

/// Which positions of its own text each row of an attention may not see: a few masks a text, kept as bits, and for each row the
/// number of one of them. Besides, no row sees its own position.
struct KeyMasks {
  std::span<const uint64_t> bits;   // mask m of text b: words(T) words from first[b] + m words(T); a set bit hides its position
  std::span<const int64_t> first;   // [B] places in bits
  std::span<const uint8_t> of_row;  // [S] the number of the row's mask among those of its text
  static int64_t words(int64_t length) { return (length + 63) / 64; }
  /// Words of all masks of a text that has `length` tokens and begins at token `begin` of the batch.
  int64_t words_of_text(int64_t begin, int64_t length) const {
    const auto rows = of_row.subspan(static_cast<size_t>(begin), static_cast<size_t>(length));
    return rows.empty() ? 0 : words(length) * (int64_t{*std::max_element(rows.begin(), rows.end())} + 1);
  }
  /// The words of the mask of row i of text b, which has `length` tokens and begins at token `begin` of the batch.
  const uint64_t* row(int64_t b, int64_t begin, int64_t length, int64_t i) const {
    return bits.data() + first[static_cast<size_t>(b)] + words(length) * of_row[static_cast<size_t>(begin + i)];
  }
};

/// The label of a token that is not to be predicted.
inline constexpr int32_t no_label = -1;

/// What masked-language-model training adds to a batch of single texts, whose ids are the encoder's input, masks included.
struct MaskedTexts {
  std::span<const int32_t> labels;          // [S] the ids that the encoder predicts; no_label elsewhere
  std::span<const int32_t> decoder_ids;     // [S] the decoder's input
  std::span<const int32_t> decoder_labels;  // [S] the ids that the decoder predicts; no_label elsewhere
  KeyMasks decoder_masks;                   // of enhanced decoding; empty for basic decoding
};

/// One rank's share of one part of a step. Owns its memory; views are valid while it lives and is not moved from.
struct Batch {
  std::vector<int32_t> ids;
  std::vector<int64_t> offsets{0};
  std::vector<uint64_t> keys;
  std::vector<int64_t> second;  // as TokenBatch::second
  std::vector<uint64_t> query_hash, passage_hash, passage_document;
  std::vector<double> scores, teacher_scores;
  std::vector<int64_t> rank_queries;
  std::vector<int32_t> mlm_labels, decoder_ids, decoder_labels;  // of masked texts; then group is 0 and the queries are the texts
  std::vector<uint64_t> mask_bits;
  std::vector<int64_t> mask_first;
  std::vector<uint8_t> mask_of_row;
  std::vector<int64_t> rows;           // [B] global row ids
  std::vector<int32_t> row_negatives;  // [B] how many negatives each row has to choose from; 0 where G = 1
  int64_t queries = 0, group = 1, first_query = 0, global_queries = 0;
  int source = 0;  // which source the whole global batch comes from
  bool in_batch_negatives = true;

  TokenBatch tokens() const { return {ids, offsets, keys, second}; }
  MaskedTexts masked() const { return {mlm_labels, decoder_ids, decoder_labels, {mask_bits, mask_first, mask_of_row}}; }
  Pairs pairs() const {
    return {queries,          group,  first_query,    global_queries,    rank_queries, query_hash, passage_hash,
            passage_document, scores, teacher_scores, in_batch_negatives};
  }
  /// Bytes of all its elements.
  size_t memory_bytes() const {
    const auto bytes = [](const auto&... vectors) { return (... + std::span(vectors).size_bytes()); };
    return bytes(ids, offsets, keys, second, query_hash, passage_hash, passage_document, scores, teacher_scores, rank_queries, mlm_labels,
                 decoder_ids, decoder_labels, mask_bits, mask_first, mask_of_row, rows, row_negatives);
  }
};

}  // namespace lodestone
