#include "launch/inference/evaluate.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "comm/gather_values.h"
#include "data/files/durable.h"
#include "data/plan/plan.h"
#include "data/records/inputs.h"
#include "launch/console/log.h"
#include "launch/console/progress.h"
#include "launch/console/version.h"
#include "launch/inference/same_work.h"
#include "launch/inference/similarity.h"
#include "losses/metrics.h"

namespace lodestone {

namespace {

constexpr int64_t block_texts = 2048;  // embedded between two lines of progress,
                                       // and sorted by length together

/// Gains of one query's hits and of its judgements.
struct QueryGains {
  std::vector<double> ranked, judged;
};

QueryGains gains_of(std::span<const Found> hits, std::span<const std::pair<int64_t, double>> judgements) {
  QueryGains gains;
  for (const auto& judgement : judgements) gains.judged.push_back(judgement.second);
  for (const Found& hit : hits) {
    const auto found = std::lower_bound(judgements.begin(), judgements.end(), hit.document,
                                        [](const auto& judgement, int64_t document) { return judgement.first < document; });
    gains.ranked.push_back(found != judgements.end() && found->first == hit.document ? found->second : 0);
  }
  return gains;
}

using Metric = double (*)(const RankedGains&, int64_t);
struct NamedMetric {
  const char* name;
  Metric metric;
};
constexpr NamedMetric metrics[] = {{"ndcg", ndcg_at}, {"map", average_precision_at}, {"recall", recall_at}, {"mrr", reciprocal_rank_at}};

std::vector<std::pair<std::string, double>> retrieval_scores(std::span<const QueryGains> queries, int64_t best) {
  std::vector<std::pair<std::string, double>> scores;
  for (const NamedMetric& m : metrics)
    for (const int64_t k : {1, 3, 5, 10, 20, 100, 1000}) {
      if (k > best) continue;
      double sum = 0;
      for (const QueryGains& q : queries) sum += m.metric({q.ranked, q.judged}, k);
      scores.emplace_back(cat(m.name, "_at_", k), sum / static_cast<double>(queries.size()));
    }
  return scores;
}

/// Every rank's rows [.,E] of `share`, on all ranks.
std::vector<float> gather_all(Communicator& comm, std::span<const float> share, int64_t total, int64_t width) {
  std::vector<int64_t> counts;
  counts.reserve(static_cast<size_t>(comm.size()));
  for (int r = 0; r < comm.size(); ++r)
    counts.push_back((rank_rows(total, r, comm.size()).end - rank_rows(total, r, comm.size()).begin) * width);
  return gather_values(comm, share, counts);
}

/// Then it correlates with nothing. Also when a value is NaN.
bool is_constant(std::span<const double> values) {
  const auto [least, most] = std::minmax_element(values.begin(), values.end());
  return !(*least < *most) || std::any_of(values.begin(), values.end(), [](double v) { return std::isnan(v); });
}

/// Whether an id stays one column of a run: not empty, and without what C or Python takes for white space, or a NUL.
bool is_one_column(std::string_view id) {
  constexpr std::string_view wide_blanks[] = {"\xC2\x85",     "\xC2\xA0",     "\xE1\x9A\x80", "\xE2\x80\x80", "\xE2\x80\x81",
                                              "\xE2\x80\x82", "\xE2\x80\x83", "\xE2\x80\x84", "\xE2\x80\x85", "\xE2\x80\x86",
                                              "\xE2\x80\x87", "\xE2\x80\x88", "\xE2\x80\x89", "\xE2\x80\x8A", "\xE2\x80\xA8",
                                              "\xE2\x80\xA9", "\xE2\x80\xAF", "\xE2\x81\x9F", "\xE3\x80\x80"};
  return !id.empty() && std::none_of(id.begin(), id.end(), [](unsigned char c) { return c <= ' ' || c == 0x7F; }) &&
         std::none_of(std::begin(wide_blanks), std::end(wide_blanks),
                      [&](std::string_view blank) { return id.find(blank) != std::string_view::npos; });
}

/// Digits enough for a float to be read back as it was.
std::string number_text(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.9g", value);
  return text;
}

}  // namespace

double TaskResult::score(const std::string& name) const {
  const auto found = std::find_if(scores.begin(), scores.end(), [&](const auto& s) { return s.first == name; });
  return found == scores.end() ? std::nan("") : found->second;
}

std::vector<float> embed_share(Communicator& comm, LoadedModel& model, std::span<const std::string> texts, const std::string& prompt,
                               const std::string& what) {
  require_same_texts(comm, std::vector<std::string_view>(texts.begin(), texts.end()), what);
  const RankRows mine = rank_rows(static_cast<int64_t>(texts.size()), comm.rank(), comm.size());
  const auto width = static_cast<size_t>(model.embedder().embedding());
  std::vector<float> out(static_cast<size_t>(mine.end - mine.begin) * width);
  Progress progress(what, mine.end - mine.begin, comm.rank() == 0);
  std::vector<std::string_view> block;
  for (int64_t begin = mine.begin; begin < mine.end; begin += block_texts) {
    const int64_t end = std::min(mine.end, begin + block_texts);
    block.assign(texts.begin() + begin, texts.begin() + end);
    const auto at = static_cast<size_t>(begin - mine.begin) * width;
    model.embedder().embed(model.exec(), block, prompt, std::span(out).subspan(at, block.size() * width));
    progress.show(end - mine.begin, {}, Progress::Plain::skip);
  }
  return out;
}

Retrieval evaluate_retrieval(Communicator& comm, LoadedModel& model, const BeirSet& set, const Prompts& prompts, int64_t best,
                             std::span<const int64_t> left_out) {
  const double start_s = now_s();
  const int64_t width = model.embedder().embedding();
  const auto query_count = static_cast<int64_t>(set.queries.size()), document_count = static_cast<int64_t>(set.documents.size());
  std::vector<float> documents = embed_share(comm, model, set.documents, prompts.passage, "documents");
  std::vector<float> queries = gather_all(comm, embed_share(comm, model, set.queries, prompts.query, "queries"), query_count, width);
  prepare_for_dot(model.folder(), documents, width);
  prepare_for_dot(model.folder(), queries, width);
  const std::vector<int64_t> precedence = precedence_of(set.document_ids);

  Retrieval out;
  out.hits = search(model.exec(), comm,
                    {.queries = queries,
                     .documents = documents,
                     .embedding = width,
                     .first_document = rank_rows(document_count, comm.rank(), comm.size()).begin,
                     .precedence = precedence,
                     .best = std::min(best, document_count),
                     .left_out = left_out});
  std::vector<QueryGains> gains;
  for (size_t q = 0; q < out.hits.size(); ++q) gains.push_back(gains_of(out.hits[q], set.judgements[q]));
  if (comm.rank() == 0) out.result.scores = retrieval_scores(gains, best);
  out.result.main_score = "ndcg_at_10";
  out.result.count = query_count;
  out.result.documents = document_count;
  out.result.seconds = now_s() - start_s;
  return out;
}

ScoredPairs read_scored_pairs(const std::filesystem::path& file, const InputOptions& options) {
  ScoredPairs pairs;
  const std::vector<std::filesystem::path> inputs{file};
  std::set<std::string> ignored;
  for (const WorkUnit& unit : work_units(inputs, options)) {
    const auto reader = open_unit(unit, options);
    for (Record record; reader->next(record);) {
      if (record.positives.size() != 1 || std::isnan(record.score))
        throw Error(ExitCode::data, "F30", "not a scored pair", "each row needs sentence1, sentence2 and a numeric score")
            .at("file", file.string())
            .at("line", reader->place().line);
      pairs.first.emplace_back(record.query);
      pairs.second.emplace_back(record.positives[0]);
      pairs.scores.push_back(record.score);
    }
    ignored.insert(reader->ignored_fields().begin(), reader->ignored_fields().end());
  }
  pairs.ignored.assign(ignored.begin(), ignored.end());
  if (pairs.scores.size() < 2)
    throw Error(ExitCode::data, "F32", cat(pairs.scores.size(), " scored pairs"), "a correlation needs at least two")
        .at("file", file.string());
  if (is_constant(pairs.scores))
    throw Error(ExitCode::data, "F32", cat("the score of all ", pairs.scores.size(), " pairs is ", pairs.scores[0]),
                "a correlation needs scores that differ")
        .at("file", file.string());
  return pairs;
}

TaskResult evaluate_pairs(Communicator& comm, LoadedModel& model, const ScoredPairs& pairs, const std::string& prompt) {
  const double start_s = now_s();
  const auto count = static_cast<int64_t>(pairs.scores.size()), width = model.embedder().embedding();
  const std::vector<float> first = embed_share(comm, model, pairs.first, prompt, "sentences 1");
  const std::vector<float> second = embed_share(comm, model, pairs.second, prompt, "sentences 2");
  std::vector<double> own;  // this rank's
  const RankRows mine = rank_rows(count, comm.rank(), comm.size());
  for (int64_t i = mine.begin; i < mine.end; ++i) {
    const auto at = static_cast<size_t>((i - mine.begin) * width), columns = static_cast<size_t>(width);
    own.push_back(similarity(model.folder(), std::span(first).subspan(at, columns), std::span(second).subspan(at, columns)));
  }
  const std::string name(name_of(model.folder().similarity));
  const std::vector<double> near = gather_values(comm, std::span<const double>(own));
  if (is_constant(near))
    throw Error(ExitCode::numerical, "F44", cat("the ", name, " of all ", count, " pairs is ", near[0], ": there is no correlation"),
                "the model tells no texts apart; evaluate an earlier checkpoint");
  TaskResult result;
  result.scores = {{name + "_spearman", spearman(near, pairs.scores)}, {name + "_pearson", pearson(near, pairs.scores)}};
  result.main_score = name + "_spearman";
  result.unit = "pairs";
  result.count = count;
  result.seconds = now_s() - start_s;
  return result;
}

void require_new_result(const std::filesystem::path& folder, const std::string& task) {
  for (const char* ending : {".json", ".trec"})
    if (const std::filesystem::path file = folder / (task + ending); path_exists(file))
      throw Error(ExitCode::usage, "exists", "a result of this name is there already", "give another --task or --output, or remove it")
          .at("file", file.string());
}

void require_run_ids(const BeirSet& set) {
  const auto require = [](std::span<const std::string> ids, const std::filesystem::path& file) {
    const auto found = std::find_if(ids.begin(), ids.end(), [](const std::string& id) { return !is_one_column(id); });
    if (found != ids.end())
      throw Error(ExitCode::data, "F30",
                  found->empty() ? "an empty id cannot stand in a TREC run" : "an id with white space cannot stand in a TREC run",
                  "change the id, or leave --output out")
          .at("file", file.string())
          .at("id", *found);
  };
  require(set.query_ids, set.query_file);
  require(set.document_ids, set.document_file);
}

void write_result(const std::filesystem::path& folder, const TaskResult& result, const std::string& model_name) {
  using Json = nlohmann::ordered_json;
  const auto add = [](Json& json, const std::string& name, double value) { json[name] = std::isfinite(value) ? Json(value) : Json(); };
  Json scores;
  for (const auto& [name, value] : result.scores) add(scores, name, value);
  for (const auto& [name, value] : result.details) add(scores, name, value);
  for (const auto& [name, values] : result.lists) scores[name] = values;
  for (const auto& experiment : result.experiments) {
    Json one;
    for (const auto& [name, value] : experiment) add(one, name, value);
    scores["scores_per_experiment"].push_back(one);
  }
  add(scores, "main_score", result.score(result.main_score));
  scores["hf_subset"] = "default";
  scores["languages"] = {result.language};  // mteb averages over languages: without one it has no score
  Json json;
  json["dataset_revision"] = "";
  json["task_name"] = result.task;
  json["mteb_version"] = nullptr;  // none evaluated it
  json["evaluation_time"] = result.seconds;
  json["kg_co2_emissions"] = nullptr;
  json["scores"][result.split] = Json::array({scores});
  json["lodestone"] = {{"version", version}, {"model", model_name}, {result.unit, result.count}, {"documents", result.documents}};
  make_folder(folder);
  require_new_result(folder, result.task);
  write_file_atomically(folder / (result.task + ".json"), json.dump(1) + "\n");
}

void write_run(const std::filesystem::path& folder, const Retrieval& retrieval, const BeirSet& set) {
  std::string text;
  for (size_t q = 0; q < retrieval.hits.size(); ++q)
    for (size_t r = 0; r < retrieval.hits[q].size(); ++r) {
      const Found& hit = retrieval.hits[q][r];
      text += set.query_ids[q] + " Q0 " + set.document_ids[static_cast<size_t>(hit.document)] + ' ' + std::to_string(r + 1) + ' ' +
              number_text(hit.score) + " lodestone\n";
    }
  make_folder(folder);
  write_file_atomically(folder / (retrieval.result.task + ".trec"), text);
}

}  // namespace lodestone
