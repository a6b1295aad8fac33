#include "launch/training/mining_reach.h"

namespace lodestone {

namespace {

/// Negatives that a row needs for one of them to be replaced.
int64_t fewest_to_replace(const HardNegativesConfig& c) {
  if (c.refill == MiningRefill::remine) return c.negatives + 1;
  return c.rule == MiningRule::each ? negative_window(c, 0).end + 1 : negative_window(c, 1).end;
}

}  // namespace

std::vector<std::string> mining_obstacles(const HardNegativesConfig& c, const Plan& plan, int64_t steps, int64_t most_negatives) {
  std::vector<std::string> obstacles;
  const auto say = [&](auto&&... parts) { obstacles.push_back(cat("mining replaces nothing: ", parts...)); };
  if (steps < c.every) say("the run has ", steps, " steps, and the first check comes after ", c.every);
  // Rule `each` also replaces what its first score shows to be easy.
  if (c.rule == MiningRule::mean && c.probe == 0 && !plan.repeats_rows())
    say("no row is trained on twice, so no score can fall; give mining.probe, or more epochs");
  if (const int64_t fewest = fewest_to_replace(c); most_negatives < fewest)
    say("no row has more than ", most_negatives, " to choose from, and replacing needs ", fewest);
  return obstacles;
}

std::string describe_left_out(const DrawnNegatives& counts) {
  if (counts.left_out == 0) return {};
  return cat("in ", counts.rows, counts.rows == 1 ? " row" : " rows", " a positive stands among the negatives; ", counts.left_out,
             counts.left_out == 1 ? " negative is left out" : " negatives are left out");
}

}  // namespace lodestone
