// Whatever a step is like, do sums of gradients in a stream, and the parameters that arrive behind them, have the bits of those that go
// through the host, in any order of streams?
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>

#include "comm/gather_values.h"
#include "comm/grad_sync.h"
#include "comm/planes.h"
#include "core/cuda/cuda_backend.h"
#include "core/optim/adamw.h"
#include "core/optim/freeze.h"
#include "core/step_texts.h"
#include "tests/cuda/doubles/counts.h"
#include "tests/cuda/doubles/streams.h"
#include "tests/support/mpi_world.h"
#include "tests/support/tiny_model.h"

namespace lodestone::test {
namespace {

using doubles::Enqueued, doubles::Execution;
using Update = GradSync::Update;
using Bits = std::vector<uint32_t>;

struct Setting {
  Update update = Update::own_slice;
  int64_t piece_bytes = 144;  // more pieces than verbs have events: 77
  DType compute = DType::f32;
  std::vector<std::string> frozen{};
  Launches launches = Launches::single;
};

enum class Texts : uint8_t { everywhere, not_on_every_rank };
enum class Gradient : uint8_t { finite, overflows };
struct Step {
  Texts texts = Texts::everywhere;
  Gradient gradient = Gradient::finite;
};

EmbedderConfig four_layers() {
  EmbedderConfig config;
  config.encoder = {.vocab = 20, .hidden = 8, .layers = 4, .heads = 2, .feed_forward = 16, .positions = 8, .types = 2};
  return config;
}

/// A rank of a run, with steps as launch/training makes them: an update is left out where the gradient is not finite.
class Trainer {
 public:
  Trainer(Transport transport, const Setting& setting)
      : model_(four_layers(), setting.compute, std::make_unique<CudaBackend>(world().local_rank(), AttentionChoice::own, setting.launches)),
        planes_(world_comm(), be(), transport, &world().watchdog()),
        memory_(be().memory(), static_cast<size_t>(count()) * sizeof(float)),
        grads_(memory_.tensor(DType::f32, {count()})),
        squares_memory_(be().memory(), sizeof(double)),
        squares_(squares_memory_.tensor(DType::f64, {1})),
        sync_(planes_.group(), be(), count(), DType::f32, {.piece_bytes = setting.piece_bytes, .update = setting.update}),
        frozen_(frozen_ranges(model_.params.layout(), setting.frozen)),
        optimizer_(be().memory(), {}, model_.params.layout(), DType::f32, {sync_.own(), frozen_}) {}

  /// Whether there was an update. What the step finds is in bits().
  bool step(const Step& step) {
    const auto ranks = static_cast<int64_t>(world().size());
    const bool any = step.texts == Texts::everywhere || steps_ % ranks != world().rank();
    const bool overflows = step.gradient == Gradient::overflows && (steps_ + 1) % ranks == world().rank();
    be().fill_zero(grads_);
    sync_.begin(grads_);
    doubles::note_enqueued();
    backward(any, overflows);
    verbs_before_finish_ = std::ranges::count(doubles::enqueued(), Enqueued::Kind::verb, &Enqueued::kind);
    sync_.finish(grads_);
    clear_frozen(be(), frozen_, grads_);
    ++steps_;
    if (!is_finite()) return false;
    keep(grads_.slice(sync_.own()));
    optimizer_.step(model_.ex, 1e-2, 1, grads_, model_.params);
    sync_.share(model_.params);
    return true;
  }
  /// Parameters as they are, all of which have then arrived.
  Bits parameters() { return bits_of(model_.params.masters()); }
  /// Sums of this rank of all steps, and parameters.
  Bits bits() {
    keep(model_.params.masters());
    return found_;
  }
  int64_t verbs_before_finish() const { return verbs_before_finish_; }
  const GradSync& sync() const { return sync_; }
  const ParamLayout& layout() const { return model_.params.layout(); }

 private:
  Backend& be() { return *model_.backend; }
  int64_t count() const { return model_.params.layout().count(); }

