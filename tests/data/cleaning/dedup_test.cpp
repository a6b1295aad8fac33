// Which rows count as the same, and which as nearly the same? Also held to an independent implementation in Python.
#include "data/cleaning/dedup.h"

#include <gtest/gtest.h>

#include "tests/support/golden_file.h"
#include "tests/support/temp_dir.h"
#include "tests/support/text_file.h"

namespace lodestone {
namespace {

using test::TempDir;
using test::write_text;

class Dedup : public ::testing::Test {
 protected:
  /// For each row (JSON) whether it is kept ("."), a duplicate ("=") or nearly one ("~").
  std::string verdicts(Deduplicator dedup, const std::vector<std::string>& rows) {
    std::string text, all;
    for (const std::string& row : rows) text += row + "\n";
    JsonLines lines(LineReader::whole(write_text(dir_ / "rows.jsonl", text)));
    while (lines.next()) {
      const RowVerdict verdict = dedup.judge(lines.fields());
      all += verdict.reason.empty() ? '.' : verdict.reason == Deduplicator::duplicate ? '=' : '~';
    }
    return all;
  }
  static Deduplicator exact(Sameness sameness, std::vector<std::string> fields = {}) {
    return Deduplicator(TextFields(std::move(fields)), sameness, std::nullopt);
  }
  TempDir dir_;
};

TEST_F(Dedup, ComparesQueryAndPositivesAndNothingElse) {
  EXPECT_EQ(verdicts(exact(Sameness::bytes),
                     {R"({"query": "a", "pos": ["b"]})", R"({"query": "a", "pos": ["b"], "neg": ["c"], "score": 1})",
                      R"({"query": "a", "pos": ["c"]})", R"({"query": "a", "pos": ["b", "c"]})", R"({"pos": "b", "query": "a"})",
                      R"({"query": "b", "pos": ["a"]})", R"({"query": "ab", "pos": [""]})", R"({"query": "", "pos": ["ab"]})",
                      R"({"text": "a"})", R"({"text": "a", "text_pos": "b"})"}),
            ".=..=....=");
}

TEST_F(Dedup, KnowsThreeKindsOfSameness) {
  const std::vector<std::string> rows{R"({"text": "A  red\u3000stone."})",
                                      R"({"text": " A red stone.\n"})",
                                      R"({"text": "a red stone"})",
                                      R"({"text": "a redstone"})",
                                      R"({"text": "!!"})",
                                      R"({"text": "??"})",
                                      R"({"text": "!!"})"};
  EXPECT_EQ(verdicts(exact(Sameness::bytes), rows), "......=");
  EXPECT_EQ(verdicts(exact(Sameness::spaces), rows), ".=....=");
  EXPECT_EQ(verdicts(exact(Sameness::words), rows), ".==...=") << "texts without words have their bytes";
}

TEST_F(Dedup, ComparesNamedFields) {
  EXPECT_EQ(
      verdicts(exact(Sameness::spaces, {"query", "doc"}), {R"({"query": "a", "doc": "b", "dataset": 1})",
                                                           R"({"query": "a", "doc": "b", "dataset": 2})", R"({"query": "b", "doc": "a"})"}),
      ".=.");
  EXPECT_THROW(verdicts(exact(Sameness::spaces, {"query", "doc"}), {R"({"query": "a"})"}), Error);
}

TEST_F(Dedup, AgreesWithComparingAllPairsInPython) {
  const Json golden = Json::parse(test::read_text(test::golden_file("near_duplicates.json")));
  for (const Json& expected : golden.at("expected")) {
    Deduplicator dedup(TextFields({}), Sameness::words, NearSettings{expected.at("threshold"), expected.at("words"), dir_.path()});
    std::vector<std::string> rows;
    for (const Json& text : golden.at("texts")) rows.push_back(Json{{"text", text}}.dump());
    EXPECT_EQ(verdicts(std::move(dedup), rows), expected.at("verdicts")) << expected.at("threshold") << ' ' << expected.at("words");
  }
}

}  // namespace
}  // namespace lodestone
