// Does a greedy soup take the models that help it, in the order of their scores?
#include "launch/weights/soup.h"

#include <gtest/gtest.h>

#include <cmath>

namespace lodestone {
namespace {

/// Models are numbers, the best is 3, and the mean of some scores by its distance from it.
GreedySoup soup_of(const std::vector<double>& models) {
  const auto score = [](double x) { return -std::fabs(x - 3); };
  std::vector<double> scores;
  for (const double model : models) scores.push_back(score(model));
  return greedy_soup(scores, [&](std::span<const size_t> chosen) {
    double mean = 0;
    for (const size_t m : chosen) mean += models[m] / static_cast<double>(chosen.size());
    return score(mean);
  });
}

TEST(GreedySoup, PicksTheKnownBest) {
  const GreedySoup soup = soup_of({10, 2.5, 3.75, -4, 2.75});  // tried: 2.75, 2.5, 3.75, 10, -4
  EXPECT_EQ(soup.chosen, (std::vector<size_t>{4, 2}));         // 2.75 alone; with 2.5 worse; with 3.75 at 3.25, as far away: no worse
  EXPECT_EQ(soup.score, -0.25);
}

TEST(GreedySoup, KeepsTheOrderOfEqualScoresAndTakesWhatMakesItNoWorse) {
  EXPECT_EQ(soup_of({2, 4, 2}).chosen, (std::vector<size_t>{0, 1}));  // 2 and 4 make 3, with another 2 they make less
  EXPECT_EQ(soup_of({3, 3, 3}).chosen, (std::vector<size_t>{0, 1, 2}));
  EXPECT_EQ(soup_of({7}).chosen, (std::vector<size_t>{0}));
}

TEST(Soup, MeanWeightsAreThoseOfTheChosen) {
  EXPECT_EQ(mean_weights(4), (std::vector<double>{0.25, 0.25, 0.25, 0.25}));
  const size_t chosen[] = {2, 0};
  EXPECT_EQ(mean_weights(3, chosen), (std::vector<double>{0.5, 0, 0.5}));
}

}  // namespace
}  // namespace lodestone
