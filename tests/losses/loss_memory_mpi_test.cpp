// Does a loss that is run where nothing is computed and no other rank is there take the step memory that it takes in truth?
#include <gtest/gtest.h>

#include "comm/null_comm.h"
#include "core/null/dry_run.h"
#include "losses/make_loss.h"
#include "losses/negative_scores.h"
#include "tests/losses/contrastive_cases.h"
#include "tests/support/loss_problem.h"
#include "tests/support/mpi_world.h"

namespace lodestone::test {
namespace {

/// Every loss with its default settings, and with others that change what it takes.
std::vector<ContrastiveCase> every_loss(Device device = Device::cpu) {
  std::vector<ContrastiveCase> cases = contrastive_cases();
  const auto add = [&](std::string name, const LossConfig& config) {
    cases.push_back({std::move(name), [config, device] { return make_loss(config, 24, device); }});
  };
  of_each_loss([&](const auto& options) {
    const LossConfig config{.terms = {{options}}};
    add(describe(config), config);
    return 0;
  });
  add("InfoNCE, this rank's", {.terms = {{InfoNceOptions{.candidates = Candidates::this_rank, .duplicates = Duplicates::masked}}}});
  add("GTE, this rank's", {.terms = {{GteOptions{.candidates = Candidates::this_rank, .duplicates = Duplicates::masked}}}});
  add("margin MSE of cosines", {.terms = {{MarginMseOptions{.similarity = Similarity::cosine}}}});
  constexpr auto rounded = ScorePrecision::bf16;
  add("InfoNCE in bf16", {.terms = {{InfoNceOptions{.direction = Direction::both, .score_precision = rounded}}}});
  add("GTE in bf16", {.terms = {{GteOptions{.positive_rivals = PositiveRivals::all_passages, .score_precision = rounded}}}});
  add("CBB in bf16", {.terms = {{CbbOptions{.other_positives = OtherPositives::included, .score_precision = rounded}}}});
  add("stabilised distillation in bf16", {.terms = {{StabilisedOptions{.score_precision = rounded}}}});
  add("Matryoshka GTE", {.terms = {{GteOptions{}}}, .matryoshka_dims = {6, 12, 24}});
  add("Matryoshka CoSENT", {.terms = {{CosentOptions{}}}, .matryoshka_dims = {6, 24}});
  cases.push_back(
      {"InfoNCE and negatives' scores", [device] { return std::make_unique<ScoredLoss>(make_loss({}, 24, device), Similarity::cosine); }});
  return cases;
}

/// Whether a case is one of those that have this in their name.
bool is_of(const ContrastiveCase& c, const char* name) { return c.name.find(name) != std::string::npos; }

/// The reference has no bf16.
const char* backend_of(const ContrastiveCase& c) { return is_of(c, "bf16") ? "cpu" : "reference"; }

/// What evaluate() takes on `rank` in a run that computes nothing.
size_t dry_bytes(const ContrastiveCase& c, const LossProblem& problem, const std::vector<int64_t>& rank_queries, int rank, DType dtype) {
  const auto modelled = any_backend(backend_of(c));
  const auto loss = c.make();
  const auto alone = make_null_comm(rank, static_cast<int>(rank_queries.size()));
  DryRun dry(*modelled);
  Exec ex = dry.exec({*modelled, dry.arena(), Key{}, dtype});
  const Pairs pairs = rank_pairs(problem, rank_queries, rank);
  const Shape shape{pairs.queries * (1 + problem.group), problem.width};
  const Tensor emb = ex.arena.tensor(dtype, shape), d_emb = ex.arena.tensor(dtype, shape), share = zero_total(ex);
  return peak_of(ex, [&](Exec e) { loss->evaluate(e, *alone, emb, pairs, 1, d_emb, share); });
}

TEST(LossMemory, IsWhatEvaluateTakes) {
  Communicator& world = world_comm();
  for (const ContrastiveCase& c : every_loss()) {
    for (const int64_t group : {1, 4}) {
      if (is_of(c, "CoSENT") ? group > 1 : is_of(c, "margin") && group == 1) continue;
      for (const bool in_batch : {true, false}) {
        LossProblem problem(70, group, 24);  // two tiles where a tile is as small as it may be
        problem.in_batch_negatives = in_batch;
        const auto loss = c.make();
        const auto splits = row_splits(problem.n, world.size());
        for (size_t i = 0; i < splits.size(); ++i) {
          const DType dtype = i == 0 && !is_of(c, "bf16") ? DType::f64 : DType::f32;
          const size_t taken = answer(*loss, problem, splits[i], world, world, dtype, backend_of(c)).taken_bytes;
          EXPECT_EQ(dry_bytes(c, problem, splits[i], world.rank(), dtype), taken)
              << c.name << ", group " << group << ", split " << i << ", in-batch negatives " << in_batch;
          EXPECT_TRUE(taken > 0 || splits[i][static_cast<size_t>(world.rank())] == 0) << c.name;
        }
      }
    }
  }
}

// Rank 0 of several, by whose rows times those of all a matrix of scores would grow four times where the batch grows twice: of so many that
// a tile is full in the smaller batch, also among its own passages.
TEST(LossMemory, GrowsNoFasterThanTheBatch) {
  constexpr int64_t width = 64, smaller = 16'384;
  for (const auto& [device, ranks] : {std::pair{Device::cpu, 8}, {Device::cuda, 2}}) {
    const auto taken = [ranks = ranks](const ContrastiveCase& c, const LossProblem& problem) {
      return static_cast<double>(dry_bytes(c, problem, std::vector<int64_t>(static_cast<size_t>(ranks), problem.n / ranks), 0, DType::f32));
    };
    for (const int64_t group : {1, 2}) {
      const LossProblem once(smaller, group, width), twice(2 * smaller, group, width);
      for (const ContrastiveCase& c : every_loss(device)) {
        if (is_of(c, "CoSENT") ? group > 1 : is_of(c, "margin") && group == 1) continue;
        EXPECT_LE(taken(c, twice), 2 * taken(c, once)) << c.name << ", group " << group << ", " << ranks << " ranks";
      }
    }
  }
}

TEST(LossMemory, HasLargerTilesOnAGpuWhereABatchHasSoManyScores) {
  const auto taken = [](const ContrastiveCase& c, int64_t n) { return dry_bytes(c, LossProblem(n, 2, 24), {n}, 0, DType::f32); };
  const std::vector<ContrastiveCase> host = every_loss(Device::cpu), gpu = every_loss(Device::cuda);
  for (size_t i = 0; i < host.size(); ++i) {
    if (is_of(host[i], "CoSENT")) continue;
    EXPECT_EQ(taken(gpu[i], 64), taken(host[i], 64)) << host[i].name << ": a tile takes no more than all scores";
  }
  // A score, and two logarithms a row.
  const auto tile = [](int64_t rows, int64_t columns) { return static_cast<size_t>(4 * rows * columns + 2 * 4 * rows); };
  const ContrastiveCase on_host{"", [] { return make_loss({}, 24, Device::cpu); }},
      on_gpu{"", [] { return make_loss({}, 24, Device::cuda); }}, counted{"", [] { return make_loss({}, 24, Device::null); }},
      debugged{"", [] { return make_loss({}, 24, Device::debug); }};
  EXPECT_EQ(taken(on_gpu, 2048) - taken(on_host, 2048), tile(2048, 4096) - tile(256, 4096)) << "all scores";
  EXPECT_EQ(taken(on_gpu, 8192) - taken(on_host, 8192), tile(2048, 16384) - tile(64, 16384)) << "2^25 of 2^27";
  EXPECT_EQ(taken(counted, 8192), taken(on_gpu, 8192));
  EXPECT_EQ(taken(debugged, 8192), taken(on_host, 8192));
}

}  // namespace
}  // namespace lodestone::test
