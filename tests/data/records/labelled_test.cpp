// Are labelled texts read as MTEB's columns mean them, and rows that mean nothing refused?
#include "data/records/labelled.h"

#include <gtest/gtest.h>

#include <fstream>

#include "core/error.h"
#include "tests/support/temp_dir.h"

namespace lodestone {
namespace {

using List = std::vector<std::string>;
using Numbers = std::vector<int64_t>;

class Labelled : public ::testing::Test {
 protected:
  std::filesystem::path file(const std::string& name, const std::string& content) {
    std::filesystem::create_directories((dir_ / name).parent_path());
    std::ofstream(dir_ / name, std::ios::binary) << content;
    return dir_ / name;
  }
  template <class Read>
  std::string refusal(Read read) {
    try {
      read();
      return "read";
    } catch (const Error& error) {
      return cat(error.code(), ' ', error.what(), "; ", error.where());
    }
  }
  std::string pairs_refused(const std::string& content) {
    return refusal([&] { read_labelled_pairs(file("pairs.jsonl", content)); });
  }
  std::string classes_refused(const std::string& content) {
    return refusal([&] { read_classification(file("classes.jsonl", content), "test"); });
  }
  std::string sets_refused(const std::string& content) {
    return refusal([&] { read_clustering(file("sets.jsonl", content)); });
  }
  test::TempDir dir_;
};

TEST_F(Labelled, PairsStandAloneOrInLists) {
  const LabelledPairs pairs = read_labelled_pairs(file("a.jsonl", R"({"sentence1": "a", "sentence2": "b", "label": 1, "idx": 7}
{"sent1": ["c", "d"], "sent2": ["e", ""], "labels": [0, 1]}
{"sentence1": "f", "sentence2": "g", "labels": "0", "note": null}
)"));
  EXPECT_EQ(pairs.first, (List{"a", "c", "d", "f"}));
  EXPECT_EQ(pairs.second, (List{"b", "e", "", "g"}));
  EXPECT_EQ(pairs.labels, (std::vector<uint8_t>{1, 0, 1, 0}));
  EXPECT_EQ(pairs.ignored, (List{"idx", "note"}));
}

TEST_F(Labelled, PairsThatCannotBeJudgedAreRefusedWithTheirLine) {
  const std::string good = "{\"sentence1\": \"a\", \"sentence2\": \"b\", \"label\": 1}\n";
  EXPECT_EQ(pairs_refused(good).substr(0, 36), "F32 all 1 pairs have the label 1; fi");
  EXPECT_EQ(pairs_refused("").substr(0, 3), "F32");
  EXPECT_NE(pairs_refused(good + R"({"sentence1": "a", "sentence2": "b"})"
                                 "\n")
                .find("F30 a row without labels"),
            std::string::npos);
  EXPECT_NE(pairs_refused(good + R"({"sentence1": "a", "sentence2": "b", "label": 2})"
                                 "\n")
                .find("the label 2 of a pair"),
            std::string::npos);
  EXPECT_NE(pairs_refused(good + R"({"sentence1": "a", "sentence2": "b", "label": 0.5})"
                                 "\n")
                .find("label is neither"),
            std::string::npos);
  EXPECT_NE(pairs_refused(good + R"({"sentence1": 3, "sentence2": "b", "label": 0})"
                                 "\n")
                .find("line=2"),
            std::string::npos);
  EXPECT_NE(pairs_refused(R"({"sent1": ["a", "b"], "sent2": ["c"], "labels": [0, 1]})"
                          "\n")
                .find("2 and 1 texts with 2 labels"),
            std::string::npos);
  EXPECT_NE(pairs_refused(R"({"sentence1": "a", "sent1": "a", "sentence2": "b", "label": 0})"
                          "\n")
                .find("two fields for one part"),
            std::string::npos);
}

TEST_F(Labelled, SplitsAreFilesOfAFolderOrNamedByRows) {
  file("set/train.jsonl", "{\"text\": \"a\", \"label\": 10}\n{\"text\": \"b\", \"label\": 9, \"label_text\": \"nine\"}\n");
  file("set/test.jsonl", "{\"text\": \"c\", \"label\": 11}\n");
  const ClassificationSet folder = read_classification(dir_ / "set", "test");
  EXPECT_EQ(folder.labels, (List{"9", "10", "11"})) << "integers by their value";
  EXPECT_EQ(folder.train.labels, (Numbers{1, 0}));
  EXPECT_EQ(folder.test.labels, (Numbers{2}));
  EXPECT_EQ(folder.ignored, List{"label_text"});
  const ClassificationSet rows = read_classification(file("rows.jsonl", R"({"text": "a", "label": "up", "split": "train"}
{"text": "b", "label": "10", "split": "dev"}
{"text": "c", "label": "9", "split": "train"}
{"text": "d", "label": "up", "split": "test"}
)"),
                                                     "dev");
  EXPECT_EQ(rows.labels, (List{"10", "9", "up"})) << "texts as texts";
  EXPECT_EQ(rows.train.labels, (Numbers{2, 1}));
  EXPECT_EQ(rows.test.texts, List{"b"});
}

TEST_F(Labelled, SplitsThatCannotBeLearnedFromAreRefused) {
  const std::string one = "{\"text\": \"a\", \"label\": 4, \"split\": \"train\"}\n",
                    test = "{\"text\": \"a\", \"label\": 5, \"split\": \"test\"}\n";
  EXPECT_EQ(classes_refused(one + one + test).substr(0, 40), "F32 all labels of the split train are 4;");
  EXPECT_EQ(classes_refused(one).substr(0, 29), "F32 no rows of the split test");
  EXPECT_EQ(classes_refused(test).substr(0, 30), "F32 no rows of the split train");
  EXPECT_NE(classes_refused("{\"text\": \"a\", \"label\": 4}\n").find("a row without split"), std::string::npos);
  EXPECT_NE(classes_refused("{\"text\": [\"a\", \"b\"], \"label\": 4, \"split\": \"test\"}\n").find("several texts"), std::string::npos);
  file("half/train.jsonl", one);
  EXPECT_EQ(refusal([&] { read_classification(dir_ / "half", "test"); }).substr(0, 17), "F32 no test.jsonl");
  EXPECT_EQ(refusal([&] { read_classification(dir_ / "half", "train"); }).substr(0, 5), "split");
}

TEST_F(Labelled, SetsToClusterAreRowsOfListsOrRowsOfTexts) {
  const ClusteringSets lists = read_clustering(file("lists.jsonl", R"({"sentences": ["a", "b", "c"], "labels": ["x", "y", "x"]}
{"sentences": ["d"], "labels": [7]}
)"));
  ASSERT_EQ(lists.sets.size(), 2u);
  EXPECT_EQ(lists.sets[0].labels, (Numbers{0, 1, 0}));
  EXPECT_EQ(lists.sets[1].texts, List{"d"});
  EXPECT_EQ(lists.sets[1].labels, Numbers{0});
  const ClusteringSets texts = read_clustering(file("texts.jsonl", R"({"sentences": "a", "labels": 3}
{"sentences": "b", "labels": 1}
)"));
  ASSERT_EQ(texts.sets.size(), 1u);
  EXPECT_EQ(texts.sets[0].labels, (Numbers{1, 0}));
  EXPECT_EQ(sets_refused("").substr(0, 3), "F32");
  EXPECT_NE(sets_refused("{\"sentences\": [\"a\"], \"labels\": [1]}\n{\"sentences\": \"a\", \"labels\": 1}\n").find("line=2"),
            std::string::npos);
  EXPECT_NE(sets_refused("{\"sentences\": \"a\", \"labels\": [1, 2]}\n").find("1 texts with 2 labels"), std::string::npos);
  EXPECT_NE(sets_refused("{\"sentences\": [], \"labels\": []}\n").find("F30"), std::string::npos);
}

}  // namespace
}  // namespace lodestone
