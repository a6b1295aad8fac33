// Losses against recorded values and gradients of sentence-transformers' own losses, in f64.
// The file and how to make it again: tests/parity/make_losses_golden.py.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <set>

#include "tests/support/golden_file.h"
#include "tests/support/loss_cases.h"

namespace lodestone::test {
namespace {

nlohmann::json golden() {
  std::ifstream file(golden_file("losses.json"));
  return nlohmann::json::parse(file);
}

TEST(LossesGolden, ValuesAndGradientsAreThoseOfSentenceTransformers) {
  const nlohmann::json file = golden();
  std::set<std::string> losses;
  for (const auto& c : file.at("cases")) {
    const std::string name = c.at("name");
    losses.insert(c.at("loss").get<std::string>());
    const LossAnswer answer = answer_alone(*make_loss_of(c), problem_of(c));
    const std::vector<double> got = whole_gradient(answer);
    const double expected = c.at("expected").at("loss");
    EXPECT_NEAR(answer.loss, expected, 1e-12 * std::max(expected, 1e-3)) << name;
    const auto gradient = c.at("expected").at("gradient").get<std::vector<double>>();
    ASSERT_EQ(got.size(), gradient.size()) << name;
    double largest = 0;
    for (const double g : gradient) largest = std::max(largest, std::abs(g));
    EXPECT_GT(largest, 1e-4) << name;
    for (size_t i = 0; i < gradient.size(); ++i) ASSERT_NEAR(got[i], gradient[i], 1e-12 * largest) << name << " element " << i;
  }
  EXPECT_EQ(losses, (std::set<std::string>{"cosent", "gte", "info_nce", "kl_divergence", "margin_mse", "symmetric_info_nce"}));
}

}  // namespace
}  // namespace lodestone::test
