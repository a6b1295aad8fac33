// A step that trains retrieval and scored pairs at once has the gradient of the weighted sum of both losses, whichever ranks compute
// which part: grouped by task with any number of groups, as many as the ranks hold at once or more, or colocated.
#include <gtest/gtest.h>

#include "data/plan/schedule.h"
#include "losses/make_loss.h"
#include "tests/support/mpi_world.h"
#include "tests/support/toy_training.h"

namespace lodestone::test {
namespace {

constexpr int64_t queries = 7, pairs = 9;  // uneven for teams of 2 and 3 ranks
constexpr double beta = 0.8;

LossConfig with_prefixes(const LossOptions& loss) { return {.terms = {{loss}}, .matryoshka_dims = {4, 12}}; }
const LossConfig losses[] = {with_prefixes(CbbOptions{.temperature = 0.2}), with_prefixes(CosentOptions{.temperature = 0.2})};

Batch batch_of(const StepPart& part, const Communicator& team) {
  const int64_t name = 20 * part.draw + part.task;
  if (part.task == 0) return toy_batch(name, queries, 3, team.rank(), team.size());
  Batch batch = toy_batch(name, pairs, 1, team.rank(), team.size());
  for (int64_t i = batch.first_query; i < batch.first_query + batch.queries; ++i)
    batch.scores.push_back(0.25 * static_cast<double>((5 * i + part.draw) % 4));
  return batch;
}

ScheduleConfig joint(double weight_of_pairs = beta, int64_t groups = 1) {
  return {
      .tasks = {{.name = "retrieval", .cost = 40}, {.name = "sts", .weight = weight_of_pairs, .cost = 10}}, .steps = 4, .groups = groups};
}

/// The layouts that `world` ranks can have of a step with so many groups: colocated, and grouped with every division of a group.
std::vector<ScheduleConfig> layouts(int world, int64_t groups) {
  std::vector<ScheduleConfig> all{joint(beta, groups)};
  for (int64_t ranks = 1; ranks + 1 <= world; ++ranks) {
    all.push_back(joint(beta, groups));
    all.back().layout = Layout::grouped;
    all.back().tasks[0].ranks = ranks;
  }
  return all;
}

/// Wrong on purpose: a mean over ranks, in which a task counts by how many ranks it has; a team that takes one group where it has several.
enum class Mistake : uint8_t { none, counts_ranks, takes_one_group };

/// The embedder and both objectives of this rank's team; the gradient is summed over `world`, as the training loop does it.
class JointRun {
 public:
  JointRun(DType compute, Communicator& world, const ScheduleConfig& config)
      : world_(world),
        schedule_(config),
        place_(find_place(config)),
        run_(compute, team(), make_loss(losses[0], 12), {.chunk_tokens = 40}),
        cosent_(make_loss(losses[1], 12)),
        sts_(run_.encoder, *cosent_, team(), {.chunk_tokens = 40}) {}

  /// Leaves the sum over ranks in grads and returns the loss of each task, over all ranks.
  std::vector<double> gradient(int64_t step, Mistake mistake = Mistake::none) {
    run_.backend->fill_zero(run_.grads);
    std::vector<double> shares(2);
    std::vector<StepPart> parts;
    schedule_.parts(step, parts);
    for (const StepPart& part : parts) {
      if (!takes(place_.team, part) || (mistake == Mistake::takes_one_group && part.group != place_.team.group)) continue;
      const double of_ranks = mistake == Mistake::counts_ranks ? static_cast<double>(place_.team.ranks) / world_.size() : 1;
      const Exec ex = run_.ex.at(Key(5).with(static_cast<uint64_t>(part.draw)).with(static_cast<uint64_t>(part.task)));
      Objective& objective = part.task == 0 ? static_cast<Objective&>(run_.objective) : sts_;
      shares[static_cast<size_t>(part.task)] += accumulate(objective, ex, batch_of(part, team()), part.weight * of_ranks, run_.grads, {});
    }
    world_.all_reduce(run_.grads, run_.grads, Reduce::sum).wait();
    all_reduce(world_, std::span(shares), Reduce::sum);
    return shares;
  }
  void train(int64_t steps) {
    for (int64_t step = 0; step < steps; ++step) {
      gradient(step);
      run_.optimizer.step(run_.ex, 1e-3, 1, run_.grads, run_.params);
    }
  }
  std::vector<double> grads() { return run_.as_doubles(run_.grads); }
  std::vector<double> parameters() { return run_.as_doubles(run_.params.masters()); }
  std::span<double> masters() { return run_.params.masters().host<double>(); }

 private:
  struct Place {
    Team team;
    std::unique_ptr<Communicator> comm;  // null: all ranks
  };
  Place find_place(const ScheduleConfig& config) const {
    const std::vector<Team> teams = form_teams(config, world_.size());
    size_t mine = 0;
    for (int64_t end = teams[0].ranks; end <= world_.rank(); end += teams[mine].ranks) ++mine;
    return {teams[mine], teams.size() > 1 ? world_.split(static_cast<int>(mine)) : nullptr};
  }
  Communicator& team() { return place_.comm ? *place_.comm : world_; }

