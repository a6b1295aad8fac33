#include "launch/mining/mining.h"

#include <algorithm>
#include <tuple>

#include "comm/gather_values.h"
#include "losses/negative_scores.h"

namespace lodestone {

namespace {

/// This rank's share of the work on some rows, by place, so that ranks encode equally many whoever owns them.
std::span<const int64_t> share_of(std::span<const int64_t> rows, const Communicator& comm) {
  const size_t world = static_cast<size_t>(comm.size()), rank = static_cast<size_t>(comm.rank());
  const size_t begin = rows.size() * rank / world, end = rows.size() * (rank + 1) / world;
  return rows.subspan(begin, end - begin);
}

}  // namespace

Mining::Mining(Communicator& comm, const HardNegativesConfig& config, NegativeRanker* ranker, NegativeProbe* probe)
    : comm_(comm), negatives_(config), ranker_(ranker), probe_(probe) {
  LODE_CHECK(config.probe == 0 || probe_ != nullptr, "probing needs something that scores negatives");
  LODE_CHECK(config.refill != MiningRefill::remine || ranker_ != nullptr, "mining anew needs something that ranks negatives");
}

void Mining::observe(int64_t step, int64_t part, std::span<const int64_t> rows, std::span<const int32_t> available,
                     std::span<const double> scores) {
  const auto n = static_cast<size_t>(config().negatives);
  const bool each = config().rule == MiningRule::each;
  LODE_CHECK(rows.size() == available.size() && (!each || scores.size() == rows.size() * n), "mining: ", scores.size(), " scores and ",
             available.size(), " lists for ", rows.size(), " rows of ", n, " negatives");
  std::vector<double> means(each ? 0 : rows.size());
  mean_per_query(scores, means);
  for (size_t i = 0; i < rows.size(); ++i) {
    NegativeScore s{rows[i], step, 0, static_cast<int32_t>(part), available[i], 0};
    for (size_t k = 0; k < (each ? n : 1); ++k) {
      s.negative = static_cast<int32_t>(k);
      s.score = each ? scores[i * n + k] : means[i];
      observed_.push_back(s);
    }
  }
}

void Mining::probe_rows(int64_t finished) {
  const int64_t count = config().probe, check = finished / config().every - 1;
  const std::vector<int64_t> rows = probe_->rows(check * count, count);
  const std::span<const int64_t> mine = share_of(rows, comm_);
  const ProbedScores probed = probe_->score(finished, mine, config().negatives, negatives_);
  observe(finished, 0, mine, probed.available, probed.scores);  // the step behind those of training so far
}

void Mining::hand_over() {
  std::vector<NegativeScore> all = gather_values(comm_, std::span<const NegativeScore>(observed_));
  observed_.clear();
  std::erase_if(all, [&](const NegativeScore& s) { return mining_owner(s.row, comm_.size()) != comm_.rank(); });
  negatives_.add(std::move(all));
}

NegativeRankings Mining::rank_anew(std::span<const NegativeEvent> events) {
  std::vector<int64_t> rows;
  for (const NegativeEvent& e : events)
    if (e.kind == NegativeEvent::became_easy) rows.push_back(e.row);
  const std::span<const int64_t> mine = share_of(rows, comm_);
  const std::vector<std::vector<int32_t>> ranked = ranker_->rank(mine);
  LODE_CHECK(ranked.size() == mine.size(), "mining: ", ranked.size(), " rankings for ", mine.size(), " rows");

  struct Place {
    int64_t row, place;
  };
  std::vector<Place> own;
  for (size_t i = 0; i < mine.size(); ++i)
    for (const int32_t place : ranked[i]) own.push_back({mine[i], place});
  NegativeRankings rankings;
  for (const Place& p : gather_values(comm_, std::span<const Place>(own))) rankings[p.row].push_back(static_cast<int32_t>(p.place));
  return rankings;
}

std::optional<MiningReport> Mining::end_of_step(int64_t finished) {
  if (!mining_due(config(), finished)) return std::nullopt;
  if (config().probe > 0) probe_rows(finished);
  hand_over();
  MiningCheck found = negatives_.check();
  std::vector<NegativeEvent> events = gather_values(comm_, std::span<const NegativeEvent>(found.events));
  const auto place = [](const NegativeEvent& e) { return std::tuple(e.row, e.negative, e.kind); };
  std::sort(events.begin(), events.end(), [&](const NegativeEvent& a, const NegativeEvent& b) { return place(a) < place(b); });
  all_reduce(comm_, std::span(&found.checked, 1), Reduce::sum);

  const bool change =
      std::any_of(events.begin(), events.end(), [](const NegativeEvent& e) { return e.kind == NegativeEvent::became_easy; });
  NegativeRankings rankings;
  if (change && config().refill == MiningRefill::remine) rankings = rank_anew(events);
  MiningReport report = negatives_.replace(events, rankings);
  report.checked = found.checked;
  return report;
}

MiningState Mining::state() {
  hand_over();
  MiningState state = negatives_.state();
  state.scores = gather_values(comm_, std::span<const MiningState::Score>(state.scores));
  std::sort(state.scores.begin(), state.scores.end(), [](const MiningState::Score& a, const MiningState::Score& b) {
    return std::tuple(a.row, a.negative) < std::tuple(b.row, b.negative);
  });
  return state;
}

}  // namespace lodestone
