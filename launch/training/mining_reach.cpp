#include "launch/training/mining_reach.h"

namespace lodestone {

namespace {

/// Negatives that a row needs for one of them to be replaced.
int64_t fewest_to_replace(const HardNegativesConfig& c) {
  if (c.refill == MiningRefill::remine) return c.negatives + 1;
  return c.rule == MiningRule::each ? negative_window(c, 0).end + 1 : negative_window(c, 1).end;
}

}  // namespace

std::vector<std::string> mining_warnings(const HardNegativesConfig& c, Similarity similarity, const Plan& plan, int64_t steps,
                                         int64_t most_negatives) {
  std::vector<std::string> warnings;
  const auto say = [&](auto&&... parts) { warnings.push_back(cat("mining replaces nothing: ", parts...)); };
  if (steps < c.every) say("the run has ", steps, " steps, and the first check comes after ", c.every);
  // Rule `each` also replaces what its first score shows to be easy.
  if (c.rule == MiningRule::mean && c.probe == 0 && !plan.repeats_rows())
    say("no row is trained on twice, so no score can fall; give mining.probe, or more epochs");
  if (const int64_t fewest = fewest_to_replace(c); most_negatives < fewest)
    say("no row has more than ", most_negatives, " to choose from, and replacing needs ", fewest);
  if (similarity == Similarity::dot)
    warnings.push_back(c.rule == MiningRule::each ? cat("mining scores by dot products, as the model folder says: are each_limit ",
                                                        c.each_limit, " and each_floor ", c.each_floor, " meant for them?")
                                                  : cat("mining scores by dot products, as the model folder says: is mean_limit ",
                                                        c.mean_limit, " meant for them?"));
  return warnings;
}

std::string describe_left_out(const DrawnNegatives& counts) {
  if (counts.left_out == 0) return {};
  return cat("in ", counts.rows, counts.rows == 1 ? " row" : " rows", " a positive stands among the negatives; ", counts.left_out,
             counts.left_out == 1 ? " negative is left out" : " negatives are left out");
}

}  // namespace lodestone
