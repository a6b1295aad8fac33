#include "launch/bench/bench_batch.h"

#include <algorithm>

#include "core/rng.h"
#include "data/plan/plan.h"

namespace lodestone {

namespace {

/// Tokens of a text; `u` is uniform in [0,1).
int64_t length_of(const std::string& lengths, Role role, double u) {
  const auto between = [u](int64_t least, int64_t most) { return least + static_cast<int64_t>(static_cast<double>(most - least + 1) * u); };
  if (lengths == "dense") return 128;
  if (lengths == "short") return between(4, 8);
  if (lengths != "real") return std::stoll(lengths);
  return role == Role::query ? between(5, 20) : between(16, 128);
}

}  // namespace

EmbedderConfig bench_shape(const std::string& model) {
  if (model == "minilm") return {};  // EncoderConfig's defaults: 6 layers of 384
  EmbedderConfig c;
  if (model == "bert-large")
    c.encoder = {.vocab = 30522, .hidden = 1024, .layers = 24, .heads = 16, .feed_forward = 4096};
  else
    c.encoder = {.vocab = 30522, .hidden = 768, .layers = 12, .heads = 12, .feed_forward = 3072};
  return c;
}

Batch bench_batch(const std::string& text_lengths, int64_t queries, int64_t group, BenchRank share) {
  const Key lengths = Key(1).with("bench lengths"), contents = lengths.with("ids"), scores = lengths.with("scores");
  Batch b;
  for (int r = 0; r < share.ranks; ++r) {
    const RankRows part = rank_rows(queries, r, share.ranks);
    b.rank_queries.push_back(part.end - part.begin);
  }
  const RankRows mine = rank_rows(queries, share.rank, share.ranks);
  b.first_query = mine.begin;
  b.queries = mine.end - mine.begin;
  b.global_queries = queries;
  b.group = group;
  const auto append = [&](int64_t row, Role role, int64_t place) {  // place among the row's texts: the query, then its passages
    const auto text = static_cast<uint64_t>((1 + group) * row + place);
    const int64_t length = length_of(text_lengths, role, lengths.uniform(text));
    for (int64_t i = 0; i < length; ++i)
      b.ids.push_back(static_cast<int32_t>(1000 + contents.bits(text * 512 + static_cast<uint64_t>(i)) % 29000));
    b.offsets.push_back(static_cast<int64_t>(b.ids.size()));
    const auto negative = static_cast<uint64_t>(std::max(place - 2, int64_t{0}));
    b.keys.push_back(text_key(static_cast<uint64_t>(row), role, negative, static_cast<uint64_t>(row)));
    if (role == Role::query) return b.query_hash.push_back(text);
    b.passage_hash.push_back(text);
    b.passage_document.push_back(text);
    b.teacher_scores.push_back(scores.uniform(text));
  };
  for (int64_t row = mine.begin; row < mine.end; ++row) append(row, Role::query, 0);
  for (int64_t row = mine.begin; row < mine.end; ++row)
    for (int64_t place = 1; place <= group; ++place) append(row, place == 1 ? Role::positive : Role::negative, place);
  if (group == 1) b.scores = b.teacher_scores;
  return b;
}

}  // namespace lodestone
