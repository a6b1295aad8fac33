// How often a training step asks a device for something: once, and once more for what only the host can do.
#include <gtest/gtest.h>

#include <iostream>

#include "launch/training/step.h"
#include "tests/support/mpi_world.h"
#include "tests/support/tiny_run.h"

namespace lodestone {
namespace {

/// What losses, objectives and the step asked for, and what communicators did inside their verbs.
struct PerStep {
  int64_t downloads = 0, waits = 0;  // of the step itself
  int64_t staged = 0, sent = 0;      // waits of the device plane, and its downloads
  int64_t drained = 0;               // waits of the host plane
  PerStep operator-(const PerStep& before) const {
    return {downloads - before.downloads, waits - before.waits, staged - before.staged, sent - before.sent, drained - before.drained};
  }
  friend bool operator==(const PerStep&, const PerStep&) = default;
  friend std::ostream& operator<<(std::ostream& out, const PerStep& p) {
    return out << p.downloads << " downloads and " << p.waits << " waits a step, and inside communicators " << p.staged
               << " verbs staged with " << p.sent << " downloads, " << p.drained << " of the host plane";
  }
};

/// Of a team's planes as well, which are split from those of all ranks.
PerStep so_far(const Run& run) {
  const Transfers& all = run.backend->transfers();
  const int64_t staged = run.planes.device_waits(), sent = run.planes.device_downloads(), drained = run.planes.host_waits();
  return {all.downloads - sent, all.waits - staged - drained, staged, sent, drained};
}

/// What one kind of run asks for in a step on a device.
struct Case {
  std::string what, yaml, train = {};
  int64_t downloads = 1;
  int64_t staged = 0;   // verbs of the device plane, beside the sum of gradients over several ranks
  int64_t drained = 1;  // verbs of the host plane: the sum of what steps found, and control values of losses
};

// Verbs of the device plane by which ranks exchange what a loss compares, and its gradient: a loss without an answer here does not compile.
constexpr int64_t exchanges_of(const InfoNceOptions&) { return 2; }
constexpr int64_t exchanges_of(const GteOptions&) { return 4; }
constexpr int64_t exchanges_of(const CbbOptions&) { return 4; }
constexpr int64_t exchanges_of(const CosentOptions&) { return 1; }
constexpr int64_t exchanges_of(const GroupDistillationOptions&) { return 0; }
constexpr int64_t exchanges_of(const StabilisedOptions&) { return 2; }
constexpr int64_t exchanges_of(const MarginMseOptions&) { return 0; }

class StepTransfers : public ::testing::Test {
 protected:
  std::string data(const char* corpus, const char* rest = "") const {
    return cat("{train: ", material_.corpus(corpus), ", query_max_len: 16, passage_max_len: 16", rest, "}");
  }
  std::string on(const std::string& rows, const std::string& rest) const { return cat("data: ", rows, "\n", rest, "\n"); }
  /// CBB over triples with another loss.
  std::string joint(const std::string& loss, const std::string& rows, const std::string& schedule) const {
    return cat("tasks: {a: {data: ", triples_, ", loss: {name: cbb}}, b: {data: ", rows, ", loss: {name: ", loss,
               "}}}\nschedule: {mix: joint", schedule, "}\n");
  }

  /// Of the steps of a run behind the first, which must all ask for as much. On the CPU no step copies a byte.
  PerStep asked_for(BackendKind kind, const Case& c) const {
    lodestone::Run run(test::world(), material_.config(kind, c.yaml, c.train), 0);
    TrainingStep training(run);
    std::vector<PerStep> steps;
    for (int64_t step = 0; step < 3; ++step) {
      const PerStep before = so_far(run);
      training.accumulate(step);
      const StepOutcome outcome = training.update(step);
      EXPECT_TRUE(outcome.finite) << "step " << step;
      steps.push_back(so_far(run) - before);
    }
    EXPECT_EQ(steps[1], steps[2]);
    EXPECT_EQ(run.backend->transfers().copied_bytes > 0, kind == BackendKind::debug);
    return steps[2];
  }
  void expect(const Case& c) const {
    SCOPED_TRACE(c.what);
    const bool alone = test::world().size() == 1;  // its verbs copy on the device, and sum no gradient
    const int64_t of_gradients = alone ? 0 : 1, staged = alone ? 0 : c.staged + of_gradients;
    const PerStep asked = asked_for(BackendKind::debug, c);
    EXPECT_EQ(asked, (PerStep{c.downloads, c.downloads, staged, staged, c.drained}));
    // The same is asked of the CPU, whose planes stage nothing: there the sum of gradients waits for itself.
    EXPECT_EQ(asked_for(BackendKind::cpu, c), (PerStep{c.downloads, c.downloads + of_gradients}));
    if (test::world().rank() == 0) std::cout << c.what << ": " << asked << '\n';
  }

  test::TinyRun material_;
  const std::string triples_ = data("triples", ", train_group_size: 3"), pairs_ = data("pairs");
};

TEST_F(StepTransfers, AStepDownloadsOnceAndOnceMoreForWhatOnlyTheHostCanDo) {
  of_each_loss([&]<class Options>(const Options& options) {
    using Row = LossRow<Options>;
    const bool scored = Row::reads == LossReads::gold_scores;  // gathered over the host plane
    expect({std::string(Row::name), on(scored ? pairs_ : triples_, cat("loss: {name: ", Row::name, "}")), "", 1, exchanges_of(options),
            scored ? 2 : 1});
    return 0;
  });
  const std::string mined = data("triples", ", train_group_size: 2, select_negative: window");
  expect({"info_nce, mining", on(mined, "mining: {negatives: 1, every: 100}"), "", 2, 2});
  expect({"reranker", on(triples_, "objective: {name: reranker}")});
  expect({"retromae", on(data("texts"), "objective: {name: retromae}"), "", 1, 0, 2});
}

TEST_F(StepTransfers, ManyLossesAndBatchesOfAStepAreDownloadedTogether) {
  expect({"info_nce, masked", on(triples_, "loss: {name: info_nce, mask_false_negatives: true}"), "", 1, 2, 4});
  expect({"info_nce at three sizes", on(triples_, "loss: {name: info_nce, mrl_dims: [2, 4, 8]}"), "", 1, 6});
  expect({"cosent at three sizes", on(pairs_, "loss: {name: cosent, mrl_dims: [2, 4, 8]}"), "", 1, 3, 4});
  expect({"a sum of losses", on(triples_, "loss: {name: sum, terms: {a: {name: info_nce}, b: {name: kl_divergence, weight: 0.5}}}"), "", 1,
          2});
  expect({"info_nce, two batches a step", on(triples_, "loss: {name: info_nce}"), ", gradient_accumulation_steps: 2", 1, 4});
}

TEST_F(StepTransfers, AJointStepDownloadsOnceForAllItsParts) {
  expect({"cbb and gte jointly", joint("gte", triples_, ""), "", 1, 8});
  expect({"cbb and cosent jointly", joint("cosent", pairs_, ""), "", 1, 5, 2});
  expect({"cbb and cosent jointly, two groups", joint("cosent", pairs_, ", groups: 2"), "", 1, 10, 3});
  if (test::world().size() > 1) expect({"cbb and gte, ranks grouped", joint("gte", triples_, ", layout: grouped"), "", 1, 4});
}

}  // namespace
}  // namespace lodestone
