// Do uploads travel beside what the GPU computes without changing a bit, and is every event that orders them needed?
#include "tests/cuda/doubles/streams.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "core/cuda/cuda_backend.h"
#include "core/nn/encoder.h"
#include "core/optim/adamw.h"
#include "tests/support/tiny_model.h"

namespace lodestone::test {
namespace {

using doubles::Execution;

struct Order {
  Execution execution = Execution::at_once;
  uint64_t seed = 1;
};
constexpr Order orders[] = {{Execution::at_once},     {Execution::late},        {Execution::shuffled, 1},
                            {Execution::shuffled, 2}, {Execution::shuffled, 3}, {Execution::shuffled, 4}};

class CudaStreams : public testing::Test {
 protected:
  ~CudaStreams() override {
    doubles::set_execution(Execution::at_once);
    doubles::forget_event(-1);
  }
};

EmbedderConfig smallest() {
  EmbedderConfig config;
  config.encoder = {.vocab = 20, .hidden = 8, .layers = 1, .heads = 2, .feed_forward = 8, .positions = 8, .types = 2};
  return config;
}

/// Three texts that no other part has.
ModelTexts texts_of(int64_t part) {
  ModelTexts texts;
  for (int64_t text = 0; text < 3; ++text) {
    for (int64_t i = 0; i < 3 + (part + text) % 3; ++i) texts.ids.push_back(static_cast<int32_t>((7 * part + 5 * text + 3 * i) % 20));
    texts.offsets.push_back(std::ssize(texts.ids));
    texts.keys.push_back(text_key(static_cast<uint64_t>(part), Role::text, static_cast<uint64_t>(text), 0));
  }
  return texts;
}

/// Two optimizer steps of two parts each, as a run makes them: the host waits once a step, for what the step found. The loss of a part is
/// half the square of its vectors. Losses and parameters; event number `forgotten` of the steps is left out, if there is one.
std::vector<double> trained(int64_t forgotten = -1) {
  const EmbedderConfig config = smallest();
  Model model(config, DType::f32, std::make_unique<CudaBackend>(0));
  Backend& be = *model.backend;
  Arena& arena = model.arena;
  const int64_t n = model.params.layout().count();
  AdamW optimizer(be.memory(), {}, model.params.layout(), DType::f32);
  const Buffer memory(be.memory(), static_cast<size_t>(n) * sizeof(float)), found(be.memory(), sizeof(double));
  const Tensor grads = memory.tensor(DType::f32, {n}), loss = found.tensor(DType::f64, {1});
  std::vector<double> results;
  const auto add_gradient = [&](int64_t part) {
    const ModelTexts texts = texts_of(part);
    const auto scope = arena.scope();
    const DeviceTexts on_device = model.on_device(texts);
    const Tensor emb = arena.tensor(DType::f32, {3, config.embedding()});
    EncoderSaved* const saved = model.encoder.forward_saved(model.ex, on_device, emb);
    model.encoder.backward(model.ex, on_device, saved, emb, grads, {});
  };
  add_gradient(4);  // shapes are seen: nothing is allocated below, for which the device would wait
  be.synchronize();
  doubles::forget_event(forgotten);
  for (int64_t step = 0; step < 2; ++step) {
    be.fill_zero(grads);
    add_gradient(2 * step);
    add_gradient(2 * step + 1);
    be.sum_squares(grads, loss);
    {
      const auto scope = arena.scope();
      results.push_back(fetch<double>(be, arena, loss)[0]);
    }
    optimizer.step(model.ex, 1e-2, 1, grads, model.params);
  }
  const std::vector<double> weights = model.to_double(model.params.masters());
  results.insert(results.end(), weights.begin(), weights.end());
  return results;
}

/// Whether trained() gives other bits than `expected` once event number `forgotten` is left out, or does not end: in a process of its own,
/// since a kernel may then read anywhere.
bool goes_wrong(const Order& order, int64_t forgotten, const std::vector<double>& expected) {
  const pid_t child = fork();
  if (child == 0) {
    if (std::freopen("/dev/null", "w", stderr) == nullptr) _exit(0);
    doubles::set_execution(order.execution, order.seed);
    _exit(trained(forgotten) == expected ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return status != 0;
}

TEST_F(CudaStreams, TheBitsOfAStepDoNotDependOnWhenStreamsRun) {
  const std::vector<double> expected = trained();
  for (const Order& order : orders) {
    doubles::set_execution(order.execution, order.seed);
    EXPECT_EQ(trained(), expected) << static_cast<int>(order.execution) << ", seed " << order.seed;
  }
}

// An event that is over before somebody waits for it orders nothing: the host has waited already. All others are left out one by one.
TEST_F(CudaStreams, EveryEventThatIsLeftOutIsNoticed) {
  const std::vector<double> expected = trained();
  doubles::set_execution(Execution::late);
  EXPECT_EQ(trained(), expected);
  const std::vector<int64_t>& needed = doubles::open_events();
  EXPECT_EQ(needed.size(), 6u)
      << "each part's texts before they are read, and before those of a step's second part what the first one reads";
  for (const Order& order : orders) EXPECT_FALSE(goes_wrong(order, -1, expected)) << "where none is left out";
  for (const int64_t event : needed)
    EXPECT_TRUE(std::ranges::any_of(orders, [&](const Order& order) { return goes_wrong(order, event, expected); })) << "event " << event;
}

TEST_F(CudaStreams, TextsDoNotWaitForTheUpdateOfTheStepBefore) {
  CudaBackend be(0);
  Arena arena(be.memory(), size_t{1} << 20);
  const Buffer memory(be.memory(), 4096);
  const Tensor weights = memory.tensor(DType::f32, {1024});
  const std::vector<float> host(1024, 1.0f);
  const ConstTensor ones = view(std::span(host));
  doubles::set_execution(Execution::late);
  {
    const auto scope = arena.scope();  // of a step, which ends with what the host reads
    be.axpy(1, be.upload(ones, arena), weights);
    be.synchronize();
  }
  be.scale(2, weights, weights);  // its update
  doubles::forget_event(-1);
  const auto scope = arena.scope();
  const ConstTensor x = be.upload(ones, arena);
  EXPECT_EQ(doubles::open_events(), std::vector<int64_t>{}) << "nothing is in the upload's way";
  be.axpy(1, x, weights);
  EXPECT_EQ(doubles::open_events().size(), 1u) << "but it is in the way of what reads it";
  EXPECT_EQ(fetch<float>(be, arena, weights)[1023], 3.0f);
}

}  // namespace
}  // namespace lodestone::test