  Communicator& world_;
  const Schedule schedule_;
  Place place_;
  ToyRun run_;
  std::unique_ptr<Loss> cosent_;
  EmbeddingObjective sts_;
};

TEST(JointStep, GroupedAndColocatedGradientsEqualThoseOfOneProcess) {
  const auto self = make_self_comm();
  for (const int64_t groups : {1, 2, 3}) {
    std::vector<StepPart> parts;
    Schedule(joint(beta, groups)).parts(0, parts);
    for (const StepPart& part : parts)
      EXPECT_DOUBLE_EQ(part.weight, (part.task == 0 ? 1 : beta) / static_cast<double>(groups)) << "a mean over groups";
    for (const auto& [compute, tolerance] : {std::pair(DType::f64, 1e-13), {DType::f32, 2e-6}}) {
      JointRun alone(compute, *self, joint(beta, groups));
      const std::vector<double> expected = alone.gradient(0);
      for (const ScheduleConfig& config : layouts(world_comm().size(), groups)) {
        JointRun run(compute, world_comm(), config);
        const std::vector<double> got = run.gradient(0);
        for (size_t t = 0; t < 2; ++t) EXPECT_NEAR(got[t], expected[t], 10 * tolerance) << "task " << t;
        EXPECT_LT(test::relative_difference(run.grads(), alone.grads()), tolerance)
            << groups << " groups, " << config.tasks[0].ranks << " ranks of a group for retrieval";
      }
    }
  }
}

TEST(JointStep, GroupedAndColocatedTrainingGivesTheParametersOfOneProcess) {
  const auto self = make_self_comm();
  for (const int64_t groups : {1, 2, 3}) {
    JointRun alone(DType::f64, *self, joint(beta, groups));
    alone.train(4);
    for (const ScheduleConfig& config : layouts(world_comm().size(), groups)) {
      JointRun run(DType::f64, world_comm(), config);
      run.train(4);
      EXPECT_LT(test::relative_difference(run.parameters(), alone.parameters()), 1e-9);
    }
  }
}

TEST(JointStep, CountingTasksByTheirRanksFailsTheSameComparison) {
  const auto self = make_self_comm();
  JointRun alone(DType::f64, *self, joint());
  alone.gradient(0);
  for (const ScheduleConfig& config : layouts(world_comm().size(), 1)) {
    if (config.layout == Layout::colocated) continue;  // where every rank has its rows of both
    JointRun run(DType::f64, world_comm(), config);
    run.gradient(0, Mistake::counts_ranks);
    EXPECT_GT(test::relative_difference(run.grads(), alone.grads()), 1e-2);
  }
}

TEST(JointStep, LeavingGroupsBeyondTheTeamsOutFailsTheSameComparison) {
  const auto self = make_self_comm();
  JointRun alone(DType::f64, *self, joint(beta, 3));
  alone.gradient(0);
  for (const ScheduleConfig& config : layouts(world_comm().size(), 3)) {  // at most two sets of teams on four ranks
    if (config.layout == Layout::colocated) continue;
    JointRun run(DType::f64, world_comm(), config);
    run.gradient(0, Mistake::takes_one_group);
    EXPECT_GT(test::relative_difference(run.grads(), alone.grads()), 1e-2);
  }
}

TEST(JointStep, TheWeightOfATaskScalesItsGradientAndNoOther) {
  const auto of_weight = [](double weight) {
    JointRun run(DType::f64, world_comm(), joint(weight));
    run.gradient(0);
    return run.grads();
  };
  const std::vector<double> half = of_weight(beta / 2), whole = of_weight(beta), twice = of_weight(2 * beta);
  ScheduleConfig without = joint();
  without.tasks.pop_back();
  JointRun retrieval(DType::f64, world_comm(), without);
  retrieval.gradient(0);
  const std::vector<double> other = retrieval.grads();
  std::vector<double> pairs_alone(whole.size()), expected_half = other, expected_twice = other;
  for (size_t i = 0; i < whole.size(); ++i) {
    pairs_alone[i] = whole[i] - other[i];
    expected_half[i] += pairs_alone[i] / 2;
    expected_twice[i] += 2 * pairs_alone[i];
  }
  EXPECT_GT(test::relative_difference(whole, other), 1e-2);
  EXPECT_LT(test::relative_difference(half, expected_half), 1e-13);
  EXPECT_LT(test::relative_difference(twice, expected_twice), 1e-13);
}

TEST(JointStep, GradientAgreesWithCentralDifferences) {
  const auto self = make_self_comm();
  JointRun run(DType::f64, *self, joint());
  const auto value = [&] {
    const std::vector<double> shares = run.gradient(1);
    return shares[0] + shares[1];  // weighted already
  };
  value();
  const std::vector<double> gradient = run.grads();
  // Along a random direction; with h = 1e-6 the quotient's error is h^2 of the third derivative and 1e-16 / h of rounding.
  double along = 0;
  std::vector<double> direction(gradient.size());
  for (size_t i = 0; i < direction.size(); ++i) {
    direction[i] = 2 * Key(4).uniform(i) - 1;
    along += gradient[i] * direction[i];
  }
  const double h = 1e-6;
  const auto moved = [&](double by) {
    const std::span<double> values = run.masters();
    for (size_t i = 0; i < values.size(); ++i) values[i] += by * direction[i];
    return value();
  };
  const double above = moved(h), below = moved(-2 * h);
  EXPECT_NEAR(along, (above - below) / (2 * h), 1e-7 * std::abs(along));
}

}  // namespace
}  // namespace lodestone::test
