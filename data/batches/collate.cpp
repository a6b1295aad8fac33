// How rows become batches: prompts, special tokens, truncation and group sampling.
#include "data/batches/collate.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/error.h"

namespace lodestone {
namespace {

Error bad_row(const std::string& what, std::string remedy) { return Error(ExitCode::data, "row", what, std::move(remedy)); }

/// ids += [CLS] prompt text [SEP], cut from the right to max_len.
void append_text(const Framing& framing, const std::vector<int32_t>& prompt, std::span<const int32_t> text, int64_t max_len,
                 std::vector<int32_t>& ids) {
  const auto room = static_cast<size_t>(max_len) - 2 - prompt.size();
  ids.push_back(framing.cls);
  ids.insert(ids.end(), prompt.begin(), prompt.end());
  ids.insert(ids.end(), text.begin(), text.begin() + static_cast<std::ptrdiff_t>(std::min(room, text.size())));
  ids.push_back(framing.sep);
}

/// How many ids append_text() appends.
int64_t text_tokens(const std::vector<int32_t>& prompt, std::span<const int32_t> text, int64_t max_len) {
  return std::min(max_len, static_cast<int64_t>(prompt.size() + text.size()) + 2);
}

/// Errors of `work` say which row it is, and of which source.
template <class Work>
void naming_row(const RowSource& rows, const PackedRow& row, int64_t row_id, Work work) {
  try {
    work();
  } catch (Error& error) {
    error.at("row", row_id).at("source", rows.sources().at(static_cast<size_t>(row.source)).name);
    throw;
  }
}

void require_room(const char* what, const std::vector<int32_t>& prompt, int64_t max_len) {
  if (static_cast<int64_t>(prompt.size()) + 3 <= max_len) return;
  throw Error(ExitCode::usage, "length",
              cat(what, " of ", max_len, " tokens leaves no room for a text: [CLS], [SEP] and the prompt take ", prompt.size() + 2),
              cat("set ", what, " to at least ", prompt.size() + 3, ", or shorten the prompt"));
}

}  // namespace

Collator::Collator(const CollateConfig& config, Framing framing, const NegativeWindows* windows)
    : config_(config), framing_(std::move(framing)), chooser_(config.candidates(), windows) {
  require_room("query_max_len", framing_.query_prompt, config_.query_max_len);
  for (const auto& prompt : framing_.row_prompts) require_room("query_max_len", prompt, config_.query_max_len);
  require_room("passage_max_len", framing_.passage_prompt, config_.passage_max_len);
  const auto& prompted = framing_.prompted_sources;
  if (std::find(prompted.begin(), prompted.end(), 1) == prompted.end()) return;
  require_room("passage_max_len", framing_.query_prompt, config_.passage_max_len);
  for (const auto& prompt : framing_.row_prompts) require_room("passage_max_len", prompt, config_.passage_max_len);
}

void Collator::collate(const RowSource& rows, const BatchRows& which, Batch& out) {
  begin_batch(which, out);
  if (!config_.source_groups.empty() && !which.rows.empty()) {  // ranks without rows need it too
    rows.read(which.rows[0], row_);
    out.group = config_.group_of(row_.source);
  }
  for (int64_t i = 0; i < out.queries; ++i) {
    const int64_t slot = out.first_query + i;
    const int64_t row_id = which.rows[static_cast<size_t>(slot)];
    rows.read(row_id, row_);
    naming_row(rows, row_, row_id, [&] {
      choose(row_id, which.step);
      add_row(row_id, slot, out);
    });
  }
  end_batch(out);
}

int64_t Collator::tokens(const RowSource& rows, int64_t row_id, int64_t step) {
  rows.read(row_id, row_);
  naming_row(rows, row_, row_id, [&] { choose(row_id, step); });
  int64_t sum = text_tokens(query_prompt(), row_.query.ids, config_.query_max_len);
  for (const int64_t place : chooser_.choice()) sum += text_tokens(passage_prompt(), text_at(row_, place).ids, config_.passage_max_len);
  return sum;
}

const std::vector<int32_t>& Collator::query_prompt() const {
  return row_.prompt < 0 ? framing_.query_prompt : framing_.row_prompts.at(static_cast<size_t>(row_.prompt));
}

const std::vector<int32_t>& Collator::passage_prompt() const {
  const auto source = static_cast<size_t>(row_.source);
  const bool as_query = source < framing_.prompted_sources.size() && framing_.prompted_sources[source] != 0;
  return as_query ? query_prompt() : framing_.passage_prompt;
}

void Collator::choose(int64_t row_id, int64_t step) {
  chooser_.set_group(config_.group_of(row_.source));
  chooser_.choose(row_, row_id, Key(config_.seed).with("group").with(static_cast<uint64_t>(step)).with(static_cast<uint64_t>(row_id)));
}

void Collator::begin_batch(const BatchRows& which, Batch& out) {
  const auto n = static_cast<int64_t>(which.rows.size());
  const RankRows mine = rank_rows(n, which.rank, which.world);
  out.rows.assign(which.rows.begin() + mine.begin, which.rows.begin() + mine.end);
  out.queries = mine.end - mine.begin;
  out.group = config_.group;
  out.first_query = mine.begin;
  out.global_queries = n;
  out.source = which.source;
  out.in_batch_negatives = which.in_batch_negatives;
  out.rank_queries.clear();
  for (int rank = 0; rank < which.world; ++rank) {
    const RankRows share = rank_rows(n, rank, which.world);
    out.rank_queries.push_back(share.end - share.begin);
  }
  out.ids.clear();
  out.offsets.assign(1, 0);
  out.keys.clear();
  out.second.clear();
  out.query_hash.clear();
  out.row_negatives.clear();
  out.passage_hash.clear();
  out.passage_document.clear();
  out.scores.clear();
  out.teacher_scores.clear();
  passage_ids_.clear();
  passage_ends_.clear();
  passage_keys_.clear();
}

void Collator::add_row(int64_t row_id, int64_t slot, Batch& out) {
  LODE_CHECK(std::ssize(chooser_.choice()) == out.group, "a batch has groups of ", out.group, " and of ", chooser_.choice().size(),
             " passages");
  append_text(framing_, query_prompt(), row_.query.ids, config_.query_max_len, out.ids);
  out.offsets.push_back(static_cast<int64_t>(out.ids.size()));
  out.query_hash.push_back(row_.query.text_hash);
  out.row_negatives.push_back(static_cast<int32_t>(chooser_.usable()));
  for (const int64_t place : chooser_.choice()) {
    const PackedText& passage = text_at(row_, place);
    append_text(framing_, passage_prompt(), passage.ids, config_.passage_max_len, passage_ids_);
    passage_ends_.push_back(static_cast<int64_t>(passage_ids_.size()));
    out.passage_hash.push_back(passage.text_hash);
    out.passage_document.push_back(passage.document);
  }
  if (config_.purpose == Purpose::training) {
    const auto row = static_cast<uint64_t>(row_id), place = static_cast<uint64_t>(slot);
    out.keys.push_back(text_key(row, Role::query, 0, place));
    passage_keys_.push_back(text_key(row, Role::positive, 0, place));
    for (int64_t k = 0; k + 1 < out.group; ++k) {
      passage_keys_.push_back(text_key(row, Role::negative, static_cast<uint64_t>(k), place));
    }
  }
  const bool first = out.query_hash.size() == 1, scored = !std::isnan(row_.score);
  if (!first && scored == out.scores.empty())
    throw bad_row("only some rows of the batch have gold scores", "give all of them one, or draw batches of one source");
  if (scored) out.scores.push_back(row_.score);
  if (!first && row_.teacher_scores.empty() != out.teacher_scores.empty()) {
    throw bad_row("only some rows of the batch have teacher scores", "give all of them theirs, or draw batches of one source");
  }
  if (row_.teacher_scores.empty()) return;
  for (const int64_t place : chooser_.choice()) out.teacher_scores.push_back(row_.teacher_scores[static_cast<size_t>(place)]);
}

void Collator::end_batch(Batch& out) {
  const auto query_tokens = static_cast<int64_t>(out.ids.size());
  out.ids.insert(out.ids.end(), passage_ids_.begin(), passage_ids_.end());
  for (const int64_t end : passage_ends_) out.offsets.push_back(query_tokens + end);
  out.keys.insert(out.keys.end(), passage_keys_.begin(), passage_keys_.end());
}

void Collator::reserve(int64_t queries, int world, Batch& out) {
  const auto b = static_cast<size_t>(queries), passages = b * static_cast<size_t>(config_.group);
  out.ids.reserve(b * static_cast<size_t>(config_.query_max_len) + passages * static_cast<size_t>(config_.passage_max_len));
  out.offsets.reserve(b + passages + 1);
  out.keys.reserve(b + passages);
  out.query_hash.reserve(b);
  out.row_negatives.reserve(b);
  out.passage_hash.reserve(passages);
  out.passage_document.reserve(passages);
  out.scores.reserve(b);
  out.teacher_scores.reserve(passages);
  out.rank_queries.reserve(static_cast<size_t>(world));
  out.rows.reserve(b);
  passage_ids_.reserve(passages * static_cast<size_t>(config_.passage_max_len));
  passage_ends_.reserve(passages);
  passage_keys_.reserve(passages);
}

}  // namespace lodestone
