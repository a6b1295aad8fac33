#include "losses/false_negatives.h"

#include <algorithm>
#include <limits>
#include <numeric>

namespace lodestone {

namespace {

/// Sets scores of one row to -infinity and counts them; a score that is masked already is not counted again.
template <class T>
class RowMask {
 public:
  RowMask(Tensor tile, int64_t row) : row_(tile.rows(row, row + 1).host<T>()) {}
  void operator()(int64_t column) {
    T& score = row_[static_cast<size_t>(column)];
    if (score == masked) return;
    score = masked;
    ++count;
  }
  int64_t count = 0;

 private:
  static constexpr T masked = -std::numeric_limits<T>::infinity();
  std::span<T> row_;
};

/// Calls mask_row(row mask, i) for every row i of the tile and returns how many scores were masked.
template <class MaskRow>
int64_t mask_rows(Tensor tile, const MaskRow& mask_row) {
  const auto all = [&]<class T>(T) {
    int64_t count = 0;
    for (int64_t i = 0; i < tile.dim(0); ++i) {
      RowMask<T> row(tile, i);
      mask_row(row, i);
      count += row.count;
    }
    return count;
  };
  return tile.dtype() == DType::f64 ? all(double{}) : all(float{});
}

uint64_t at(std::span<const uint64_t> hashes, int64_t i) { return hashes[static_cast<size_t>(i)]; }

std::span<const uint64_t> gather(Exec& ex, Communicator& group, const Pairs& pairs, int64_t per_query,
                                 std::span<const uint64_t> local) {
  const std::span<int64_t> counts = ex.arena.array<int64_t>(group.size());
  std::transform(pairs.rank_queries.begin(), pairs.rank_queries.end(), counts.begin(), [&](int64_t n) { return n * per_query; });
  const Tensor all = ex.arena.tensor(DType::i64, {pairs.global_queries * per_query});
  const ConstTensor mine(reinterpret_cast<const std::byte*>(local.data()), DType::i64, {static_cast<int64_t>(local.size())});
  group.all_gather(mine, all, counts).wait();
  return {reinterpret_cast<const uint64_t*>(all.bytes()), static_cast<size_t>(all.count())};
}

}  // namespace

bool is_false_negative(const TextHashes& texts, int64_t group, int64_t query, int64_t passage) {
  const int64_t positive = query * group, other = passage / group;
  if (passage == positive) return false;
  const uint64_t text = at(texts.passage, passage), own = at(texts.query, query);
  if (text == at(texts.passage, positive) || text == own) return true;
  if (other == query) return false;
  return at(texts.document, passage) == at(texts.document, positive) ||
         (passage == other * group && at(texts.query, other) == own);
}

TextHashes candidate_hashes(Exec& ex, Communicator& group, Candidates candidates, const Pairs& pairs) {
  const auto queries = static_cast<size_t>(pairs.queries), passages = static_cast<size_t>(pairs.queries * pairs.group);
  LODE_CHECK(
      pairs.query_hash.size() == queries && pairs.passage_hash.size() == passages && pairs.passage_document.size() == passages,
      "false negatives: hashes of ", pairs.query_hash.size(), " queries, ", pairs.passage_hash.size(), " passages and ",
      pairs.passage_document.size(), " documents for ", queries, " queries of group ", pairs.group);
  if (candidates != Candidates::all_ranks) return {pairs.query_hash, pairs.passage_hash, pairs.passage_document};
  return {gather(ex, group, pairs, 1, pairs.query_hash), gather(ex, group, pairs, pairs.group, pairs.passage_hash),
          gather(ex, group, pairs, pairs.group, pairs.passage_document)};
}

FalseNegatives::FalseNegatives(Exec& ex, const TextHashes& texts, int64_t group)
    : texts_(texts),
      group_(group),
      queries_(sorted(ex, texts.query)),
      passages_(sorted(ex, texts.passage)),
      documents_(sorted(ex, texts.document)) {}

FalseNegatives::Index FalseNegatives::sorted(Exec& ex, std::span<const uint64_t> hashes) {
  const std::span<int64_t> order = ex.arena.array<int64_t>(static_cast<int64_t>(hashes.size()));
  std::iota(order.begin(), order.end(), int64_t{0});
  std::sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return at(hashes, a) < at(hashes, b); });
  return {hashes, order};
}

std::span<const int64_t> FalseNegatives::Index::find(uint64_t hash) const {
  const auto equal = std::ranges::equal_range(order, hash, {}, [&](int64_t i) { return at(hashes, i); });
  return {equal.begin(), equal.end()};
}

int64_t FalseNegatives::mask_passages(int64_t first, Tensor tile) const {
  return mask_rows(tile, [&](auto& mask, int64_t i) {
    const int64_t query = first + i, positive = query * group_;
    const uint64_t own = at(texts_.query, query);
    for (const uint64_t text : {at(texts_.passage, positive), own})
      for (const int64_t passage : passages_.find(text))
        if (passage != positive) mask(passage);
    for (const int64_t passage : documents_.find(at(texts_.document, positive)))
      if (passage / group_ != query) mask(passage);
    for (const int64_t other : queries_.find(own))
      if (other != query) mask(other * group_);
  });
}

int64_t FalseNegatives::mask_queries(int64_t first, Tensor tile) const {
  return mask_rows(tile, [&](auto& mask, int64_t i) {
    const int64_t owner = first + i, positive = owner * group_;
    const uint64_t text = at(texts_.passage, positive);
    const auto mask_positives = [&](std::span<const int64_t> passages) {
      for (const int64_t passage : passages)
        if (passage % group_ == 0 && passage != positive) mask(passage / group_);
    };
    mask_positives(passages_.find(text));
    mask_positives(documents_.find(at(texts_.document, positive)));
    for (const uint64_t query_text : {text, at(texts_.query, owner)})
      for (const int64_t query : queries_.find(query_text))
        if (query != owner) mask(query);
  });
}

int64_t mask_own_group(const TextHashes& texts, int64_t group, int64_t first, Tensor tile) {
  return mask_rows(tile, [&](auto& mask, int64_t i) {
    for (int64_t g = 1; g < group; ++g)
      if (is_false_negative(texts, group, first + i, (first + i) * group + g)) mask(g);
  });
}

}  // namespace lodestone
