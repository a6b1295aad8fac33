// Evaluation and encoding over ranks with a tiny random model folder: the same scores for any number of ranks.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "launch/inference/evaluate.h"
#include "tests/support/mpi_world.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tiny_folder.h"

namespace lodestone::test {
namespace {

BeirSet toy_set() {
  BeirSet set;
  const char* const words[] = {"red", "blue", "stone", "river", "cat", "dog", "tree", "moon"};
  for (int64_t d = 0; d < 23; ++d) {
    set.document_ids.push_back("d" + std::to_string(d * 37 % 100));
    std::string text;
    for (int64_t w = 0; w < 1 + d % 6; ++w) text += std::string(words[(d * 5 + w * w) % 8]) + " ";
    set.documents.push_back(text);
  }
  for (int64_t q = 0; q < 9; ++q) {
    set.query_ids.push_back("q" + std::to_string(q));
    set.queries.push_back(set.documents[static_cast<size_t>(q * 2)] + words[q % 8]);
    set.judgements.push_back({{q * 2, 1.0}, {q * 2 + 1, 2.0}});
  }
  return set;
}

TEST(Evaluate, RetrievalScoresAreIndependentOfRanks) {
  const TinyFolder folder;
  const auto backend = make_backend({});
  LoadedModel model(folder.path(), {}, *backend);
  const BeirSet set = toy_set();
  const auto self = make_self_comm();
  const Retrieval alone = evaluate_retrieval(*self, model, set, {"red ", ""}, 10, {});
  const Retrieval together = evaluate_retrieval(world_comm(), model, set, {"red ", ""}, 10, {});
  if (world_comm().rank() != 0) return;
  ASSERT_EQ(together.hits.size(), set.queries.size());
  for (size_t q = 0; q < alone.hits.size(); ++q) EXPECT_EQ(alone.hits[q].size(), 10u);
  EXPECT_EQ(alone.result.scores.size(), together.result.scores.size());
  for (const auto& [name, value] : alone.result.scores) EXPECT_NEAR(together.result.score(name), value, 1e-12) << name;
  EXPECT_GT(alone.result.score("recall_at_10"), 0);
  EXPECT_TRUE(std::isnan(alone.result.score("recall_at_100")));  // only ten documents were kept
}

/// The tiny model without its Normalize module, whose similarity goes by this name.
void make_raw(const TinyFolder& folder, const std::filesystem::path& raw, const std::string& similarity) {
  std::filesystem::copy(folder.path(), raw, std::filesystem::copy_options::recursive);
  std::ifstream file(raw / "modules.json");
  auto modules = nlohmann::json::parse(file), kept = nlohmann::json::array();
  for (const auto& module : modules)
    if (module.at("type").get<std::string>().find("Normalize") == std::string::npos) kept.push_back(module);
  std::ofstream(raw / "modules.json") << kept;
  std::ofstream(raw / "config_sentence_transformers.json") << nlohmann::json{{"similarity_fn_name", similarity}};
}

TEST(Evaluate, RanksByTheSimilarityThatTheFolderNames) {
  const TinyFolder folder;
  const TempDir dir;
  make_raw(folder, dir / "cosine", "cosine");
  make_raw(folder, dir / "dot", "dot");
  make_raw(folder, dir / "else", "manhattan");
  const auto backend = make_backend({});
  LoadedModel unit(folder.path(), {}, *backend), cosine(dir / "cosine", {}, *backend), dot(dir / "dot", {}, *backend);
  EXPECT_THROW(LoadedModel(dir / "else", {}, *backend), Error);
  const BeirSet set = toy_set();
  const ScoredPairs pairs{set.queries, {set.documents.begin(), set.documents.begin() + 9}, {3, 1, 4, 1, 5, 9, 2, 6, 5}};
  const auto scores = [&](LoadedModel& model) { return evaluate_retrieval(world_comm(), model, set, {}, 10, {}); };
  const Retrieval of_unit = scores(unit), of_cosine = scores(cosine), of_dot = scores(dot);
  const TaskResult pairs_of_unit = evaluate_pairs(world_comm(), unit, pairs, ""),
                   pairs_of_cosine = evaluate_pairs(world_comm(), cosine, pairs, ""),
                   pairs_of_dot = evaluate_pairs(world_comm(), dot, pairs, "");
  EXPECT_NEAR(pairs_of_cosine.score("cosine_pearson"), pairs_of_unit.score("cosine_pearson"), 1e-5);
  EXPECT_TRUE(std::isfinite(pairs_of_dot.score("dot_pearson")));
  EXPECT_EQ(pairs_of_dot.main_score, "dot_spearman");
  if (world_comm().rank() != 0) return;
  double apart = 0;
  for (size_t q = 0; q < set.queries.size(); ++q)
    for (size_t r = 0; r < 10; ++r) {
      EXPECT_NEAR(of_cosine.hits[q][r].score, of_unit.hits[q][r].score, 1e-6) << "query " << q;
      apart = std::max(apart, std::abs(double{of_dot.hits[q][r].score} - of_unit.hits[q][r].score));
    }
  EXPECT_GT(apart, 0.1) << "the vectors are not of length 1";
}

TEST(Evaluate, DocumentsThatTheCorpusLacksAreNeverFound) {
  const TinyFolder folder;
  const auto backend = make_backend({});
  LoadedModel model(folder.path(), {}, *backend);
  const BeirSet set = toy_set();
  BeirSet more = set;
  more.judgements[0].insert(more.judgements[0].begin(), {-1, 1.0});
  const Retrieval whole = evaluate_retrieval(world_comm(), model, set, {}, 100, {}),
                  lacking = evaluate_retrieval(world_comm(), model, more, {}, 100, {});
  if (world_comm().rank() != 0) return;
  EXPECT_NEAR(whole.result.score("recall_at_100"), 1, 1e-12) << "all 23 documents are found";
  EXPECT_NEAR(lacking.result.score("recall_at_100"), (8 + 2.0 / 3) / 9, 1e-12);
  EXPECT_LT(lacking.result.score("ndcg_at_10"), whole.result.score("ndcg_at_10"));
}

TEST(Evaluate, AQuerysOwnDocumentIsLeftOutBeforeTheBestAreCut) {
  const TinyFolder folder;
  const auto backend = make_backend({});
  LoadedModel model(folder.path(), {}, *backend);
  BeirSet set = toy_set();
  for (size_t q = 0; q < set.queries.size(); ++q) {
    set.queries[q] = set.documents[q * 2];
    set.query_ids[q] = set.document_ids[q * 2];
  }
  const std::vector<int64_t> own = own_documents(set);
  const auto self = make_self_comm();
  const Retrieval with = evaluate_retrieval(*self, model, set, {}, 11, {}), alone = evaluate_retrieval(*self, model, set, {}, 10, own),
                  together = evaluate_retrieval(world_comm(), model, set, {}, 10, own);
  if (world_comm().rank() != 0) return;
  for (size_t q = 0; q < set.queries.size(); ++q) {
    ASSERT_EQ(own[q], static_cast<int64_t>(q) * 2);
    std::vector<int64_t> expected;
    for (const Found& hit : with.hits[q])
      if (hit.document != own[q] && expected.size() < 10) expected.push_back(hit.document);
    EXPECT_TRUE(std::ranges::equal(alone.hits[q], expected, {}, &Found::document)) << "query " << q;
    EXPECT_TRUE(std::ranges::equal(together.hits[q], expected, {}, &Found::document)) << "query " << q;
  }
}

TEST(Evaluate, PairScoresAreIndependentOfRanksAndPerfectWhereTheyMust) {
  const TinyFolder folder;
  const auto backend = make_backend({});
  LoadedModel model(folder.path(), {}, *backend);
  const BeirSet set = toy_set();
  ScoredPairs pairs{set.queries, {set.documents.begin(), set.documents.begin() + 9}, {3, 1, 4, 1, 5, 9, 2, 6, 5}};
  const auto self = make_self_comm();
  const TaskResult alone = evaluate_pairs(*self, model, pairs, ""), together = evaluate_pairs(world_comm(), model, pairs, "");
  EXPECT_NEAR(alone.score("cosine_spearman"), together.score("cosine_spearman"), 1e-12);
  EXPECT_NEAR(alone.score("cosine_pearson"), together.score("cosine_pearson"), 1e-6);
}

TEST(Evaluate, EmbeddingsDoNotDependOnTheCompanyATextIsIn) {
  const TinyFolder folder;
  const auto backend = make_backend({});
  LoadedModel model(folder.path(), {.chunk_tokens = 16}, *backend);
  const BeirSet set = toy_set();
  const std::vector<std::string_view> all(set.documents.begin(), set.documents.end());
  const auto width = static_cast<size_t>(model.embedder().embedding());
  std::vector<float> together(all.size() * width), alone(width);
  model.embedder().embed(model.exec(), all, "", together);
  for (size_t i = 0; i < all.size(); ++i) {
    model.embedder().embed(model.exec(), std::span(all).subspan(i, 1), "", alone);
    double squares = 0;
    for (size_t e = 0; e < width; ++e) {
      EXPECT_NEAR(alone[e], together[i * width + e], 1e-6);
      squares += double{alone[e]} * alone[e];
    }
    EXPECT_NEAR(squares, 1, 1e-6);  // the folder has a Normalize module
  }
}

TEST(Evaluate, LeadingComponentsAreNormalisedAnewAndScoredOverRanks) {
  const TinyFolder folder;
  const auto backend = make_backend({});
  LoadedModel whole(folder.path(), {}, *backend), cut(folder.path(), {.dimensions = 6}, *backend);
  const BeirSet set = toy_set();
  const std::vector<std::string_view> texts(set.documents.begin(), set.documents.end());
  const auto width = static_cast<size_t>(whole.embedder().embedding());
  ASSERT_EQ(cut.embedder().embedding(), 6);
  std::vector<float> all(texts.size() * width), leading(texts.size() * 6);
  whole.embedder().embed(whole.exec(), texts, "", all);
  cut.embedder().embed(cut.exec(), texts, "", leading);
  for (size_t i = 0; i < texts.size(); ++i) {
    double squares = 0;
    for (size_t e = 0; e < 6; ++e) squares += double{all[i * width + e]} * all[i * width + e];
    for (size_t e = 0; e < 6; ++e) EXPECT_NEAR(leading[i * 6 + e], all[i * width + e] / std::sqrt(squares), 1e-6);
  }
  const auto self = make_self_comm();
  const Retrieval full = evaluate_retrieval(*self, whole, set, {"", ""}, 10, {}),
                  alone = evaluate_retrieval(*self, cut, set, {"", ""}, 10, {}),
                  together = evaluate_retrieval(world_comm(), cut, set, {"", ""}, 10, {});
  EXPECT_THROW(LoadedModel(folder.path(), {.dimensions = 17}, *backend), Error);
  if (world_comm().rank() != 0) return;
  for (const auto& [name, value] : alone.result.scores)
    if (!std::isnan(value)) {
      EXPECT_NEAR(together.result.score(name), value, 1e-12) << name;
    }
  const auto order = [](const Retrieval& r) {
    std::vector<int64_t> documents;
    for (const auto& hits : r.hits)
      for (const Found& hit : hits) documents.push_back(hit.document);
    return documents;
  };
  EXPECT_NE(order(full), order(alone)) << "6 of 16 components order documents otherwise";
}

TEST(Evaluate, WritesTheFormsOfMtebAndTrec) {
  if (world_comm().rank() != 0) return;
  const TempDir out;
  const BeirSet set = toy_set();
  Retrieval retrieval;
  retrieval.result = {.task = "toy",
                      .split = "test",
                      .main_score = "ndcg_at_10",
                      .scores = {{"ndcg_at_10", 0.5}, {"map_at_10", std::nan("")}},
                      .count = 2,
                      .documents = 23,
                      .seconds = 1};
  retrieval.hits = {{{3, 0.5f}, {1, 0.25f}}, {{2, 1.0f}}};
  write_result(out.path(), retrieval.result, "model");
  write_run(out.path(), retrieval, set);
  EXPECT_THROW(write_result(out.path(), retrieval.result, "model"), Error) << "a result is never overwritten";
  EXPECT_THROW(require_new_result(out.path(), "toy"), Error);
  EXPECT_NO_THROW(require_new_result(out.path(), "toys"));
  std::ifstream json_file(out / "toy.json"), run_file(out / "toy.trec");
  const auto json = nlohmann::json::parse(json_file);
  EXPECT_EQ(json.at("task_name"), "toy");
  EXPECT_EQ(json.at("scores").at("test").at(0).at("main_score"), 0.5);
  EXPECT_TRUE(json.at("scores").at("test").at(0).at("map_at_10").is_null());
  std::string line;
  std::getline(run_file, line);
  EXPECT_EQ(line, "q0 Q0 d11 1 0.5 lodestone");
}

TEST(Evaluate, IdsThatWouldBreakTheColumnsOfARunAreRefused) {
  BeirSet set = toy_set();
  EXPECT_NO_THROW(require_run_ids(set));
  for (const char* id : {"doc 3", "a\tb", "", " ",
                         "a\xC2\xA0"
                         "b",
                         "a\xE3\x80\x80"
                         "b",
                         "a\nb"}) {
    BeirSet documents = set, queries = set;
    documents.document_ids[4] = id;
    queries.query_ids[1] = id;
    EXPECT_THROW(require_run_ids(documents), Error) << id;
    EXPECT_THROW(require_run_ids(queries), Error) << id;
  }
  set.document_ids[4] = "d\xC3\xA9j\xC3\xA0";
  EXPECT_NO_THROW(require_run_ids(set));
}

}  // namespace
}  // namespace lodestone::test
