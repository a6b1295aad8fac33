// Labelled tasks over ranks with a tiny random model folder: the same bits for any number of ranks.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "launch/inference/labelled_tasks.h"
#include "tests/support/mpi_world.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tiny_folder.h"

namespace lodestone::test {
namespace {

constexpr const char* words[] = {"red", "blue", "stone", "river", "cat", "dog", "tree", "moon"};

/// Text i of a class: two of its own words in turn, and others.
std::string text_of(int64_t label, int64_t i) {
  std::string text = std::string(words[label * 2 + i % 2]) + " " + words[label * 2 + i / 2 % 2];
  for (int64_t w = 0; w < i % 5; ++w) text += std::string(" ") + words[(i * 7 + w * 3) % 8];
  return text;
}

/// n texts of so many classes; more than a block of those that are embedded together.
LabelledTexts texts_of(int64_t n, int64_t classes) {
  LabelledTexts texts;
  for (int64_t i = 0; i < n; ++i) {
    texts.labels.push_back(i * 5 % classes);
    texts.texts.push_back(text_of(texts.labels.back(), i));
  }
  return texts;
}

LabelledPairs pairs_of(int64_t n) {
  LabelledPairs pairs;
  for (int64_t i = 0; i < n; ++i) {
    pairs.labels.push_back(i % 3 == 0);
    pairs.first.push_back(text_of(i % 4, i));
    pairs.second.push_back(text_of(i % 3 == 0 ? i % 4 : (i + 1) % 4, i * 3 + 1));
  }
  return pairs;
}

struct Rig {
  TinyFolder folder;
  std::unique_ptr<Backend> backend = make_backend({.threads = 1});
  LoadedModel model{folder.path(), {}, *backend};
  std::unique_ptr<Communicator> self = make_self_comm();
};

void expect_same_bits(const TaskResult& a, const TaskResult& b) {
  EXPECT_EQ(a.scores.size(), b.scores.size());
  const auto same = [](double x, double y) { return x == y || (std::isnan(x) && std::isnan(y)); };
  for (const auto& [name, value] : a.scores) EXPECT_TRUE(same(value, b.score(name))) << name << ' ' << value << ' ' << b.score(name);
  EXPECT_EQ(a.lists, b.lists);
  ASSERT_EQ(a.experiments.size(), b.experiments.size());
  for (size_t e = 0; e < a.experiments.size(); ++e) EXPECT_EQ(a.experiments[e][0], b.experiments[e][0]);
}

TEST(LabelledTasks, PairClassificationHasTheSameBitsOnAnyNumberOfRanks) {
  Rig rig;
  const LabelledPairs pairs = pairs_of(300);
  const TaskResult alone = evaluate_pair_classification(*rig.self, rig.model, pairs, ""),
                   together = evaluate_pair_classification(world_comm(), rig.model, pairs, "");
  expect_same_bits(alone, together);
  EXPECT_EQ(alone.main_score, "max_ap");
  EXPECT_GE(alone.score("max_ap"), alone.score("cosine_ap"));
  EXPECT_GT(alone.score("cosine_accuracy"), 2.0 / 3 - 0.05);
}

TEST(LabelledTasks, ClassificationHasTheSameBitsOnAnyNumberOfRanks) {
  Rig rig;
  const ClassificationSet set{texts_of(200, 4), texts_of(150, 4), {"a", "b", "c", "d"}};
  const TaskResult alone = evaluate_classification(*rig.self, rig.model, set, {.experiments = 5}, ""),
                   together = evaluate_classification(world_comm(), rig.model, set, {.experiments = 5}, "");
  expect_same_bits(alone, together);
  EXPECT_EQ(alone.experiments.size(), 5u);
  EXPECT_GT(alone.score("accuracy"), 0.5) << "words tell the classes apart, in a random model too";
  EXPECT_TRUE(std::isnan(alone.score("ap"))) << "of two classes only";
  const TaskResult other = evaluate_classification(world_comm(), rig.model, set, {.experiments = 5, .seed = 1}, "");
  EXPECT_NE(other.score("accuracy"), alone.score("accuracy")) << "the seed draws the rows";
}

TEST(LabelledTasks, AClassWithoutRowsToLearnFromIsNeverPredicted) {
  Rig rig;
  ClassificationSet set{texts_of(60, 2), texts_of(60, 3), {"a", "b", "c"}};
  const TaskResult result = evaluate_classification(world_comm(), rig.model, set, {.samples_per_label = 100, .experiments = 2}, "");
  EXPECT_LE(result.score("recall"), 2.0 / 3);
  EXPECT_EQ(result.experiments[0][0].second, result.experiments[1][0].second) << "all rows are learned from, in whatever order";
}

TEST(LabelledTasks, ClusteringHasTheSameBitsOnAnyNumberOfRanks) {
  Rig rig;
  ClusteringSets sets;
  sets.sets = {texts_of(150, 4), texts_of(40, 2), texts_of(30, 1)};
  const TaskResult alone = evaluate_clustering(*rig.self, rig.model, sets, {.batch = 50}, ""),
                   together = evaluate_clustering(world_comm(), rig.model, sets, {.batch = 50}, "");
  expect_same_bits(alone, together);
  const std::vector<double>& each = alone.lists[0].second;
  ASSERT_EQ(each.size(), 3u);
  EXPECT_EQ(each[2], 1) << "a set of one label";
  EXPECT_NEAR(alone.score("v_measure"), (each[0] + each[1] + 1) / 3, 1e-15);
}

TEST(LabelledTasks, PairsThatAllHaveOneCosineAreRefused) {
  Rig rig;
  LabelledPairs pairs = pairs_of(9);
  for (std::string& text : pairs.first) text = "red";
  pairs.second = pairs.first;
  EXPECT_THROW(evaluate_pair_classification(world_comm(), rig.model, pairs, ""), Error);
}

TEST(LabelledTasks, RanksThatHaveOtherLabelsAreRefused) {
  if (world_comm().size() == 1) return;
  Rig rig;
  LabelledPairs pairs = pairs_of(9);
  if (world_comm().rank() == 1) pairs.labels[4] ^= 1;
  EXPECT_THROW(evaluate_pair_classification(world_comm(), rig.model, pairs, ""), Error);
  ClassificationSet set{texts_of(20, 2), texts_of(20, 2), {"a", "b"}};
  if (world_comm().rank() == 1) set.test.labels[4] ^= 1;
  EXPECT_THROW(evaluate_classification(world_comm(), rig.model, set, {}, ""), Error);
  ClusteringSets sets;
  sets.sets = {texts_of(20, 2)};
  if (world_comm().rank() == 1) sets.sets[0].labels[4] ^= 1;
  EXPECT_THROW(evaluate_clustering(world_comm(), rig.model, sets, {}, ""), Error);
  sets.sets = {texts_of(20, 2)};
  if (world_comm().rank() == 1) sets.sets.push_back(texts_of(20, 2));  // a set more, which no other rank would meet
  EXPECT_THROW(evaluate_clustering(world_comm(), rig.model, sets, {}, ""), Error);
}

TEST(LabelledTasks, ResultsHaveTheListsThatMtebWrites) {
  if (world_comm().rank() != 0) return;
  const TempDir out;
  TaskResult result{.task = "Toy", .split = "test", .main_score = "accuracy", .scores = {{"accuracy", 0.5}}};
  result.details = {{"cosine_ap", std::nan("")}};
  result.lists = {{"v_measures", {0.25, 0.75}}};
  result.experiments = {{{"accuracy", 0.25}, {"ap", std::nan("")}}, {{"accuracy", 0.75}, {"ap", 1}}};
  write_result(out.path(), result, "model");
  std::ifstream file(out / "Toy.json");
  const auto json = nlohmann::json::parse(file);
  const auto scores = json.at("scores").at("test").at(0);
  EXPECT_TRUE(json.at("mteb_version").is_null());
  EXPECT_EQ(scores.at("main_score"), 0.5);
  EXPECT_TRUE(scores.at("cosine_ap").is_null());
  EXPECT_EQ(scores.at("v_measures"), nlohmann::json::parse("[0.25, 0.75]"));
  EXPECT_EQ(scores.at("scores_per_experiment"),
            nlohmann::json::parse(R"([{"accuracy": 0.25, "ap": null}, {"accuracy": 0.75, "ap": 1.0}])"));
}

}  // namespace
}  // namespace lodestone::test
