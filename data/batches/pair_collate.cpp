#include "data/batches/pair_collate.h"

#include <algorithm>

namespace lodestone {

namespace {

constexpr int64_t special_tokens = 3;  // [CLS] and two [SEP]

/// Lengths at which Collator cuts: the texts' own with [CLS] and [SEP].
CollateConfig apart(const RerankCollateConfig& config) {
  CollateConfig texts = config.texts;
  texts.query_max_len = config.lengths().longest_query() + 2;
  texts.passage_max_len = config.lengths().longest_passage() + 2;
  return texts;
}

Framing checked(const RerankCollateConfig& config, Framing framing) {
  size_t query_prompt = framing.query_prompt.size(), passage_prompt = framing.passage_prompt.size();
  for (const auto& prompt : framing.row_prompts) query_prompt = std::max(query_prompt, prompt.size());
  const auto& prompted = framing.prompted_sources;
  if (std::find(prompted.begin(), prompted.end(), 1) != prompted.end()) passage_prompt = std::max(passage_prompt, query_prompt);
  require_room(config.lengths(), static_cast<int64_t>(query_prompt), static_cast<int64_t>(passage_prompt));
  return framing;
}

/// Text b without its [CLS] and [SEP].
std::span<const int32_t> inside(const Batch& batch, int64_t b) {
  const TokenBatch tokens = batch.tokens();
  return tokens.ids.subspan(static_cast<size_t>(tokens.offsets[static_cast<size_t>(b)] + 1), static_cast<size_t>(tokens.length(b) - 2));
}

std::span<const int32_t> cut(std::span<const int32_t> text, int64_t tokens) {
  return text.first(std::min(text.size(), static_cast<size_t>(std::max<int64_t>(tokens, 0))));
}

}  // namespace

void require_room(const PairLengths& lengths, int64_t query_prompt_tokens, int64_t passage_prompt_tokens) {
  const int64_t query = lengths.longest_query(), least = query + special_tokens + passage_prompt_tokens + 1;
  if (lengths.query < 1 || lengths.passage < 1)
    throw Error(ExitCode::usage, "length", cat("pairs of ", lengths.query, " query and ", lengths.passage, " passage tokens"),
                "give each at least 1");
  if (query_prompt_tokens >= query)
    throw Error(ExitCode::usage, "length",
                cat("a query of at most ", query, " tokens has no room behind a prompt of ", query_prompt_tokens),
                "raise query_max_len, or shorten the prompt");
  if (lengths.longest_pair() < least)
    throw Error(ExitCode::usage, "length",
                cat("pairs of at most ", lengths.longest_pair(), " tokens have no room for a passage behind a query of ", query),
                cat("allow pairs of at least ", least, " tokens, or lower query_max_len"));
}

int64_t append_pair(int32_t cls, int32_t sep, std::span<const int32_t> query, std::span<const int32_t> passage, const PairLengths& lengths,
                    std::vector<int32_t>& ids) {
  query = cut(query, lengths.longest_query());
  const auto query_tokens = static_cast<int64_t>(query.size());
  passage = cut(passage, std::min(lengths.longest_passage(), lengths.longest_pair() - special_tokens - query_tokens));
  ids.push_back(cls);
  ids.insert(ids.end(), query.begin(), query.end());
  ids.push_back(sep);
  ids.insert(ids.end(), passage.begin(), passage.end());
  ids.push_back(sep);
  return query_tokens + 2;
}

RerankCollator::RerankCollator(const RerankCollateConfig& config, Framing framing, const NegativeWindows* windows)
    : config_(config), cls_(framing.cls), sep_(framing.sep), texts_(apart(config), checked(config, std::move(framing)), windows) {}

void RerankCollator::collate(const RowSource& rows, const BatchRows& which, Batch& out) {
  texts_.collate(rows, which, apart_);
  out = apart_;
  out.ids.clear();
  out.offsets.assign(1, 0);
  out.second.clear();
  if (!apart_.keys.empty()) out.keys.assign(apart_.keys.begin() + out.queries, apart_.keys.end());  // the passages' own
  for (int64_t i = 0; i < out.queries; ++i)
    for (int64_t g = 0; g < out.group; ++g) {
      out.second.push_back(
          append_pair(cls_, sep_, inside(apart_, i), inside(apart_, out.queries + i * out.group + g), config_.lengths(), out.ids));
      out.offsets.push_back(static_cast<int64_t>(out.ids.size()));
    }
}

int64_t RerankCollator::tokens(const RowSource& rows, int64_t row_id, int64_t step) {
  collate(rows, {.step = step, .source = 0, .rows = std::span(&row_id, 1)}, one_row_);
  return one_row_.offsets.back();
}

void RerankCollator::reserve(int64_t queries, int world, Batch& out) {
  texts_.reserve(queries, world, apart_);
  texts_.reserve(queries, world, out);
  const auto pairs = static_cast<size_t>(queries * config_.texts.group);
  out.ids.reserve(pairs * static_cast<size_t>(config_.lengths().longest_pair()));
  out.second.reserve(pairs);
}

}  // namespace lodestone
