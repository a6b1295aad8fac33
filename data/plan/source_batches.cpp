// How the rows of a source are ordered and cut into batches.
#include "data/plan/source_batches.h"

#include <algorithm>

#include "core/error.h"
#include "data/plan/permutation.h"

namespace lodestone {

SourceBatches::SourceBatches(Key key, const PlanSource& source)
    : key_(key), rows_(source.rows), batch_(source.batch), members_(source.members) {
  LODE_CHECK(batch_ >= 1, "a batch of ", batch_, " rows");
  int64_t rounds = 1;
  for (const PlanMember& member : members_) rounds = std::max(rounds, member.repeat);
  batches_before_.push_back(0);
  if (rounds == 1) {
    batches_before_.push_back(rows_ / batch_);
    return;
  }
  for (int64_t s = 0; s < rounds; ++s) {
    Round& round = rounds_.emplace_back();
    for (const PlanMember& member : members_) {
      const int64_t begin = s * member.repeat * member.rows / rounds, end = (s + 1) * member.repeat * member.rows / rounds;
      round.windows.push_back({round.rows, begin});
      round.rows += end - begin;
    }
    batches_before_.push_back(batches_before_.back() + round.rows / batch_);
  }
}

int64_t SourceBatches::rows_per_epoch() const {
  if (rounds_.empty()) return rows_;
  int64_t rows = 0;
  for (const Round& round : rounds_) rows += round.rows;
  return rows;
}

void SourceBatches::rows(uint64_t order, int64_t b, std::vector<int64_t>& out) const {
  LODE_CHECK(b >= 0 && b < per_epoch(), "batch ", b, " of an epoch of ", per_epoch());
  const Key epoch = key_.with("rows").with(order);
  out.resize(static_cast<size_t>(batch_));
  if (rounds_.empty()) {
    const Permutation shuffled(epoch, rows_);
    for (int64_t i = 0; i < batch_; ++i) out[static_cast<size_t>(i)] = shuffled(b * batch_ + i);
    return;
  }
  const auto s = static_cast<size_t>(std::upper_bound(batches_before_.begin(), batches_before_.end(), b) - batches_before_.begin() - 1);
  const Round& round = rounds_[s];
  const Permutation places(epoch.with("round").with(s), round.rows);
  for (int64_t i = 0; i < batch_; ++i) {
    const int64_t place = places((b - batches_before_[s]) * batch_ + i);
    const auto after = std::upper_bound(round.windows.begin(), round.windows.end(), place,
                                        [](int64_t p, const Window& window) { return p < window.first; });
    const auto m = static_cast<size_t>(after - round.windows.begin() - 1);  // of several that start there (empty ones), the last
    const PlanMember& member = members_[m];
    const Permutation shuffled(epoch.with("member").with(m), member.rows);
    out[static_cast<size_t>(i)] = member.first + shuffled((round.windows[m].begin + place - round.windows[m].first) % member.rows);
  }
}

}  // namespace lodestone
