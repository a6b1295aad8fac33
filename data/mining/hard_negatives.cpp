#include "data/mining/hard_negatives.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <tuple>

#include "core/rng.h"

namespace lodestone {

namespace {

constexpr int32_t refreshed = 1;  // scored since the last check
constexpr int32_t fresh = 2;      // for the first time

/// Where the first window of a list begins.
int64_t first_place(const HardNegativesConfig& c, int64_t available) {
  return std::min(negative_window(c, 0).begin, std::max(available - c.negatives, int64_t{0}));
}

}  // namespace

void require_valid(const HardNegativesConfig& c) {
  const auto refuse = [](const std::string& what, const std::string& remedy) { throw Error(ExitCode::usage, "config", what, remedy); };
  if (c.negatives < 1) refuse("mining needs at least one negative per row", "raise the number of negatives per query");
  if (c.every < 1) refuse(cat("mining checks every ", c.every, " steps"), "give 1 or more");
  if (c.probe < 0) refuse(cat("mining probes ", c.probe, " rows"), "give 0 or more");
  if (c.first_end < 0) refuse(cat("the first window of mining ends at ", c.first_end), "give 0 or more");
  if (!(c.mean_ratio >= 1 && c.each_ratio >= 1)) refuse("a mining ratio is below 1", "give 1 or more, such as 1.15");
  if (c.rule == MiningRule::each && c.refill == MiningRefill::remine)
    refuse("mining one by one cannot make lists anew", "use the mean rule with remine, or slide");
}

bool mean_became_easy(const HardNegativesConfig& c, double initial, double current) {
  return c.mean_ratio * current < initial && std::abs(current) < c.mean_limit;
}

bool negative_became_easy(const HardNegativesConfig& c, double initial, double current) {
  return c.each_ratio * current < initial && current < c.each_limit;
}

Slice negative_window(const HardNegativesConfig& c, int64_t replacements) {
  const int64_t begin = std::max((replacements - 1) * c.negatives + c.first_end, int64_t{0});
  return {begin, begin + c.negatives};
}

int mining_owner(int64_t row, int world) { return static_cast<int>(mix64(static_cast<uint64_t>(row)) % static_cast<uint64_t>(world)); }

HardNegatives::HardNegatives(const HardNegativesConfig& config)
    : config_(config), per_row_(config.rule == MiningRule::each ? config.negatives : 1) {
  require_valid(config);
}

int64_t HardNegatives::first(int64_t row) const {
  return negative_window(config_, config_.rule == MiningRule::mean ? replacements(row) : 0).begin;
}

std::span<const int32_t> HardNegatives::chosen(int64_t row) const {
  const auto it = chosen_.find(row);
  return it == chosen_.end() ? std::span<const int32_t>() : std::span<const int32_t>(it->second);
}

int64_t HardNegatives::replacements(int64_t row) const {
  const auto it = rows_.find(row);
  return it == rows_.end() ? 0 : it->second.replacements;
}

bool HardNegatives::exhausted(int64_t row) const {
  const auto it = rows_.find(row);
  return it != rows_.end() && it->second.exhausted;
}

void HardNegatives::add(std::vector<NegativeScore> scores) {
  std::erase_if(scores, [](const NegativeScore& s) { return !std::isfinite(s.score); });
  const auto place = [](const NegativeScore& s) { return std::tuple(s.row, s.negative, s.step, s.part); };
  std::sort(scores.begin(), scores.end(), [&](const NegativeScore& a, const NegativeScore& b) { return place(a) < place(b); });
  for (size_t begin = 0; begin < scores.size();) {
    const NegativeScore& s = scores[begin];
    LODE_CHECK(0 <= s.negative && s.negative < per_row_, "mining: a score of negative ", s.negative, " of ", per_row_);
    double sum = 0;
    size_t end = begin;
    for (; end < scores.size() && scores[end].row == s.row && scores[end].negative == s.negative && scores[end].step == s.step; ++end)
      sum += scores[end].score;
    const double mean = sum / static_cast<double>(end - begin);
    const auto [it, inserted] = scores_.try_emplace(key(s.row, s.negative));
    Score& kept = it->second;
    if (inserted) kept = {mean, mean, 0, fresh};
    if ((kept.flags & refreshed) == 0) refreshed_.push_back(it->first);
    kept.current = mean;
    kept.available = static_cast<int32_t>(s.available);
    kept.flags |= refreshed;
    begin = end;
  }
}

MiningCheck HardNegatives::check() {
  MiningCheck found;
  std::sort(refreshed_.begin(), refreshed_.end());
  for (const int64_t k : refreshed_) {
    const auto it = scores_.find(k);
    if (it == scores_.end()) continue;
    Score& s = it->second;
    const int64_t row = k / per_row_, negative = k % per_row_;
    const bool is_new = (s.flags & fresh) != 0;
    const auto event = [&](NegativeEvent::Kind kind, double score) {
      found.events.push_back({row, static_cast<int32_t>(negative), kind, s.available, score});
    };
    const bool mean = config_.rule == MiningRule::mean;
    const bool easy = mean ? mean_became_easy(config_, s.initial, s.current)
                           : negative_became_easy(config_, s.initial, s.current) || (is_new && s.initial < config_.each_floor);
    if (easy && !exhausted(row)) event(NegativeEvent::became_easy, s.current);
    const std::span<const int32_t> now = chosen(row);
    const bool successor =
        mean ? replacements(row) > 0
             : !now.empty() && now[static_cast<size_t>(negative)] >= first_place(config_, s.available) + config_.negatives;
    if (is_new && successor) event(NegativeEvent::first_scored, s.initial);
    s.flags = 0;
    ++found.checked;
  }
  refreshed_.clear();
  return found;
}

MiningReport HardNegatives::replace(std::span<const NegativeEvent> events, const NegativeRankings& rankings) {
  MiningReport report;
  for (const NegativeEvent& e : events) {
    if (e.kind == NegativeEvent::first_scored) {
      ++report.first_scored;
      report.new_score_sum += e.score;
      continue;
    }
    Row& row = rows_[e.row];
    if (row.exhausted) continue;  // by an event before this one
    if (refill(row, e, rankings)) {
      ++row.replacements;
      ++report.replaced;
      report.old_score_sum += e.score;
      scores_.erase(key(e.row, e.negative));
    } else {
      row.exhausted = true;
      ++report.exhausted;
    }
  }
  return report;
}

bool HardNegatives::refill(Row& row, const NegativeEvent& easy, const NegativeRankings& rankings) {
  const int64_t n = config_.negatives;
  if (config_.rule == MiningRule::each) {
    const auto begin = static_cast<int32_t>(first_place(config_, easy.available));
    if (row.replacements == 0) row.next = begin + static_cast<int32_t>(n);
    if (row.next >= easy.available) return false;
    std::vector<int32_t>& places = chosen_[easy.row];
    if (places.empty()) {
      places.resize(static_cast<size_t>(n));
      std::iota(places.begin(), places.end(), begin);
    }
    places[static_cast<size_t>(easy.negative)] = row.next++;
    return true;
  }
  if (config_.refill == MiningRefill::slide) return negative_window(config_, row.replacements + 1).end <= easy.available;
  const auto ranking = rankings.find(easy.row);
  if (ranking == rankings.end()) return false;
  const auto available = static_cast<int64_t>(ranking->second.size());
  if (available <= n) return false;
  const auto begin = ranking->second.begin() + first_place(config_, available);
  chosen_[easy.row].assign(begin, begin + n);
  return true;
}

MiningState HardNegatives::state() const {
  MiningState state;
  for (const auto& [k, s] : scores_)
    state.scores.push_back({k / per_row_, static_cast<int32_t>(k % per_row_), s.flags, s.available, s.initial, s.current});
  std::sort(state.scores.begin(), state.scores.end(), [](const MiningState::Score& a, const MiningState::Score& b) {
    return std::tuple(a.row, a.negative) < std::tuple(b.row, b.negative);
  });
  for (const auto& [row, r] : rows_)
    state.rows.push_back({row, r.replacements, r.next, r.exhausted ? 1 : 0, static_cast<int32_t>(chosen(row).size())});
  std::sort(state.rows.begin(), state.rows.end(), [](const MiningState::Row& a, const MiningState::Row& b) { return a.row < b.row; });
  for (const MiningState::Row& r : state.rows) {
    const std::span<const int32_t> places = chosen(r.row);
    state.chosen.insert(state.chosen.end(), places.begin(), places.end());
  }
  return state;
}

void HardNegatives::restore(const MiningState& state, int rank, int world) {
  LODE_CHECK(scores_.empty() && rows_.empty(), "mining: restored over a state that is in use");
  for (const MiningState::Score& s : state.scores) {
    if (mining_owner(s.row, world) != rank) continue;
    scores_[key(s.row, s.negative)] = {s.initial, s.current, static_cast<int32_t>(s.available), s.flags};
    if ((s.flags & refreshed) != 0) refreshed_.push_back(key(s.row, s.negative));
  }
  auto places = state.chosen.begin();
  for (const MiningState::Row& r : state.rows) {
    rows_[r.row] = {r.replacements, r.next, r.exhausted != 0};
    if (r.chosen > 0) chosen_[r.row].assign(places, places + r.chosen);
    places += r.chosen;
  }
}

}  // namespace lodestone
