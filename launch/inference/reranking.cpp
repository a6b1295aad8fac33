#include "launch/inference/reranking.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "comm/gather_values.h"
#include "data/plan/plan.h"
#include "data/records/inputs.h"
#include "launch/console/log.h"
#include "launch/console/progress.h"
#include "launch/inference/same_work.h"
#include "launch/inference/similarity.h"
#include "losses/metrics.h"

namespace lodestone {

namespace {

constexpr int64_t block_lists = 64;  // scored between two lines of progress, and sorted by length together

/// Gains of a list's candidates, the best scored first; `positives` of them, at the front of `scores`, are relevant.
std::vector<double> ranked_gains(std::span<const float> scores, int64_t positives) {
  std::vector<int64_t> order(scores.size());
  std::iota(order.begin(), order.end(), int64_t{0});
  if (const auto bad = std::find_if(scores.begin(), scores.end(), [](float score) { return !std::isfinite(score); }); bad != scores.end())
    throw Error(ExitCode::numerical, "F44", cat("a candidate's score is ", *bad), "the model has diverged; evaluate an earlier checkpoint");
  std::sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    const float x = scores[static_cast<size_t>(a)], y = scores[static_cast<size_t>(b)];
    return x != y ? x > y : a > b;
  });
  std::vector<double> gains;
  gains.reserve(order.size());
  for (const int64_t candidate : order) gains.push_back(candidate < positives ? 1 : 0);
  return gains;
}

}  // namespace

CandidateSet read_candidates(const std::filesystem::path& file, const InputOptions& options) {
  const std::vector<std::filesystem::path> inputs{file};
  CandidateSet set;
  std::set<std::string> ignored;
  for (const WorkUnit& unit : work_units(inputs, options)) {
    const auto reader = open_unit(unit, options);
    for (Record record; reader->next(record);) {
      if (record.positives.empty())
        throw Error(ExitCode::data, "F30", "a row without a positive has nothing to find", "give each row query, pos and neg")
            .at("file", file.string())
            .at("line", reader->place().line);
      if (record.negatives.empty()) {
        ++set.left_out;
        continue;
      }
      CandidateSet::List list{std::string(record.query), {}, static_cast<int64_t>(record.positives.size())};
      list.passages.assign(record.positives.begin(), record.positives.end());
      list.passages.insert(list.passages.end(), record.negatives.begin(), record.negatives.end());
      set.lists.push_back(std::move(list));
    }
    ignored.insert(reader->ignored_fields().begin(), reader->ignored_fields().end());
  }
  set.ignored.assign(ignored.begin(), ignored.end());
  if (set.lists.empty())
    throw Error(ExitCode::data, "F32", "no row has both positives and negatives", "give rows with query, pos and neg")
        .at("file", file.string());
  return set;
}

ScoreLists score_with(PairScorer& scorer, Exec ex, const Prompts& prompts) {
  return [&scorer, ex, prompts](std::span<const CandidateSet::List> lists) {
    std::vector<std::string> queries, passages;
    for (const CandidateSet::List& list : lists)
      for (const std::string& passage : list.passages) {
        queries.push_back(prompts.query + list.query);
        passages.push_back(prompts.passage + passage);
      }
    std::vector<TextPair> pairs;
    for (size_t i = 0; i < queries.size(); ++i) pairs.push_back({queries[i], passages[i]});
    std::vector<float> scores(pairs.size());
    scorer.score(ex, pairs, scores);
    return scores;
  };
}

ScoreLists score_with(LoadedModel& model, const Prompts& prompts) {
  return [&model, prompts](std::span<const CandidateSet::List> lists) {
    TextEmbedder& embedder = model.embedder();
    const auto width = static_cast<size_t>(embedder.embedding());
    std::vector<std::string> texts;  // each list's candidates, then its query
    for (const CandidateSet::List& list : lists) {
      for (const std::string& passage : list.passages) texts.push_back(prompts.passage + passage);
      texts.push_back(prompts.query + list.query);
    }
    const std::vector<std::string_view> views(texts.begin(), texts.end());
    std::vector<float> vectors(texts.size() * width), scores;
    embedder.embed(model.exec(), views, "", vectors);
    size_t first = 0;
    for (const CandidateSet::List& list : lists) {
      const size_t query = first + list.passages.size();
      for (size_t c = first; c < query; ++c)
        scores.push_back(static_cast<float>(
            similarity(model.folder(), std::span(vectors).subspan(c * width, width), std::span(vectors).subspan(query * width, width))));
      first = query + 1;
    }
    return scores;
  };
}

TaskResult evaluate_candidates(Communicator& comm, const CandidateSet& set, const ScoreLists& score) {
  const double start_s = now_s();
  std::vector<std::string_view> texts;
  for (const CandidateSet::List& list : set.lists) {
    texts.push_back(list.query);
    texts.insert(texts.end(), list.passages.begin(), list.passages.end());
  }
  require_same_texts(comm, texts, "candidates");
  const auto n = static_cast<int64_t>(set.lists.size());
  const RankRows mine = rank_rows(n, comm.rank(), comm.size());
  struct Measure {
    const char* name;
    double (*value)(const RankedGains&, int64_t);
    int64_t ranks;
  };
  constexpr int64_t whole_list = int64_t{1} << 40;
  const Measure measures[] = {{"map", average_precision_at, whole_list},
                              {"mrr_at_10", reciprocal_rank_at, 10},
                              {"ndcg_at_3", ndcg_at, 3},
                              {"ndcg_at_5", ndcg_at, 5},
                              {"ndcg_at_10", ndcg_at, 10}};
  const size_t kinds = std::size(measures);
  std::vector<double> own;  // of this rank's lists, one behind the other
  int64_t candidates = 0;
  for (const CandidateSet::List& list : set.lists) candidates += static_cast<int64_t>(list.passages.size());

  Progress progress("lists", mine.end - mine.begin, comm.rank() == 0);
  for (int64_t begin = mine.begin; begin < mine.end; begin += block_lists) {
    const int64_t end = std::min(mine.end, begin + block_lists);
    const auto block = std::span(set.lists).subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin));
    const std::vector<float> scores = score(block);
    size_t at = 0;
    for (size_t i = 0; i < block.size(); ++i) {
      const std::vector<double> ranked = ranked_gains(std::span(scores).subspan(at, block[i].passages.size()), block[i].positives);
      at += block[i].passages.size();
      for (const Measure& m : measures) own.push_back(m.value({ranked, ranked}, m.ranks));
    }
    progress.show(end - mine.begin, {}, Progress::Plain::skip);
  }
  progress.clear();
  const std::vector<double> values = gather_values(comm, std::span<const double>(own));

  TaskResult result;
  for (size_t m = 0; m < kinds; ++m) {
    double sum = 0;
    for (size_t i = m; i < values.size(); i += kinds) sum += values[i];
    result.scores.emplace_back(measures[m].name, sum / static_cast<double>(n));
  }
  result.main_score = "map";
  result.unit = "lists";
  result.count = n;
  result.documents = candidates;
  result.seconds = now_s() - start_s;
  return result;
}

}  // namespace lodestone
