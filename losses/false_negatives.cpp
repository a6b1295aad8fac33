#include "losses/false_negatives.h"

#include <algorithm>
#include <numeric>

#include "comm/rows.h"

namespace lodestone {

namespace {

/// Makes the mask of n rows: visit(i, mask) calls mask(column) for each column that row i leaves out; some may be named twice.
template <class Visit>
ScoreMask make_mask(Exec& ex, int64_t n, const Visit& visit) {
  const std::span<int64_t> offsets = ex.arena.array<int64_t>(n + 1);
  int64_t named = 0;
  for (int64_t i = 0; i < n; ++i) visit(i, [&](int64_t) { ++named; });
  const std::span<int32_t> columns = ex.arena.array<int32_t>(named);
  auto end = columns.begin();
  for (int64_t i = 0; i < n; ++i) {
    const auto begin = end;
    offsets[static_cast<size_t>(i)] = end - columns.begin();
    visit(i, [&](int64_t column) { *end++ = static_cast<int32_t>(column); });
    std::sort(begin, end);
    end = std::unique(begin, end);
  }
  const int64_t count = offsets[static_cast<size_t>(n)] = end - columns.begin();
  const auto upload = [&]<class T>(std::span<const T> values) { return ex.backend.upload(view(values), ex.arena); };
  return {upload(std::span<const int64_t>(offsets)), upload(std::span<const int32_t>(columns.first(static_cast<size_t>(count)))), count};
}

uint64_t at(std::span<const uint64_t> hashes, int64_t i) { return hashes[static_cast<size_t>(i)]; }

/// The hashes at the first place of each group, in the arena.
std::span<const uint64_t> first_of_groups(Exec& ex, std::span<const uint64_t> hashes, int64_t group) {
  const std::span<uint64_t> firsts = ex.arena.array<uint64_t>(std::ssize(hashes) / group);
  for (size_t i = 0; i < firsts.size(); ++i) firsts[i] = hashes[i * static_cast<size_t>(group)];
  return firsts;
}

std::span<const uint64_t> gather(Exec& ex, const Group& group, const Pairs& pairs, int64_t per_query, std::span<const uint64_t> local) {
  const std::span<int64_t> counts = ex.arena.array<int64_t>(group.size());
  std::transform(pairs.rank_queries.begin(), pairs.rank_queries.end(), counts.begin(), [&](int64_t n) { return n * per_query; });
  return gather_in_arena(ex.arena, group.host, local, std::span<const int64_t>(counts));
}

}  // namespace

bool is_false_negative(const TextHashes& texts, int64_t group, int64_t query, int64_t passage) {
  const int64_t positive = query * group, other = passage / group;
  if (passage == positive) return false;
  const uint64_t text = at(texts.passage, passage), own = at(texts.query, query);
  if (text == at(texts.passage, positive) || text == own) return true;
  if (other == query) return false;
  return at(texts.document, passage) == at(texts.document, positive) || (passage == other * group && at(texts.query, other) == own);
}

bool is_false_negative_query(const TextHashes& texts, int64_t group, int64_t query, int64_t other) {
  const uint64_t text = at(texts.query, other);
  return other != query && (text == at(texts.query, query) || text == at(texts.passage, query * group));
}

TextHashes local_hashes(const Pairs& pairs) {
  const auto queries = static_cast<size_t>(pairs.queries), passages = static_cast<size_t>(pairs.queries * pairs.group);
  LODE_CHECK(pairs.query_hash.size() == queries && pairs.passage_hash.size() == passages && pairs.passage_document.size() == passages,
             "false negatives: hashes of ", pairs.query_hash.size(), " queries, ", pairs.passage_hash.size(), " passages and ",
             pairs.passage_document.size(), " documents for ", queries, " queries of group ", pairs.group);
  return {pairs.query_hash, pairs.passage_hash, pairs.passage_document};
}

TextHashes candidate_hashes(Exec& ex, const Group& group, Candidates candidates, const Pairs& pairs) {
  const TextHashes local = local_hashes(pairs);
  if (candidates != Candidates::all_ranks) return local;
  return {gather(ex, group, pairs, 1, local.query), gather(ex, group, pairs, pairs.group, local.passage),
          gather(ex, group, pairs, pairs.group, local.document)};
}

QueryHashes shared_hashes(Exec& ex, const Group& group, const Pairs& pairs) {
  const TextHashes local = local_hashes(pairs);
  return {gather(ex, group, pairs, 1, local.query), gather(ex, group, pairs, 1, first_of_groups(ex, local.passage, pairs.group)),
          gather(ex, group, pairs, 1, first_of_groups(ex, local.document, pairs.group))};
}

FalseNegatives::FalseNegatives(Exec& ex, const TextHashes& texts, int64_t group)
    : FalseNegatives(ex, {texts.query, first_of_groups(ex, texts.passage, group), first_of_groups(ex, texts.document, group)}, texts, group,
                     0) {}

FalseNegatives::FalseNegatives(Exec& ex, const QueryHashes& queries, const TextHashes& texts, int64_t group, int64_t first_query)
    : hashes_(queries),
      group_(group),
      first_query_(first_query),
      queries_(sorted(ex, queries.query)),
      passages_(sorted(ex, texts.passage)),
      documents_(sorted(ex, texts.document)) {}

FalseNegatives::Index FalseNegatives::sorted(Exec& ex, std::span<const uint64_t> hashes) {
  const std::span<int64_t> order = ex.arena.array<int64_t>(static_cast<int64_t>(hashes.size()));
  std::iota(order.begin(), order.end(), int64_t{0});
  std::sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return at(hashes, a) < at(hashes, b); });
  return {hashes, order};
}

