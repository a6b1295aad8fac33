// Is what a loss says that it takes of step memory what it takes, on any number of ranks?
#include <gtest/gtest.h>

#include "losses/make_loss.h"
#include "tests/losses/contrastive_cases.h"
#include "tests/support/loss_problem.h"
#include "tests/support/mpi_world.h"

namespace lodestone::test {
namespace {

/// Every loss with its default settings, and with others that change what it takes.
std::vector<ContrastiveCase> every_loss() {
  std::vector<ContrastiveCase> cases = contrastive_cases();
  const auto add = [&](std::string name, const LossConfig& config) {
    cases.push_back({std::move(name), [config] { return make_loss(config, 24); }});
  };
  of_each_loss([&](const auto& options) {
    const LossConfig config{.terms = {{options}}};
    add(describe(config), config);
    return 0;
  });
  add("InfoNCE, this rank's", {.terms = {{InfoNceOptions{.candidates = Candidates::this_rank, .duplicates = Duplicates::masked}}}});
  add("GTE, this rank's", {.terms = {{GteOptions{.candidates = Candidates::this_rank, .duplicates = Duplicates::masked}}}});
  add("margin MSE of cosines", {.terms = {{MarginMseOptions{.similarity = Similarity::cosine}}}});
  add("Matryoshka GTE", {.terms = {{GteOptions{}}}, .matryoshka_dims = {6, 12, 24}});
  add("Matryoshka CoSENT", {.terms = {{CosentOptions{}}}, .matryoshka_dims = {6, 24}});
  return cases;
}

TEST(LossMemory, IsWhatEvaluateTakes) {
  Communicator& world = world_comm();
  for (const ContrastiveCase& c : every_loss()) {
    for (const int64_t group : {1, 4}) {
      if (c.name.find("CoSENT") != std::string::npos ? group > 1 : c.name.find("margin") != std::string::npos && group == 1) continue;
      for (const bool in_batch : {true, false}) {
        LossProblem problem(70, group, 24);  // two tiles where a tile is as small as it may be
        problem.in_batch_negatives = in_batch;
        const auto loss = c.make();
        const auto splits = row_splits(problem.n, world.size());
        for (size_t i = 0; i < splits.size(); ++i) {
          const LossAnswer got = answer(*loss, problem, splits[i], world, world, i == 0 ? DType::f64 : DType::f32);
          EXPECT_LE(got.taken_bytes, got.counted_bytes) << c.name << ", group " << group;
          // Counts of ranks that stand there for a moment only.
          EXPECT_GE(static_cast<double>(got.taken_bytes), 0.99 * static_cast<double>(got.counted_bytes) - 256)
              << c.name << ", group " << group;
        }
      }
    }
  }
}

}  // namespace
}  // namespace lodestone::test
