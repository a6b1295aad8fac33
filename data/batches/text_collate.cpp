// How single texts become batches: framing, truncation, masks.
#include "data/batches/text_collate.h"

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "data/batches/fitting_rows.h"

namespace lodestone {

namespace {

void require_probability(const char* name, double p) {
  if (p > 0 && p <= 1) return;
  throw Error(ExitCode::usage, "config", cat(name, " is ", p, ", which masks nothing or more than everything"),
              "choose a share above 0 and up to 1");
}

}  // namespace

RetroMaeCollator::RetroMaeCollator(const RetroMaeCollateConfig& config, WordTable words) : config_(config), table_(std::move(words)) {
  if (config_.max_len < 3)
    throw Error(ExitCode::usage, "length", cat("texts of ", config_.max_len, " tokens leave no room for a text: [CLS] and [SEP] take 2"),
                "allow at least 3 tokens");
  require_probability("encoder_mlm_probability", config_.options.encoder_mlm_probability);
  require_probability("decoder_mlm_probability", config_.options.decoder_mlm_probability);
}

void RetroMaeCollator::read(const RowSource& rows, int64_t row_id) {
  rows.read(row_id, row_);
  try {
    require_single_text(row_);
  } catch (Error& error) {
    error.at("row", row_id).at("source", rows.sources().at(static_cast<size_t>(row_.source)).name);
    throw;
  }
}

int64_t RetroMaeCollator::tokens(const RowSource& rows, int64_t row_id, int64_t) {
  read(rows, row_id);
  return std::min(config_.max_len, std::ssize(row_.query.ids) + 2);
}

void RetroMaeCollator::collate(const RowSource& rows, const BatchRows& which, Batch& out) {
  const auto n = std::ssize(which.rows);
  LODE_CHECK(which.world <= n, which.world, " ranks for a batch of ", n, " rows");
  const RankRows mine = rank_rows(n, which.rank, which.world);
  out.rows.assign(which.rows.begin() + mine.begin, which.rows.begin() + mine.end);
  out.queries = mine.end - mine.begin;
  out.group = 0;
  out.first_query = mine.begin;
  out.global_queries = n;
  out.source = which.source;
  out.rank_queries.clear();
  for (int rank = 0; rank < which.world; ++rank) {
    const RankRows share = rank_rows(n, rank, which.world);
    out.rank_queries.push_back(share.end - share.begin);
  }
  out.offsets.assign(1, 0);
  for (auto* v : {&out.ids, &out.mlm_labels, &out.decoder_ids, &out.decoder_labels}) v->clear();
  for (auto* v : {&out.keys, &out.query_hash, &out.passage_hash, &out.passage_document, &out.mask_bits}) v->clear();
  for (auto* v : {&out.scores, &out.teacher_scores}) v->clear();
  out.mask_first.clear();
  out.mask_of_row.clear();
  out.second.clear();

  const bool training = config_.purpose == Purpose::training;
  const Key key = Key(config_.seed).with(training ? "mlm" : "mlm evaluation").with(static_cast<uint64_t>(which.step));
  for (int64_t i = 0; i < out.queries; ++i) {
    const auto row_id = static_cast<uint64_t>(out.rows[static_cast<size_t>(i)]);
    read(rows, out.rows[static_cast<size_t>(i)]);
    add_text(key.with(row_id), out);
    out.query_hash.push_back(row_.query.text_hash);
    if (training) out.keys.push_back(text_key(row_id, Role::text, 0, static_cast<uint64_t>(out.first_query + i)));
  }
}

void RetroMaeCollator::add_text(Key key, Batch& out) {
  const auto room = static_cast<size_t>(config_.max_len) - 2;
  const auto text = row_.query.ids.first(std::min(room, row_.query.ids.size()));
  ids_.assign(1, table_.cls());
  ids_.insert(ids_.end(), text.begin(), text.end());
  ids_.push_back(table_.sep());
  find_words(table_, ids_, words_);

  const size_t begin = out.ids.size(), end = begin + ids_.size();
  const auto length = std::ssize(ids_);
  const auto fresh = [&](std::vector<int32_t>& v) {  // the text's place in a vector of the batch
    v.resize(end);
    return std::span(v).subspan(begin);
  };
  const auto hide = [&](double probability, Key name, std::vector<int32_t>& masked, std::vector<int32_t>& labels) {
    mask_.resize(static_cast<size_t>(KeyMasks::words(length)));
    mask_words(words_, length, probability, name.with("words"), shuffled_, mask_);
    const auto to = fresh(masked), predicted = fresh(labels);
    hide_tokens(table_, mask_, ids_, name.with("tokens"), to, predicted);
  };
  hide(config_.options.encoder_mlm_probability, key.with("encoder"), out.ids, out.mlm_labels);
  if (config_.options.decoding == Decoding::basic) {
    hide(config_.options.decoder_mlm_probability, key.with("decoder"), out.decoder_ids, out.decoder_labels);
  } else {
    out.decoder_ids.insert(out.decoder_ids.end(), ids_.begin(), ids_.end());
    const auto predicted = fresh(out.decoder_labels);
    std::copy(ids_.begin(), ids_.end(), predicted.begin());
    predicted.front() = predicted.back() = no_label;
    out.mask_first.push_back(std::ssize(out.mask_bits));
    draw_key_masks(words_, length, config_.options.decoder_mlm_probability, key.with("decoder"), shuffled_, out.mask_bits, out.mask_of_row);
  }
  out.offsets.push_back(static_cast<int64_t>(end));
}

void RetroMaeCollator::reserve(int64_t texts, int world, Batch& out) {
  const auto b = static_cast<size_t>(texts), longest = static_cast<size_t>(config_.max_len), tokens = b * longest;
  for (auto* v : {&out.ids, &out.mlm_labels, &out.decoder_ids, &out.decoder_labels}) v->reserve(tokens);
  out.offsets.reserve(b + 1);
  for (auto* v : {&out.keys, &out.query_hash}) v->reserve(b);
  out.rank_queries.reserve(static_cast<size_t>(world));
  out.rows.reserve(b);
  if (config_.options.decoding == Decoding::enhanced) {
    out.mask_bits.reserve((b * std::min(longest, size_t{128}) + 1) * static_cast<size_t>(KeyMasks::words(config_.max_len)));
    out.mask_first.reserve(b);
    out.mask_of_row.reserve(tokens);
  }
  ids_.reserve(longest);
  words_.reserve(longest);
  shuffled_.reserve(longest);
  mask_.reserve(static_cast<size_t>(KeyMasks::words(config_.max_len)));
}

}  // namespace lodestone
