#include "launch/row_kinds.h"

#include <algorithm>
#include <cmath>

namespace lodestone {

namespace {

/// What the first row of a source says of all of them; collating refuses a source whose rows differ.
struct Kind {
  int64_t row = 0;
  std::string source;
  bool scored = false, taught = false;
};

Kind kind_of(const RowSource& rows, SourceRow first) {
  PackedRow row;
  const int64_t id = rows.row_of(first.source, first.k);
  rows.read_counts(id, row);
  return {id, rows.sources().at(static_cast<size_t>(first.source)).name, !std::isnan(row.score), !row.teacher_scores.empty()};
}

Error missing(const Kind& kind, const char* what, const TaskConfig& task, const char* give) {
  Error error(ExitCode::data, "rows", cat("the rows have no ", what, ", which the loss reads (", describe(task.loss), ")"),
              cat("give every row of the source ", give, ", leave the source out with data.sources, or choose another loss"));
  return std::move(error.at("row", kind.row).at("source", kind.source));
}

void require_alike(const Kind& a, const Kind& b, bool Kind::*has, const char* what) {
  if (a.*has == b.*has) return;
  const Kind &with = a.*has ? a : b, &without = a.*has ? b : a;
  throw Error(ExitCode::data, "rows", cat("a batch would mix rows of different tasks: source ", with.source, " has ", what, ", source ", without.source, " has none"),
              "give each kind a task of its own (tasks.NAME.data.sources), or a data.batching whose batches are of one source");
}

}  // namespace

void require_fitting_rows(const RunConfig& config, const TaskConfig& task, const Plan& plan, const RowSource& rows) {
  const ObjectiveKind objective = config.objective.kind;
  if (objective == ObjectiveKind::retromae) return;
  const bool scores = objective == ObjectiveKind::embedding && needs_scores(task.loss);
  const bool teacher = objective == ObjectiveKind::embedding ? needs_teacher(task.loss) : config.objective.reranker.distillation_weight > 0;
  for (size_t s = 0; s < plan.sources().size(); ++s) {
    std::optional<Kind> first;
    for (const PlanMember& member : plan.sources()[s].members) {
      if (member.rows == 0) continue;
      const Kind kind = kind_of(rows, plan.locate(static_cast<int32_t>(s), member.first));
      if (!first) first = kind;
      require_alike(*first, kind, &Kind::taught, "teacher scores");
      require_alike(*first, kind, &Kind::scored, "gold scores");
      if (teacher && !kind.taught) throw missing(kind, "teacher scores", task, "teacher_scores (or pos_scores and neg_scores)");
      if (scores && !kind.scored) throw missing(kind, "gold score", task, "a score");
    }
  }
}

void require_rows(const TaskConfig& task, const std::vector<CorpusSource>& all, const std::vector<CorpusSource>& kept) {
  const auto count = [&](const std::vector<CorpusSource>& sources) {
    int64_t rows = 0;
    for (const CorpusSource& s : sources) {
      const auto means = [&](const std::string& pattern) { return matches(pattern, s.name); };
      if (task.data.sources.empty() || std::any_of(task.data.sources.begin(), task.data.sources.end(), means)) rows += s.rows;
    }
    return rows;
  };
  if (count(all) == 0 || count(kept) > 0) return;   // sources that do not exist are the plan's to name
  throw Error(ExitCode::data, "rows", cat("no row is left to train on: the filters leave out all ", count(all)),
              "lower data.teacher_scores_min or teacher_scores_margin, or set data.rows_without_negatives to refuse");
}

}  // namespace lodestone
