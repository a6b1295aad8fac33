// The table of losses: what is true of every row, whichever losses there are.
#include "losses/loss_table.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "losses/make_loss.h"

namespace lodestone::test {
namespace {

/// Each loss with its default settings.
std::vector<LossConfig> default_configs() {
  const auto configs = of_each_loss([](const auto& options) { return LossConfig{.terms = {{options}}}; });
  return {configs.begin(), configs.end()};
}

TEST(LossTable, NamesAreDifferentAndNoneIsThatOfASum) {
  std::vector<std::string_view> names(loss_names.begin(), loss_names.end());
  names.emplace_back("sum");
  std::sort(names.begin(), names.end());
  EXPECT_EQ(std::adjacent_find(names.begin(), names.end()), names.end());
  EXPECT_FALSE(names.front().empty());
}

TEST(LossTable, EveryLossIsMadeFromItsDefaultsAndDescribed) {
  std::vector<std::string> lines;
  for (const LossConfig& config : default_configs()) {
    EXPECT_NE(make_loss(config, 8, Device::cpu), nullptr);
    lines.push_back(describe(config));
    EXPECT_FALSE(lines.back().empty());
  }
  std::sort(lines.begin(), lines.end());
  EXPECT_EQ(std::adjacent_find(lines.begin(), lines.end()), lines.end());
}

TEST(LossTable, EveryLossOfQueriesTellsThemFromSomethingInGroups) {
  for (const LossConfig& config : default_configs()) {
    EXPECT_EQ(idle_term(config, 6, 3), nullptr) << describe(config);
    EXPECT_EQ(negatives_per_query(config, 6, 2, 3).of_query > 0, !needs_scores(config)) << describe(config);
    EXPECT_FALSE(needs_scores(config) && needs_teacher(config)) << describe(config);
  }
}

}  // namespace
}  // namespace lodestone::test