  /// Of half the squares of the vectors. A rank without texts reports its ranges all the same.
  void backward(bool any, bool overflows) {
    const auto scope = model_.arena.scope();
    if (!any) return model_.encoder.backward(model_.ex, {}, nullptr, model_.arena.tensor(DType::f32, {0, 8}), grads_, sync_.hook());
    const ModelTexts given = make_texts({5, 1 + world().rank() % 6, 4}, 20, Masks::on);
    const DeviceTexts texts =  // filled up, as graphs take them
        upload_filled_texts(model_.ex, given.tokens(), {.tokens = 64, .longest = model_.config.encoder.longest_text()});
    const Tensor emb = model_.arena.tensor(DType::f32, {3, 8});
    EncoderSaved* const saved = model_.encoder.forward_saved(model_.ex, texts, emb);
    if (overflows)
      for (int i = 0; i < 2; ++i) be().scale(1e30, emb, emb);
    model_.encoder.backward(model_.ex, texts, saved, emb, grads_, sync_.hook());
  }
  /// Takes no memory, for which the device would wait.
  bool is_finite() {
    const auto scope = model_.arena.scope();
    be().sum_squares(grads_.slice(sync_.own()), squares_);
    const std::vector<double> squares = gather_value(world_comm(), fetch<double>(be(), model_.arena, squares_)[0]);
    return std::ranges::all_of(squares, [](double x) { return std::isfinite(x); });
  }
  Bits bits_of(ConstTensor x) {
    const auto scope = model_.arena.scope();
    Bits bits;
    for (const float v : fetch<float>(be(), model_.arena, x)) bits.push_back(std::bit_cast<uint32_t>(v));
    return bits;
  }
  void keep(ConstTensor x) {
    const Bits bits = bits_of(x);
    found_.insert(found_.end(), bits.begin(), bits.end());
  }

  Model model_;
  Planes planes_;
  Buffer memory_;
  Tensor grads_;
  Buffer squares_memory_;
  Tensor squares_;
  GradSync sync_;
  const std::vector<Slice> frozen_;
  AdamW optimizer_;
  int64_t steps_ = 0, verbs_before_finish_ = 0;
  Bits found_;
};

// An operation that does not wait for a verb is seen in the first, a verb that does not wait for operations in the second.
constexpr Execution orders[] = {Execution::oldest_first, Execution::newest_first};

class CudaGradientSteps : public testing::TestWithParam<Setting> {
 protected:
  void SetUp() override {
    if (world().size() == 1) GTEST_SKIP() << "a world of one sums nothing";
  }
  ~CudaGradientSteps() override { doubles::set_execution(Execution::at_once); }

