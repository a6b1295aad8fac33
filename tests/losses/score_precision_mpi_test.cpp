// Every loss that can make its scores of vectors in bf16 lies within the derived bounds of the exact one, however its rows lie on ranks,
// and those that cannot refuse.
#include <gtest/gtest.h>

#include "losses/make_loss.h"
#include "tests/support/loss_problem.h"
#include "tests/support/loss_rounding.h"
#include "tests/support/mpi_world.h"

namespace lodestone::test {
namespace {

/// Both forms of a loss at a temperature.
struct Forms {
  std::string name;
  std::unique_ptr<Loss> exact, rounded;
};

template <class Made, class Options>
Forms forms_of(const char* name, Options options, double temperature) {
  options.temperature = temperature;
  options.tile_elements = 1;
  Forms forms{cat(name, " at ", temperature), std::make_unique<Made>(options), nullptr};
  options.score_precision = ScorePrecision::bf16;
  forms.rounded = std::make_unique<Made>(options);
  return forms;
}

std::vector<Forms> every_form(double temperature) {
  std::vector<Forms> all;
  all.push_back(forms_of<InfoNce>("InfoNCE", InfoNceOptions{}, temperature));
  all.push_back(forms_of<InfoNce>("symmetric InfoNCE, masked",
                                  InfoNceOptions{.direction = Direction::both, .duplicates = Duplicates::masked}, temperature));
  all.push_back(forms_of<Gte>("GTE", GteOptions{}, temperature));
  all.push_back(forms_of<Gte>("GTE, all rivals", GteOptions{.positive_rivals = PositiveRivals::all_passages}, temperature));
  all.push_back(forms_of<Cbb>("CBB", CbbOptions{}, temperature));
  all.push_back(forms_of<Cbb>("CBB, own negatives, other positives",
                              CbbOptions{.negatives = NegativeScope::own, .other_positives = OtherPositives::included}, temperature));
  all.push_back(forms_of<StabilisedDistillation>("stabilised distillation", StabilisedOptions{}, temperature));
  return all;
}

// A row's loss is a logarithm of a sum of exponentials less one score, all divided by the temperature (a mean of such in stabilised
// distillation): its error is at most twice that of a score. A score's is 2^-7 + 2^-16 by rounding (losses/score_block.h), and what f32
// adds to a cosine: two units a term of its sum and four for its vectors' lengths.
double loss_bound(const LossProblem& problem, double temperature) {
  return 2 * (0x1p-7 + 0x1p-16 + 0x1p-24 * (2 * static_cast<double>(problem.width) + 4)) / temperature;
}

// Rounding moves every component of a unit vector by a share of itself, as beside() moves every component of a vector: the condition is
// measured by those, as for what a model stores in bf16, with two steps more on the way back: the rounded vectors again, and the gradient
// of the scores.
double gradient_bound(Loss& exact, const LossProblem& problem, const LossAnswer& answer) {
  LossProblem moved = problem;
  moved.queries = beside(problem.queries, "queries");
  moved.passages = beside(problem.passages, "passages");
  return stored_rounding_of(gradient_of(answer), gradient_of(answer_alone(exact, moved)));
}

TEST(ScorePrecision, LossAndGradientLieWithinTheirBoundsHoweverRowsLieOnRanks) {
  Communicator& world = world_comm();
  LossProblem problem(70, 3, 24);
  problem.plant_duplicates();
  for (const double temperature : {0.2, 0.05, 0.02}) {
    for (const Forms& f : every_form(temperature)) {
      const LossAnswer exact = answer_alone(*f.exact, problem);
      const double of_gradient = gradient_bound(*f.exact, problem, exact);
      for (const std::vector<int64_t>& split : row_splits(problem.n, world.size())) {
        const LossAnswer got = answer(*f.rounded, problem, split, world, world, DType::f32, "cpu");
        const LossAnswer same = answer(*f.exact, problem, split, world, world, DType::f32, "cpu");
        const double off = distance_between(gradient_of(got), gradient_of(exact));
        EXPECT_LE(std::abs(got.loss - exact.loss), loss_bound(problem, temperature)) << f.name;
        EXPECT_LE(off, of_gradient) << f.name;
        EXPECT_GT(off, 100 * distance_between(gradient_of(same), gradient_of(exact))) << f.name << ": nothing is rounded";
        EXPECT_EQ(got.masked, exact.masked) << f.name;
      }
    }
  }
}

TEST(ScorePrecision, AQuerysOwnGroupIsNeverRounded) {
  LossProblem problem(20, 3, 24);
  problem.in_batch_negatives = false;  // a source says so, whatever the settings are
  for (const Forms& f : every_form(0.05)) {
    const LossAnswer f32 = answer_alone(*f.exact, problem, DType::f32, "cpu"), bf16 = answer_alone(*f.rounded, problem, DType::f32, "cpu");
    EXPECT_EQ(bf16.loss, f32.loss) << f.name;
    EXPECT_EQ(gradient_of(bf16), gradient_of(f32)) << f.name;
  }
}

TEST(ScorePrecision, IsRefusedWhereAQueryMeetsItsOwnGroupAlone) {
  constexpr auto bf16 = ScorePrecision::bf16;
  constexpr auto own = Candidates::own_group;
  const LossOptions refusals[] = {
      InfoNceOptions{.candidates = own, .score_precision = bf16}, GteOptions{.candidates = own, .score_precision = bf16},
      StabilisedOptions{.candidates = own, .score_precision = bf16}, CbbOptions{.negatives = NegativeScope::own, .score_precision = bf16}};
  for (const LossOptions& options : refusals) {
    const std::optional<Refusal> refusal = refused(LossConfig{.terms = {{options}}});
    ASSERT_TRUE(refusal.has_value());
    EXPECT_EQ(refusal->key, "score_precision");
  }
  EXPECT_FALSE(refused(CbbOptions{.negatives = NegativeScope::own, .other_positives = OtherPositives::included, .score_precision = bf16}));
  EXPECT_TRUE(rounds_scores({.terms = {{CosentOptions{}}, {GteOptions{.score_precision = bf16}}}}));
  EXPECT_FALSE(rounds_scores({.terms = {{CosentOptions{}}, {GteOptions{}}}}));
}

}  // namespace
}  // namespace lodestone::test