std::span<const int64_t> FalseNegatives::Index::find(uint64_t hash) const {
  const auto begin = std::lower_bound(order.begin(), order.end(), hash, [&](int64_t i, uint64_t h) { return at(hashes, i) < h; });
  const auto end = std::upper_bound(begin, order.end(), hash, [&](uint64_t h, int64_t i) { return h < at(hashes, i); });
  return {begin, end};
}

ScoreMask FalseNegatives::passages(Exec& ex, Slice rows, Slice places, OwnGroup own_group) const {
  const int64_t owners = std::ssize(passages_.order) / group_;
  return make_mask(ex, rows.count(), [&](int64_t i, const auto& mask) {
    const int64_t query = rows.begin + i, positive = (query - first_query_) * group_;  // counted as the passages here are
    const uint64_t own = at(hashes_.query, query);
    const auto mask_passage = [&](int64_t passage) {
      const int64_t place = passage % group_;
      if (own_group == OwnGroup::left_out && passage / group_ == query - first_query_) return;
      if (passage != positive && places.begin <= place && place < places.end)
        mask(passage / group_ * places.count() + place - places.begin);
    };
    for (const uint64_t text : {at(hashes_.positive, query), own})
      for (const int64_t passage : passages_.find(text)) mask_passage(passage);
    for (const int64_t passage : documents_.find(at(hashes_.positive_document, query)))
      if (first_query_ + passage / group_ != query) mask_passage(passage);
    for (const int64_t other : queries_.find(own))
      if (first_query_ <= other && other < first_query_ + owners) mask_passage((other - first_query_) * group_);
  });
}

ScoreMask FalseNegatives::queries(Exec& ex, Slice rows) const {
  return make_mask(ex, rows.count(), [&](int64_t i, const auto& mask) {
    const int64_t query = rows.begin + i;
    for (const uint64_t text : {at(hashes_.query, query), at(hashes_.positive, query)})
      for (const int64_t other : queries_.find(text))
        if (other != query) mask(other);
  });
}

ScoreMask FalseNegatives::queries_of_positives(Exec& ex, Slice rows) const {
  LODE_CHECK(first_query_ == 0 && passages_.order.size() == queries_.order.size() * static_cast<size_t>(group_),
             "false negatives: queries of positives need the passages of all queries");
  return make_mask(ex, rows.count(), [&](int64_t i, const auto& mask) {
    const int64_t owner = rows.begin + i, positive = owner * group_;
    const uint64_t text = at(hashes_.positive, owner);
    const auto mask_positives = [&](std::span<const int64_t> passages) {
      for (const int64_t passage : passages)
        if (passage % group_ == 0 && passage != positive) mask(passage / group_);
    };
    mask_positives(passages_.find(text));
    mask_positives(documents_.find(at(hashes_.positive_document, owner)));
    for (const uint64_t query_text : {text, at(hashes_.query, owner)})
      for (const int64_t query : queries_.find(query_text))
        if (query != owner) mask(query);
  });
}

ScoreMask mask_of_own_groups(Exec& ex, const TextHashes& texts, int64_t group, Slice places) {
  return make_mask(ex, std::ssize(texts.query), [&](int64_t i, const auto& mask) {
    for (int64_t g = places.begin; g < places.end; ++g)
      if (is_false_negative(texts, group, i, i * group + g)) mask(g - places.begin);
  });
}

}  // namespace lodestone
