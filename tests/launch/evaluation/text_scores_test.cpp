// Exact match, ROUGE-L and perplexity: cases worked by hand, and what rouge-score says of others.
#include "launch/evaluation/text_scores.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "core/error.h"
#include "tests/launch/evaluation/evaluators_golden.h"

namespace lodestone::test {
namespace {

using Texts = std::vector<std::string>;

TEST(TextScores, AnswersAreNormalisedAsSquadDoes) {
  EXPECT_EQ(normalise_answer("  The  Cat's\ta Dog. "), "cats dog");
  EXPECT_EQ(normalise_answer("a-the"), "athe") << "punctuation goes first";
  EXPECT_EQ(normalise_answer("then an other \xE2\x80\x9CThe\xE2\x80\x9D"), "then other \xE2\x80\x9C \xE2\x80\x9D");
  EXPECT_EQ(normalise_answer("\xC3\x89T\xC3\x89\xC2\xA0"
                             "an"),
            "\xC3\xA9t\xC3\xA9")
      << "Unicode's case and blanks";
  EXPECT_EQ(normalise_answer("The a, an!"), "");
}

TEST(TextScores, ExactMatchTakesAnyReference) {
  EXPECT_EQ(exact_match("The Moon.", Texts{"sun", "moon"}), 1);
  EXPECT_EQ(exact_match("moons", Texts{"sun", "moon"}), 0);
  EXPECT_EQ(exact_match("the", Texts{"a"}), 1) << "both normalise to nothing";
  EXPECT_THROW(exact_match("moon", Texts{}), Error);
}

TEST(TextScores, RougeLIsTheLongestCommonSubsequence) {
  // "police kill gunman" in "police killed gunman": 2 of 3 words on both sides (Lin 2004's example).
  EXPECT_DOUBLE_EQ(rouge_l("police kill the gunman", Texts{"police killed the gunman"}), 2.0 / 3);
  EXPECT_DOUBLE_EQ(rouge_l("gunman kill police", Texts{"police killed gunman"}), 1.0 / 3);
  EXPECT_DOUBLE_EQ(rouge_l("red cat", Texts{"dog", "a red and old cat"}), 2 * 2.0 / (2 + 4));
  EXPECT_EQ(rouge_l("", Texts{"cat"}), 0);
  EXPECT_EQ(rouge_l("the", Texts{"a"}), 0);
}

TEST(TextScores, PerplexityIsTheInverseGeometricMeanProbability) {
  EXPECT_DOUBLE_EQ(perplexity(std::log(0.5) + std::log(0.125), 2), 4);
  EXPECT_EQ(perplexity(0, 5), 1);
  EXPECT_THROW(perplexity(-1, 0), Error);
}

TEST(TextScoresGolden, RougeLIsThatOfRougeScore) {
  const auto cases = evaluators_golden("texts");
  ASSERT_FALSE(cases.empty());
  for (const auto& one : cases)
    EXPECT_NEAR(rouge_l(one.at("answer").get<std::string>(), Texts{one.at("reference").get<std::string>()}), one.at("rouge_l"), 1e-12);
}

}  // namespace
}  // namespace lodestone::test
