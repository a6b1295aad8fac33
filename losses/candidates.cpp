#include "losses/candidates.h"

#include <algorithm>
#include <numeric>

#include "comm/rows.h"

namespace lodestone {

UnitTexts::UnitTexts(Exec& ex, const char* loss, ConstTensor emb, const Pairs& pairs) {
  const int64_t texts = pairs.queries * (1 + pairs.group);
  LODE_CHECK(emb.dim(0) == texts, loss, ": emb ", emb.shape(), " for ", pairs.queries, " queries of group ", pairs.group);
  unit_ = take_vectors(ex, emb.dtype(), emb.shape());
  d_unit_ = take_vectors(ex, emb.dtype(), emb.shape());
  norms_ = ex.arena.tensor(emb.dtype(), {texts});
  ex.backend.l2_normalize_forward(emb, unit_, norms_);
  ex.backend.fill_zero(d_unit_);
  queries = unit_.rows(0, pairs.queries);
  passages = unit_.rows(pairs.queries, texts);
  d_queries = d_unit_.rows(0, pairs.queries);
  d_passages = d_unit_.rows(pairs.queries, texts);
}

void UnitTexts::finish(Exec& ex, Tensor d_emb) const {
  ex.backend.fill_zero(d_emb);
  ex.backend.l2_normalize_backward(d_unit_, unit_, norms_, d_emb);
}

PassagesPerQuery::PassagesPerQuery(Exec& ex, Tensor passages, Tensor d_passages, int64_t group, int64_t first, int64_t count)
    : rows(passages), d_rows(d_passages), d_passages_(d_passages) {
  if (count == group) return;
  rows = d_rows = passages.rows(0, 0);
  if (count == 0) return;
  const int64_t queries = passages.dim(0) / group;
  rows = take_vectors(ex, passages.dtype(), {queries * count, passages.dim(1)});
  d_rows = take_vectors(ex, passages.dtype(), rows.shape());
  ex.backend.fill_zero(d_rows);
  const std::span<int64_t> places = ex.arena.array<int64_t>(queries * count);
  for (int64_t i = 0; i < queries; ++i) std::iota(places.begin() + i * count, places.begin() + (i + 1) * count, i * group + first);
  places_ = ex.backend.upload(view(std::span<const int64_t>(places)), ex.arena);
  ex.backend.select_rows(passages, places_, rows);
}

void PassagesPerQuery::finish(Exec& ex) const {
  if (places_.empty()) return;
  ex.backend.select_rows(d_passages_, places_, rows);
  ex.backend.axpy(1, d_rows, rows);
  ex.backend.place_rows(rows, places_, d_passages_);
}

SharedRows::SharedRows(Exec& ex, const Group& group, Candidates candidates, const Pairs& pairs, int64_t per_query, Tensor local,
                       Tensor d_local)
    : rows(local), d_rows(d_local), d_local_(d_local) {
  if (candidates != Candidates::all_ranks) return;
  const std::span<int64_t> counts = ex.arena.array<int64_t>(group.size());
  std::transform(pairs.rank_queries.begin(), pairs.rank_queries.end(), counts.begin(), [&](int64_t n) { return n * per_query; });
  counts_ = counts;
  const auto vectors = ex.arena.taking_for(Use::vectors);
  rows = gather_rows(ex, group.device, local, counts_);
  d_rows = ex.arena.tensor(rows.dtype(), rows.shape());
  ex.backend.fill_zero(d_rows);
  first_query = pairs.first_query;
}

void SharedRows::finish(Exec& ex, const Group& group) const {
  if (!counts_.empty()) scatter_rows(ex, group.device, d_rows, counts_, rows.rows(0, d_local_.dim(0)), d_local_);
}

}  // namespace lodestone
