// How the positive and the negatives of a row are chosen.
#include "data/batches/candidates.h"

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "data/files/below.h"

namespace lodestone {
namespace {

Error bad_row(const std::string& what, std::string remedy) { return Error(ExitCode::data, "row", what, std::move(remedy)); }

void require_scores(const PackedRow& row, const char* mode) {
  if (row.teacher_scores.empty())
    throw bad_row(cat("the row has no teacher scores, but ", mode, " chooses by them"), "give all rows theirs, or choose otherwise");
}

bool is_positive(const PackedRow& row, uint64_t text) {
  return std::any_of(row.positives.begin(), row.positives.end(), [&](const PackedText& p) { return p.text_hash == text; });
}

int64_t place_of_highest(std::span<const double> scores) { return std::max_element(scores.begin(), scores.end()) - scores.begin(); }

}  // namespace

void require_matching_scores(const PackedRow& row) {
  const size_t texts = row.positives.size() + row.negatives.size();
  if (row.teacher_scores.empty() || row.teacher_scores.size() == texts) return;
  throw bad_row(cat("the row has ", row.teacher_scores.size(), " teacher scores for ", texts, " passages"),
                "give one score for each positive, then one for each negative");
}

int64_t positives_among_negatives(const PackedRow& row) {
  return std::count_if(row.negatives.begin(), row.negatives.end(), [&](const PackedText& n) { return is_positive(row, n.text_hash); });
}

void usable_negatives(const PackedRow& row, SelectPositive positive, std::vector<int64_t>& places) {
  const auto positives = std::ssize(row.positives), texts = positives + std::ssize(row.negatives);
  const bool by_score = positive == SelectPositive::teacher && !row.teacher_scores.empty();
  const int64_t best = by_score ? place_of_highest(row.teacher_scores) : -1;
  places.clear();
  for (int64_t place = positives; place < texts; ++place) {
    const uint64_t text = text_at(row, place).text_hash;
    const bool taken = is_positive(row, text) || (best >= 0 && text_at(row, best).text_hash == text);
    if (!taken) places.push_back(place);
  }
}

void require_choosable(const PackedRow& row, const CandidateConfig& config, std::vector<int64_t>& usable) {
  usable.clear();
  require_matching_scores(row);
  if (config.positive == SelectPositive::teacher)
    require_scores(row, "select_positive: teacher");
  else if (row.positives.empty())
    throw bad_row("the row has no positive",
                  "pack rows with at least one positive, or set select_positive to teacher where rows have teacher scores");
  if (config.positive == SelectPositive::teacher_pos) require_scores(row, "select_positive: teacher-pos");
  if (config.group == 1) return;
  usable_negatives(row, config.positive, usable);
  if (usable.empty())
    throw bad_row(cat("the row has no negative", row.negatives.empty() ? "" : " left beside its positives", ", but each query takes ",
                      config.group - 1),
                  "mine negatives, leave such rows out (data.rows_without_negatives), or set train_group_size to 1");
  if (config.negative == SelectNegative::teacher_plus) require_scores(row, "select_negative: teacher+");
  if (config.negative == SelectNegative::teacher_minus) require_scores(row, "select_negative: teacher-");
}

CandidateChooser::CandidateChooser(const CandidateConfig& config, const NegativeWindows* windows) : config_(config), windows_(windows) {
  if (config_.group < 1) {
    throw Error(ExitCode::usage, "group", cat("a group of ", config_.group, " passages has no positive"), "set it to at least 1");
  }
  if (config_.negative == SelectNegative::window && windows_ == nullptr) {
    throw Error(ExitCode::usage, "group", "negatives are chosen by the window of mining, but nothing is mined",
                "turn mining on, or choose negatives otherwise");
  }
}

void CandidateChooser::choose(const PackedRow& row, int64_t row_id, Key key) {
  require_choosable(row, config_, negatives_);
  usable_ = std::ssize(negatives_);
  choice_.clear();
  choose_positive(row, key);
  if (config_.group > 1) choose_negatives(row, row_id, key);
}

void CandidateChooser::choose_positive(const PackedRow& row, Key key) {
  const size_t positives = row.positives.size();
  const std::span<const double> scores = row.teacher_scores;
  switch (config_.positive) {
    case SelectPositive::random:
      return choice_.push_back(static_cast<int64_t>(below(key.bits(0), positives)));
    case SelectPositive::first:
      return choice_.push_back(0);
    case SelectPositive::teacher_pos:
      return choice_.push_back(place_of_highest(scores.first(positives)));
    case SelectPositive::teacher:
      return choice_.push_back(place_of_highest(scores));
  }
}

void CandidateChooser::choose_negatives(const PackedRow& row, int64_t row_id, Key key) {
  const auto wanted = static_cast<size_t>(config_.group - 1);
  const size_t given = negatives_.size();
  const auto by_score = [&](auto before) {
    std::sort(negatives_.begin(), negatives_.end(), [&](int64_t a, int64_t b) {
      const double of_a = row.teacher_scores[static_cast<size_t>(a)], of_b = row.teacher_scores[static_cast<size_t>(b)];
      return of_a != of_b ? before(of_a, of_b) : a < b;
    });
  };
  switch (config_.negative) {
    case SelectNegative::random: {
      const size_t copies = (wanted + given - 1) / given;
      for (size_t i = given; i < copies * given; ++i) negatives_.push_back(negatives_[i - given]);
      for (size_t i = 0; i < wanted; ++i) {  // the first steps of a Fisher-Yates shuffle
        std::swap(negatives_[i], negatives_[i + below(key.bits(i + 1), negatives_.size() - i)]);
      }
      break;
    }
    case SelectNegative::window:
      for (size_t i = 0; i < wanted; ++i) {
        const int64_t at =
            negative_place(*windows_, row_id, static_cast<int64_t>(i), static_cast<int64_t>(wanted), static_cast<int64_t>(given));
        choice_.push_back(negatives_[static_cast<size_t>(at)]);
      }
      return;
    case SelectNegative::teacher_minus:
      by_score(std::less<double>());
      break;
    case SelectNegative::teacher_plus:
      by_score(std::greater<double>());
      break;
    case SelectNegative::first:
      break;
  }
  for (size_t i = 0; i < wanted; ++i) choice_.push_back(negatives_[i % negatives_.size()]);
}

}  // namespace lodestone
