// How a batch's rows are found and put in order.
#include "data/batches/global_rows.h"

#include <algorithm>
#include <bit>

#include "core/error.h"

namespace lodestone {

void balance_tokens(std::span<int64_t> rows, std::span<const int64_t> tokens, std::vector<int64_t>& scratch) {
  const size_t n = rows.size();
  LODE_CHECK(tokens.size() == n, tokens.size(), " lengths for ", n, " rows");
  if (n < 2) return;
  // 1. Places by tokens; equal ones stay in the plan's order.
  scratch.resize(2 * n);
  const std::span<int64_t> sorted(scratch.data(), n), result(scratch.data() + n, n);
  for (size_t i = 0; i < n; ++i) sorted[i] = static_cast<int64_t>(i);
  std::sort(sorted.begin(), sorted.end(), [&](int64_t a, int64_t b) {
    const int64_t of_a = tokens[static_cast<size_t>(a)], of_b = tokens[static_cast<size_t>(b)];
    return of_a != of_b ? of_a < of_b : a < b;
  });
  // 2. Pairs (k, n - 1 - k) by bit-reversed counting over the next power of two, leaving out what is no pair.
  const size_t pairs = (n + 1) / 2;
  const int bits = static_cast<int>(std::bit_width(pairs - 1));
  size_t next = 0;
  for (uint64_t i = 0; i < uint64_t{1} << bits; ++i) {
    uint64_t k = 0;
    for (int b = 0; b < bits; ++b) k |= (i >> b & 1) << (bits - 1 - b);
    if (k >= pairs) continue;
    result[next++] = rows[static_cast<size_t>(sorted[k])];
    if (n - 1 - k != k) result[next++] = rows[static_cast<size_t>(sorted[n - 1 - k])];
  }
  std::copy(result.begin(), result.end(), rows.begin());
}

GlobalRows::GlobalRows(const Plan& plan, const RowSource& rows, RowCollator& collator) : plan_(plan), rows_(rows), collator_(collator) {
  const auto n = static_cast<size_t>(plan.config().global_batch);
  part_.rows.reserve(n);
  ids_.reserve(n);
  tokens_.reserve(n);
  scratch_.reserve(2 * n);
}

std::span<const int64_t> GlobalRows::read(int64_t draw, int64_t step) {
  plan_.batch(draw, part_);
  ids_.resize(part_.rows.size());  // fewer than N for sources with half batches
  tokens_.resize(part_.rows.size());
  for (size_t i = 0; i < ids_.size(); ++i) {
    const SourceRow row = plan_.locate(part_.source, part_.rows[i]);
    ids_[i] = rows_.row_of(row.source, row.k);
  }
  if (plan_.config().order == RowOrder::balanced) {
    for (size_t i = 0; i < ids_.size(); ++i) tokens_[i] = collator_.tokens(rows_, ids_[i], step);
    balance_tokens(ids_, tokens_, scratch_);
  }
  return ids_;
}

}  // namespace lodestone
