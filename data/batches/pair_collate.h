// How a query and a passage become one text for a cross-encoder, and RerankCollator: rows of the corpus to batches of such pairs.
#pragma once

#include "data/batches/collate.h"

namespace lodestone {

/// Lengths in tokens. query and passage are meant for the two texts with their prompts, without [CLS] and [SEP]; a text may borrow
/// from the other's share. `pair` is the longest pair with its [CLS] and two [SEP]; 0: query + passage.
struct PairLengths {
  int64_t query = 256, passage = 256, pair = 0;

  int64_t longest_query() const { return query + passage / 4; }
  int64_t longest_passage() const { return passage + query / 2; }
  int64_t longest_pair() const { return pair > 0 ? pair : query + passage; }
};

/// Throws Error (usage) unless a pair has room for the longest query, the passage prompt and one token of the passage.
void require_room(const PairLengths& lengths, int64_t query_prompt_tokens, int64_t passage_prompt_tokens);

/// Appends [CLS] query [SEP] passage [SEP] to ids and returns the place of the passage's first token in the pair, where token
/// type 1 begins. Both texts are cut from the right: the query to query + passage / 4 tokens, the passage to passage + query / 2,
/// then the passage alone until the pair fits.
int64_t append_pair(int32_t cls, int32_t sep, std::span<const int32_t> query, std::span<const int32_t> passage, const PairLengths& lengths,
                    std::vector<int32_t>& ids);

struct RerankCollateConfig {
  CollateConfig texts;       // query_max_len and passage_max_len are PairLengths::query and passage
  int64_t pair_max_len = 0;  // PairLengths::pair
  PairLengths lengths() const { return {texts.query_max_len, texts.passage_max_len, pair_max_len}; }
};

/// Chooses what Collator chooses, and joins each query with the passages of its group.
class RerankCollator final : public RowCollator {
 public:
  /// `windows` as for Collator. Throws Error (usage): lengths that leave no room, an empty group, windows that are missing.
  RerankCollator(const RerankCollateConfig& config, Framing framing, const NegativeWindows* windows = nullptr);

  /// Fills `out` (its memory is reused) with the rank's B*G pairs, query-major, the positive first. Names of dropout masks are those
  /// of the pair's passage: row, role (positive or k-th negative) and slot. Errors are those of Collator::collate.
  void collate(const RowSource& rows, const BatchRows& which, Batch& out) override;

  /// Tokens that collate() would give a row: its G pairs. Reads the row; throws as collate() does.
  int64_t tokens(const RowSource& rows, int64_t row_id, int64_t step) override;

  /// Reserves, here and in `out`, what the largest batch of B queries on W ranks needs: collate() then allocates nothing.
  void reserve(int64_t queries, int world, Batch& out) override;
  Purpose purpose() const override { return config_.texts.purpose; }

  const RerankCollateConfig& config() const { return config_; }

 private:
  RerankCollateConfig config_;
  int32_t cls_, sep_;
  Collator texts_;
  Batch apart_, one_row_;  // queries and passages, before they are joined; the pairs of tokens()
};

}  // namespace lodestone
