#include "launch/training/row_kinds.h"

#include <algorithm>
#include <limits>

namespace lodestone {

namespace {

/// The first row that a plan draws of a source; what it has, all rows of the source must have.
struct First {
  std::string source;
  RowKind kind{};
};

void require_mixable(const First& a, const First& b, bool RowKind::*has, const char* what) {
  if (a.kind.*has == b.kind.*has) return;
  const First &with = a.kind.*has ? a : b, &without = a.kind.*has ? b : a;
  throw Error(
      ExitCode::data, "rows",
      cat("a batch would mix rows of different tasks: source ", with.source, " has ", what, ", source ", without.source, " has none"),
      "give each kind a task of its own (tasks.NAME.data.sources), or a data.batching whose batches are of one source");
}

void require_alike(const RowKind& row, const RowKind& first, bool RowKind::*has, const char* what) {
  if (row.*has == first.*has) return;
  throw Error(ExitCode::data, "row",
              row.*has ? cat("the row has ", what, ", other rows of its source have none")
                       : cat("the row has no ", what, ", other rows of its source have"),
              "give all rows of the source theirs, or none");
}

/// Judges the rows that the plan draws, against the first of their source.
class Judge {
 public:
  Judge(const Plan& plan, const RowSource& rows, const RowNeeds& needs)
      : plan_(plan), rows_(rows), needs_(needs), firsts_(rows.sources().size()) {}

  /// Reads the first row of each source. Throws Error (data).
  void read_firsts() {
    for (size_t s = 0; s < plan_.sources().size(); ++s) {
      const First* of_batch = nullptr;
      for (const PlanMember& member : plan_.sources()[s].members) {
        if (member.rows == 0) continue;
        First& first = firsts_.at(static_cast<size_t>(member.source));
        first.source = rows_.sources().at(static_cast<size_t>(member.source)).name;
        first.kind = fitting_kind(rows_, row_at(s, member.first), needs_, read_);
        if (of_batch == nullptr) of_batch = &first;
        require_mixable(*of_batch, first, &RowKind::teacher, "teacher scores");
        require_mixable(*of_batch, first, &RowKind::gold, "gold scores");
      }
    }
  }
  int64_t row_at(size_t source, int64_t k) const {
    const SourceRow at = plan_.locate(static_cast<int32_t>(source), k);
    return rows_.row_of(at.source, at.k);
  }
  /// Throws Error (data) with row and source.
  void judge(int64_t row_id) {
    const RowKind kind = fitting_kind(rows_, row_id, needs_, read_);
    const First& first = firsts_[static_cast<size_t>(read_.row.source)];
    if (kind == first.kind) return count();
    try {
      require_alike(kind, first.kind, &RowKind::teacher, "teacher scores");
      require_alike(kind, first.kind, &RowKind::gold, "gold score");
    } catch (Error& error) {
      error.at("row", row_id).at("source", first.source);
      throw;
    }
  }
  /// Of the rows that were judged and fit.
  const DrawnNegatives& counts() const { return counts_; }
  /// The lowest id among this rank's share of the rows of a source of the plan that do not fit; `none` where all do.
  int64_t first_misfit(size_t source, int rank, int world, int64_t none) {
    const RankRows share = rank_rows(plan_.sources()[source].rows, rank, world);
    for (int64_t k = share.begin; k < share.end; ++k) {
      const int64_t id = row_at(source, k);
      try {
        judge(id);
      } catch (const Error& error) {
        if (error.code() != "row") throw;  // a file that cannot be read, which others may not meet
        return id;
      }
    }
    return none;
  }

 private:
  void count() {
    if (read_.usable.empty()) return;
    const int64_t left_out = positives_among_negatives(read_.row);
    counts_.left_out += left_out;
    counts_.rows += left_out > 0 ? 1 : 0;
    counts_.most = std::max(counts_.most, std::ssize(read_.usable));
  }

  const Plan& plan_;
  const RowSource& rows_;
  const RowNeeds& needs_;
  std::vector<First> firsts_;  // by the corpus' sources
  RowReading read_;
  DrawnNegatives counts_;
};

}  // namespace

RowNeeds row_needs(const RunConfig& config, const TaskConfig& task, const CollateConfig& collate) {
  RowNeeds needs{.candidates = collate.candidates(), .source_groups = collate.source_groups};
  const bool chosen = task.data.filter.positive_score_min.has_value();  // by their scores
  switch (config.objective.kind) {
    case ObjectiveKind::retromae:
      needs.single_texts = true;
      break;
    case ObjectiveKind::reranker:
      if (config.objective.reranker.distillation_weight > 0) needs.teacher_reader = "distillation of a reranker";
      if (!chosen) needs.pair_taker = "a reranker";
      break;
    case ObjectiveKind::embedding:
      if (needs_scores(task.loss)) needs.gold_reader = describe(task.loss);
      if (!needs_scores(task.loss) && !chosen && collate.purpose == Purpose::training) needs.pair_taker = describe(task.loss);
      if (needs_teacher(task.loss)) needs.teacher_reader = describe(task.loss);
      break;
  }
  return needs;
}

DrawnNegatives require_fitting_rows(const Plan& plan, const RowSource& rows, const RowNeeds& needs, Communicator& comm) {
  Judge judge(plan, rows, needs);
  judge.read_firsts();
  constexpr int64_t none = std::numeric_limits<int64_t>::max();
  int64_t misfit = none;
  for (size_t s = 0; s < plan.sources().size(); ++s) misfit = std::min(misfit, judge.first_misfit(s, comm.rank(), comm.size(), none));
  all_reduce(comm, std::span(&misfit, 1), Reduce::min);
  if (misfit == none) {
    DrawnNegatives counts = judge.counts();
    int64_t sums[] = {counts.left_out, counts.rows};
    all_reduce(comm, std::span(sums), Reduce::sum);
    all_reduce(comm, std::span(&counts.most, 1), Reduce::max);
    return {sums[0], sums[1], counts.most};
  }
  judge.judge(misfit);
  throw_internal(__FILE__, __LINE__, "rows", cat("row ", misfit, " did not fit, and now it does"));
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
  if (count(all) == 0 || count(kept) > 0) return;  // sources that do not exist are the plan's to name
  throw Error(ExitCode::data, "rows", cat("no row is left to train on: the filters leave out all ", count(all)),
              "lower data.positive_score_min, teacher_scores_min or teacher_scores_margin, or set data.rows_without_negatives to refuse");
}

}  // namespace lodestone
