// Collator: rows of the corpus to the Batch of one rank.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/batch.h"
#include "data/batches/candidates.h"
#include "data/batches/row_collator.h"
#include "data/text/prompt.h"

namespace lodestone {

struct CollateConfig {
  int64_t group = 1;                        // G: passages per query, one positive and G-1 explicit negatives
  std::vector<int64_t> source_groups = {};  // by RowSource::sources(): less for some; empty: G everywhere. Sources of a batch agree
  int64_t query_max_len = 512;              // tokens with [CLS], prompt and [SEP]; longer texts lose their end
  int64_t passage_max_len = 512;
  uint64_t seed = 0;
  Purpose purpose = Purpose::training;
  SelectPositive select_positive = SelectPositive::random;
  SelectNegative select_negative = SelectNegative::random;

  CandidateConfig candidates() const { return {group, select_positive, select_negative}; }
  int64_t group_of(int32_t source) const { return group_of_source(source_groups, source, group); }
};

/// The ids that stand around a text's own: [CLS] prompt text [SEP].
struct Framing {
  int32_t cls = 0, sep = 0;
  std::vector<int32_t> query_prompt, passage_prompt;
  std::vector<std::vector<int32_t>> row_prompts;  // of RowSource::prompts(): a row's own replaces the query prompt
  std::vector<uint8_t> prompted_sources{};        // by RowSource::sources(): passages get the prompt of their query; empty: none do
};

/// Throws Error (usage) for a prompt whose end is no token boundary.
inline Framing make_framing(const Tokenizer& tokenizer, std::string_view query_prompt, std::string_view passage_prompt,
                            const std::vector<std::string>& row_prompts, std::vector<uint8_t> prompted_sources = {}) {
  Framing framing{.cls = tokenizer.cls_id(),
                  .sep = tokenizer.sep_id(),
                  .query_prompt = prompt_ids(query_prompt, tokenizer),
                  .passage_prompt = prompt_ids(passage_prompt, tokenizer),
                  .row_prompts = {},
                  .prompted_sources = std::move(prompted_sources)};
  for (const std::string& prompt : row_prompts) framing.row_prompts.push_back(prompt_ids(prompt, tokenizer));
  return framing;
}

class Collator final : public RowCollator {
 public:
  /// `windows` (of mined negatives, for SelectNegative::window) must outlive it.
  /// Throws Error (usage): lengths that leave no room for a text behind its prompt, an empty group, windows that are missing.
  Collator(const CollateConfig& config, Framing framing, const NegativeWindows* windows = nullptr);

  /// Fills `out` (its memory is reused) with the rank's queries, then its passages query-major, the positive first, as
  /// CandidateChooser chooses them; teacher scores follow. Draws are keyed by (seed, "group", step, row id), never by rank: put
  /// together over the ranks of any world, the batches are those of a world of one.
  /// Throws Error (data) with row and source: what CandidateChooser throws; a score or teacher scores only in some rows.
  void collate(const RowSource& rows, const BatchRows& which, Batch& out) override;

  /// Tokens that collate() would give a row: its query and its group's passages. Reads the row; throws as collate() does.
  int64_t tokens(const RowSource& rows, int64_t row_id, int64_t step) override;

  /// Reserves, here and in `out`, what the largest batch of B queries on W ranks needs: collate() then allocates nothing.
  void reserve(int64_t queries, int world, Batch& out) override;
  Purpose purpose() const override { return config_.purpose; }

  const CollateConfig& config() const { return config_; }

 private:
  void begin_batch(const BatchRows& which, Batch& out);
  const std::vector<int32_t>& query_prompt() const;
  const std::vector<int32_t>& passage_prompt() const;
  void add_row(int64_t row_id, int64_t slot, Batch& out);
  void choose(int64_t row_id, int64_t step);
  void end_batch(Batch& out);

  CollateConfig config_;
  Framing framing_;
  PackedRow row_;                     // the row being read
  CandidateChooser chooser_;          // has its passages
  std::vector<int32_t> passage_ids_;  // passages, until all queries are known
  std::vector<int64_t> passage_ends_;
  std::vector<uint64_t> passage_keys_;
};

}  // namespace lodestone
