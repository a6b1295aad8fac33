#include "launch/training/batch_kinds.h"

#include <algorithm>

namespace lodestone {

namespace {

std::string range(int64_t least, int64_t most) { return least == most ? cat(least) : cat(least, " to ", most); }

/// A source without in-batch negatives is a batch of one query as far as its negatives are concerned.
BatchKind kind_of(const TaskConfig& task, int64_t queries, int64_t group, bool in_batch_negatives, std::span<const int64_t> team_sizes) {
  BatchKind kind{.queries = queries, .passages = group};
  for (size_t i = 0; i < team_sizes.size(); ++i) {
    const auto ranks = static_cast<int>(std::min(team_sizes[i], queries));  // those that have rows
    for (const int rank : {0, ranks - 1}) {
      const RankRows share = rank_rows(queries, rank, ranks);
      const NegativeCounts negatives = in_batch_negatives ? negatives_per_query(task.loss, queries, share.end - share.begin, group)
                                                          : negatives_per_query(task.loss, 1, 1, group);
      if (i == 0 && rank == 0) kind.fewest = kind.most = negatives;
      kind.fewest = {std::min(kind.fewest.of_query, negatives.of_query), std::min(kind.fewest.of_positive, negatives.of_positive)};
      kind.most = {std::max(kind.most.of_query, negatives.of_query), std::max(kind.most.of_positive, negatives.of_positive)};
    }
  }
  return kind;
}

int64_t group_of(const TaskConfig& task, const PlanSource& source) { return group_within(source.group, task.data.train_group_size); }

}  // namespace

std::vector<int64_t> team_sizes(const ScheduleConfig& schedule, int32_t task, int world) {
  std::vector<int64_t> sizes;
  for (const Team& team : form_teams(schedule, world))
    if (team.task < 0 || team.task == task) sizes.push_back(team.ranks);
  return sizes;
}

std::string describe_groups(const ScheduleConfig& schedule, int world) {
  if (schedule.layout == Layout::colocated) return "";
  const auto sets = static_cast<int64_t>(form_teams(schedule, world).size() / schedule.tasks.size());
  return cat(schedule.groups, sets == schedule.groups ? "" : cat(", ", sets, " at a time"));
}

std::vector<BatchKind> batch_kinds(const TaskConfig& task, std::span<const PlanSource> sources, std::span<const int64_t> team_sizes) {
  if (sources.empty()) return {kind_of(task, task.global_batch, task.data.train_group_size, true, team_sizes)};
  std::vector<BatchKind> kinds;
  for (const PlanSource& source : sources) {
    BatchKind kind = kind_of(task, source.batch, group_of(task, source), source.in_batch_negatives, team_sizes);
    auto same = std::find_if(kinds.begin(), kinds.end(), [&](const BatchKind& k) {
      return k.queries == kind.queries && k.passages == kind.passages && k.most == kind.most;
    });
    if (same == kinds.end()) same = kinds.insert(same, std::move(kind));
    same->sources.push_back(source.name);
  }
  return kinds;
}

void require_comparisons(const RunConfig& config, const TaskConfig& task, std::span<const PlanSource> sources,
                         std::span<const int64_t> team_sizes) {
  const ObjectiveKind objective = config.objective.kind;
  for (const PlanSource& source : sources) {
    const int64_t group = group_of(task, source);
    bool compared = true;
    switch (objective) {
      case ObjectiveKind::retromae:
        break;
      case ObjectiveKind::reranker:
        compared = group > 1;
        break;
      case ObjectiveKind::embedding:
        compared = needs_scores(task.loss) || kind_of(task, source.batch, group, source.in_batch_negatives, team_sizes).most.of_query > 0;
        break;
    }
    if (compared) continue;
    throw Error(ExitCode::usage, "config",
                cat("data: queries of the source ", source.name, " are compared with nothing: its groups are of ", group, " passage",
                    source.in_batch_negatives ? ", and no other query's passages are candidates" : ", and it has no in-batch negatives"),
                task.data.train_group_size > 1 ? "raise the group_size of its rule in data.rules, or leave the source out with data.sources"
                                               : "set data.train_group_size to 2 or more, or leave the source out with data.sources");
  }
}

std::vector<std::string> describe(std::span<const BatchKind> kinds, ObjectiveKind objective, Layout layout,
                                  std::span<const int64_t> team_sizes) {
  const auto [fewest, most] = std::minmax_element(team_sizes.begin(), team_sizes.end());
  const std::string ranks = layout == Layout::colocated ? "all ranks" : cat(range(*fewest, *most), *most == 1 ? " rank" : " ranks");
  std::vector<std::string> lines;
  for (const BatchKind& k : kinds) {
    std::string line;
    switch (objective) {
      case ObjectiveKind::retromae:
        line = cat(k.queries, " texts over ", ranks);
        break;
      case ObjectiveKind::reranker:
        line = cat(k.queries, " queries x ", k.passages, " pairs over ", ranks, ", ", k.passages - 1, " negatives per query");
        break;
      case ObjectiveKind::embedding:
        line = cat(k.queries, " queries x ", k.passages, k.passages == 1 ? " passage" : " passages", " over ", ranks, ", ",
                   range(k.fewest.of_query, k.most.of_query), " negatives per query",
                   k.most.of_positive == 0 ? "" : cat(", ", range(k.fewest.of_positive, k.most.of_positive), " per positive"));
    }
    for (size_t i = 0; kinds.size() > 1 && i < k.sources.size(); ++i) line += cat(i == 0 ? ": " : ", ", k.sources[i]);
    lines.push_back(std::move(line));
  }
  return lines;
}

}  // namespace lodestone