  static Bits trained(Transport transport, const Setting& setting, const std::vector<Step>& steps) {
    Trainer trainer(transport, setting);
    for (const Step& step : steps) EXPECT_EQ(trainer.step(step), step.gradient == Gradient::finite);
    return trainer.bits();
  }
  /// The bits of a run whose sums go through the host, in any order of streams.
  static void expect_as_staged(const std::vector<Step>& steps, const Setting& setting = GetParam()) {
    doubles::set_execution(Execution::at_once);
    const Bits expected = trained(Transport::staged, setting, steps);
    for (const Execution order : orders) {
      doubles::set_execution(order);
      EXPECT_EQ(trained(Transport::nccl, setting, steps), expected) << static_cast<int>(order);
    }
  }
};

TEST_P(CudaGradientSteps, ARankWithoutTextsReportsItsPiecesAllTheSame) {
  const Step without{.texts = Texts::not_on_every_rank};
  expect_as_staged({without, {}, without});
  doubles::set_execution(Execution::late);
  Trainer trainer(Transport::nccl, GetParam());
  for (int i = 0; i < 2; ++i) {
    trainer.step(without);
    EXPECT_EQ(trainer.verbs_before_finish(), std::ssize(trainer.sync().trace())) << "pieces when backward ends, step " << i;
  }
}

TEST_P(CudaGradientSteps, AStepThatOverflowsChangesNoParameterThatIsYetToArrive) {
  const Step overflow{.gradient = Gradient::overflows}, without{Texts::not_on_every_rank, Gradient::overflows};
  expect_as_staged({{}, without, overflow, {}});
  doubles::set_execution(Execution::oldest_first);
  Trainer steady(Transport::nccl, GetParam()), overflowing(Transport::nccl, GetParam());
  for (Trainer* const trainer : {&steady, &overflowing}) ASSERT_TRUE(trainer->step({}));
  ASSERT_FALSE(overflowing.step(overflow));
  ASSERT_FALSE(overflowing.step(without));
  EXPECT_EQ(overflowing.parameters(), steady.parameters());
}

TEST_P(CudaGradientSteps, FrozenParametersStayAndAllOthersMove) {
  Setting setting = GetParam();
  setting.frozen = {"embeddings.word_embeddings", "encoder.layer.1", "encoder.layer.3"};
  expect_as_staged({{}, {.gradient = Gradient::overflows}, {}}, setting);
  Trainer trainer(Transport::nccl, setting);
  const Bits before = trainer.parameters();
  for (int i = 0; i < 2; ++i) trainer.step({});
  const Bits after = trainer.parameters();
  const std::vector<Slice> frozen = frozen_ranges(trainer.layout(), setting.frozen);
  for (const Param& p : trainer.layout().params()) {
    const auto at = [&](const Bits& bits) {
      return std::span(bits).subspan(static_cast<size_t>(p.slice.begin), static_cast<size_t>(p.slice.count()));
    };
    // A key's bias adds the same to all scores of a row: its gradient is nothing.
    const bool stays = p.name.ends_with("self.key.bias") ||
                       std::ranges::any_of(frozen, [&](Slice f) { return f.begin <= p.slice.begin && p.slice.end <= f.end; });
    EXPECT_EQ(std::ranges::equal(at(before), at(after)), stays) << p.name;
  }
}

// What backward enqueues comes as graphs from the second step on, between whose launches pieces are started. So does forward in steps
// behind one without an update; in others, whose parameters are yet to arrive, it goes operation by operation.
TEST_P(CudaGradientSteps, GraphsLeaveTheBitsAsTheyAre) {
  Setting setting = GetParam();
  setting.piece_bytes = 1024;
  const Step overflow{.gradient = Gradient::overflows};
  const std::vector<Step> steps{overflow, {}, {}, overflow, {}};
  doubles::set_execution(Execution::at_once);
  const Bits expected = trained(Transport::staged, setting, steps);
  setting.launches = Launches::graphs;
  for (const Execution order : orders) {
    doubles::set_execution(order);
    doubles::counts() = {};
    EXPECT_EQ(trained(Transport::nccl, setting, steps), expected) << static_cast<int>(order);
    EXPECT_GT(doubles::counts().graph_launches, 0);
  }
}

INSTANTIATE_TEST_SUITE_P(Settings, CudaGradientSteps,
                         testing::Values(Setting{}, Setting{.piece_bytes = 1024, .compute = DType::bf16},
                                         Setting{.update = Update::everywhere, .piece_bytes = 1024}),
                         [](const auto& info) {
                           return std::string(info.param.update == Update::everywhere ? "everywhere" : "own_slice") + "_" +
                                  name_of(info.param.compute);
                         });

/// A vector that differs between ranks in every bit, in the memory of a device.
class Shares {
 public:
  explicit Shares(Transport transport) : planes_(world_comm(), be_, transport, &world().watchdog()) {}
  /// Of the sum of n elements what this rank keeps.
  Bits summed(Update update, int64_t n, int64_t piece_bytes) {
    const auto scope = arena_.scope();
    std::vector<float> host(static_cast<size_t>(n));
    const Key key = Key(9).with(static_cast<uint64_t>(world().rank()));
    for (size_t i = 0; i < host.size(); ++i) host[i] = static_cast<float>(2 * key.uniform(i) - 1) * std::exp2(static_cast<float>(i % 20));
    const Tensor grads = arena_.tensor(DType::f32, {n});
    be_.upload(view(std::span(host)), grads);
    GradSync sync(planes_.group(), be_, n, DType::f32, {.piece_bytes = piece_bytes, .update = update});
    const Slice own = sync.finish(grads);
    Bits bits;
    for (const float v : fetch<float>(be_, arena_, grads.slice(own))) bits.push_back(std::bit_cast<uint32_t>(v));
    return bits;
  }

 private:
  CudaBackend be_{world().local_rank(), AttentionChoice::own};
  Arena arena_{be_.memory(), size_t{1} << 20};
  Planes planes_;
};

// NCCL's double sums by the verbs of MPI by which staged sums go: what is shown is that each piece is the same one of the same elements,
// and lands in its place. How NCCL itself rounds is its own affair.
TEST(CudaShares, SummedWhereTheyLieHaveTheBitsOfStagedOnes) {
  if (world().size() == 1) GTEST_SKIP() << "a world of one sums nothing";
  Shares staged(Transport::staged), in_stream(Transport::nccl);
  for (const Update update : {Update::everywhere, Update::own_slice})
    for (const int64_t n : {1, 17, 33, 1003})
      for (const int64_t piece_bytes : {100, 1 << 20})
        EXPECT_EQ(in_stream.summed(update, n, piece_bytes), staged.summed(update, n, piece_bytes))
            << n << " elements in pieces of " << piece_bytes << (update == Update::everywhere ? " bytes" : " bytes, shares");
}

}  // namespace
}  // namespace lodestone::test
