// Are a language model's answers and log-probabilities read, and rows without them refused?
#include "data/records/answers.h"

#include <gtest/gtest.h>

#include <fstream>

#include "core/error.h"
#include "tests/support/temp_dir.h"

namespace lodestone {
namespace {

using List = std::vector<std::string>;

class Answers : public ::testing::Test {
 protected:
  GeneratedAnswers read(const std::string& content) {
    std::ofstream(dir_ / "answers.jsonl", std::ios::binary) << content;
    return read_answers(dir_ / "answers.jsonl");
  }
  std::string refusal(const std::string& content) {
    try {
      read(content);
      return "read";
    } catch (const Error& error) {
      return cat(error.code(), ' ', error.what(), "; ", error.where());
    }
  }
  test::TempDir dir_;
};

TEST_F(Answers, RowsHoldAnswersOrLogProbabilitiesOrBoth) {
  const GeneratedAnswers answers = read(R"({"prediction": "moon", "answers": ["the moon", "sun"], "query": "?"}
{"log_probabilities": [-0.5, -1.25]}
{"prediction": "", "answer": "cat", "log_probabilities": -1}
)");
  EXPECT_EQ(answers.predictions, (List{"moon", ""}));
  EXPECT_EQ(answers.references, (std::vector<List>{{"the moon", "sun"}, {"cat"}}));
  EXPECT_EQ(answers.log_probability, -2.75);
  EXPECT_EQ(answers.tokens, 3);
  EXPECT_EQ(answers.ignored, List{"query"});
}

TEST_F(Answers, RowsThatCannotBeScoredAreRefused) {
  EXPECT_EQ(refusal("").substr(0, 3), "F32");
  EXPECT_EQ(refusal("{\"query\": \"a\"}\n").substr(0, 28), "F30 a row without prediction");
  EXPECT_EQ(refusal("{\"prediction\": \"a\"}\n").substr(0, 25), "F30 a row without answers");
  EXPECT_EQ(refusal("{\"prediction\": \"a\", \"answers\": []}\n").substr(0, 3), "F30");
  EXPECT_NE(refusal("{\"log_probabilities\": [-1, 0.5]}\n").find("a log-probability of 0.5; file="), std::string::npos);
  EXPECT_NE(refusal("{\"log_probabilities\": \"-1\"}\n").find("neither a number nor a list"), std::string::npos);
}

}  // namespace
}  // namespace lodestone
