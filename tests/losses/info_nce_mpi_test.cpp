// InfoNCE over ranks: the shares add up to the one-process loss and every rank's gradient is its part of the one-process
// gradient.
#include <gtest/gtest.h>

#include <random>

#include "losses/info_nce.h"
#include "tests/support/detached_comm.h"
#include "tests/support/mpi_world.h"
#include "tests/support/toy_training.h"

namespace lodestone::test {
namespace {

/// Global vectors and the one-process answer, the same on every rank.
struct Problem {
  Problem(int64_t n, int64_t group, int64_t width, Candidates candidates) : n(n), group(group), width(width) {
    std::mt19937 random(static_cast<uint32_t>(n));
    std::normal_distribution<double> normal;
    queries.resize(static_cast<size_t>(n * width));
    passages.resize(static_cast<size_t>(n * group * width));
    for (double& v : queries) v = normal(random);
    for (double& v : passages) v = normal(random);
    d_queries.resize(queries.size());
    d_passages.resize(passages.size());
    loss = info_nce({.queries = queries,
                     .passages = passages,
                     .embedding = width,
                     .dimensions = width,
                     .group = group,
                     .temperature = 0.2,
                     .candidates = candidates},
                    d_queries, d_passages);
  }
  int64_t n, group, width;
  std::vector<double> queries, passages, d_queries, d_passages;
  double loss = 0;
};

struct Deviation {
  double loss = 0, gradient = 0;  // largest absolute difference from the one-process answer, over all ranks
};

Deviation run_over_ranks(const Problem& problem, Candidates candidates, Communicator& world, Communicator& group) {
  const auto backend = any_backend("reference");
  const Planes planes(group, *backend);
  Arena arena(backend->memory(), size_t{1} << 28);
  Exec ex{*backend, arena, Key{}, DType::f64};
  const Batch batch = toy_batch(0, problem.n, problem.group, world.rank(), world.size());
  const auto rows = [&](const std::vector<double>& all, int64_t per_query) {
    const auto begin = all.begin() + batch.first_query * per_query * problem.width;
    return std::vector<double>(begin, begin + batch.queries * per_query * problem.width);
  };
  const auto both = [&](const std::vector<double>& q, const std::vector<double>& p) {
    std::vector<double> out = rows(q, 1), passages = rows(p, problem.group);
    out.insert(out.end(), passages.begin(), passages.end());
    return out;
  };
  const Shape shape{batch.queries * (1 + problem.group), problem.width};
  const auto scope = arena.scope();
  const Tensor emb = tensor_of(*backend, arena, both(problem.queries, problem.passages), shape), d_emb = arena.tensor(DType::f64, shape);
  InfoNce loss({.temperature = 0.2, .candidates = candidates});
  double total = evaluate(loss, ex, planes.group(), emb, batch.pairs(), 1, d_emb).share;
  all_reduce(world, std::span(&total, 1), Reduce::sum);
  Deviation worst{std::abs(total - problem.loss), 0};
  const std::vector<double> expected = both(problem.d_queries, problem.d_passages);
  const std::vector<double> seen = to_double(*backend, arena, d_emb);
  for (size_t i = 0; i < expected.size(); ++i) worst.gradient = std::max(worst.gradient, std::abs(seen[i] - expected[i]));
  all_reduce(world, std::span(&worst.gradient, 1), Reduce::max);
  return worst;
}

TEST(InfoNceOverRanks, GradientIsIndependentOfRankCount) {
  Communicator& world = world_comm();
  for (const int64_t n : {1, 3, 7, 12}) {  // fewer queries than ranks, uneven, even
    for (const int64_t group : {1, 3}) {
      const Problem problem(n, group, 5, Candidates::all_ranks);
      const Deviation deviation = run_over_ranks(problem, Candidates::all_ranks, world, world);
      EXPECT_LT(deviation.loss, 1e-13) << n << " queries of group " << group;
      EXPECT_LT(deviation.gradient, 1e-14) << n << " queries of group " << group;
    }
  }
}

TEST(InfoNceOverRanks, GroupOnlyLossNeedsNoExchange) {
  Communicator& world = world_comm();
  const Problem problem(7, 3, 5, Candidates::own_group);
  const Deviation deviation = run_over_ranks(problem, Candidates::own_group, world, world);
  EXPECT_LT(deviation.loss, 1e-13);
  EXPECT_LT(deviation.gradient, 1e-14);
}

TEST(InfoNceOverRanks, DetachedGatherFailsTheSameComparison) {
  Communicator& world = world_comm();
  if (world.size() == 1) GTEST_SKIP() << "one rank has nothing to detach";
  DetachedComm detached(world);
  const Problem problem(7, 2, 5, Candidates::all_ranks);
  const Deviation deviation = run_over_ranks(problem, Candidates::all_ranks, world, detached);
  EXPECT_LT(deviation.loss, 1e-13);     // the value is right,
  EXPECT_GT(deviation.gradient, 1e-3);  // the gradient is not
}

TEST(InfoNceOverRanks, RankOnlyCandidatesAreTheOneProcessLossOfEachRanksRows) {
  Communicator& world = world_comm();
  const int64_t n = int64_t{4} * world.size() + 1, group = 2, width = 5;
  const Problem whole(n, group, width, Candidates::all_ranks);
  Problem parts = whole;  // each rank's rows as a batch of their own, its mean counted by its share of the rows
  parts.loss = 0;
  for (int rank = 0; rank < world.size(); ++rank) {
    const RankRows rows = rank_rows(n, rank, world.size());
    const auto of = [&](auto& all, int64_t per_query) {
      return std::span(all).subspan(static_cast<size_t>(rows.begin * per_query * width),
                                    static_cast<size_t>((rows.end - rows.begin) * per_query * width));
    };
    const auto d_queries = of(parts.d_queries, 1), d_passages = of(parts.d_passages, group);
    const double share = static_cast<double>(rows.end - rows.begin) / static_cast<double>(n);
    parts.loss += share * info_nce({.queries = of(whole.queries, 1),
                                    .passages = of(whole.passages, group),
                                    .embedding = width,
                                    .dimensions = width,
                                    .group = group,
                                    .temperature = 0.2},
                                   d_queries, d_passages);
    for (const auto d : {d_queries, d_passages})
      for (double& v : d) v *= share;
  }
  const Deviation deviation = run_over_ranks(parts, Candidates::this_rank, world, world);
  EXPECT_LT(deviation.loss, 1e-13);
  EXPECT_LT(deviation.gradient, 1e-14);
  if (world.size() > 1) {
    EXPECT_GT(run_over_ranks(whole, Candidates::this_rank, world, world).loss, 1e-3) << "the candidates of all ranks give another loss";
  }
}

}  // namespace
}  // namespace lodestone::test
