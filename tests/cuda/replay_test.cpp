// CUDA graphs of chunks: the same bits as operation by operation, for other texts and other steps; what is recorded when, and what is not.
#include <gtest/gtest.h>

#include "core/cuda/cuda_backend.h"
#include "core/nn/encoder.h"
#include "core/step_texts.h"
#include "tests/cuda/doubles/counts.h"
#include "tests/cuda/doubles/runtime.h"
#include "tests/support/tiny_model.h"

namespace lodestone::test {
namespace {

EmbedderConfig small_bert() {
  EmbedderConfig c;
  c.encoder = {.vocab = 40, .hidden = 64, .layers = 2, .heads = 2, .feed_forward = 96, .positions = 64};
  c.encoder.hidden_dropout = c.encoder.attention_dropout = 0.2;
  c.head = HeadConfig{.out_features = 24, .bias = true, .squash = Squash::tanh};
  return c;
}

/// What a chunk of some texts gives in a step: vectors, then the gradient of their sum.
using Values = std::vector<double>;

class Chunks {
 public:
  explicit Chunks(Launches launches, Checkpointing checkpointing = Checkpointing::none, AttentionChoice attention = AttentionChoice::own)
      : backend_(0, attention, launches),
        arena_(backend_.memory(), size_t{256} << 20),
        params_(backend_.memory(), embedder_layout(small_bert()), DType::bf16),
        encoder_(small_bert(), params_, checkpointing),
        memory_(backend_.memory(), static_cast<size_t>(params_.layout().count()) * sizeof(float)) {
    edit_on_host(params_, backend_, [](ParamStore& host) { randomize(host, 0.2); });
  }

  /// ready: who waits for slices of the gradient.
  Values run(const ModelTexts& texts, uint64_t step, const std::function<void(Slice)>& ready = {}) {
    const auto scope = arena_.scope();
    Exec ex = Exec{backend_, arena_, Key(1), DType::bf16}.at(Key(step));
    const DeviceTexts on_device = upload_filled_texts(ex, in_step(ex, texts.tokens()), {.tokens = 128, .longest = 64});
    const Tensor grads = memory_.tensor(DType::f32, {params_.layout().count()});
    backend_.fill_zero(grads);
    // Where a caller has vectors differs from step to step: the graph must not know it.
    const Tensor room = arena_.tensor(DType::f32, {200, 24});
    const int64_t first = static_cast<int64_t>(step), count = texts.tokens().texts();
    return values(ex, on_device, room.rows(first, first + count), room.rows(100 + first, 100 + first + count), grads, ready);
  }

  CudaBackend& backend() { return backend_; }
  Arena& arena() { return arena_; }
  ParamStore& params() { return params_; }

 private:
  Values values(Exec& ex, const DeviceTexts& texts, Tensor again, Tensor emb, Tensor grads, const std::function<void(Slice)>& ready) {
    encoder_.forward(ex, texts, again);
    EncoderSaved* const saved = encoder_.forward_saved(ex, texts, emb);
    encoder_.backward(ex, texts, saved, emb, grads, ready);
    Values values = to_double(backend_, arena_, emb);
    EXPECT_EQ(to_double(backend_, arena_, again), values) << "what keeps nothing";
    const Values gradient = to_double(backend_, arena_, grads);
    values.insert(values.end(), gradient.begin(), gradient.end());
    return values;
  }

  CudaBackend backend_;
  Arena arena_;
  ParamStore params_;
  Encoder encoder_;
  Buffer memory_;
};

/// Chunks of one shape, but the last three: 64 tokens or fewer, and then more.
std::vector<ModelTexts> chunks() {
  std::vector<ModelTexts> all;
  for (const auto& lengths : std::vector<std::initializer_list<int64_t>>{
           {5, 9, 12, 20}, {7, 7, 30}, {1, 2, 3, 4, 5, 6, 7, 8}, {50}, {13, 13, 13, 13}, {40, 41, 42}, {5, 9, 12, 20}, {3, 4, 5}})
    all.push_back(make_texts(lengths, 40, Masks::on));
  return all;
}

TEST(CudaReplay, GivesTheBitsThatSingleLaunchesGiveForOtherTextsAndSteps) {
  for (const Checkpointing checkpointing : {Checkpointing::none, Checkpointing::per_block}) {
    Chunks single(Launches::single, checkpointing), graphs(Launches::graphs, checkpointing);
    uint64_t step = 0;
    for (const ModelTexts& texts : chunks()) {
      const Values expected = single.run(texts, ++step);
      EXPECT_EQ(graphs.run(texts, step), expected) << "step " << step;
      EXPECT_NE(single.run(texts, step + 10), expected) << "another step drops other elements";
    }
    EXPECT_NE(graphs.backend().description().find("recorded"), std::string::npos) << graphs.backend().description();
    EXPECT_EQ(single.backend().description().find("CUDA graphs"), std::string::npos);
  }
}

// With dropout of its own, which it draws from what is uploaded, and without.
TEST(CudaReplay, GivesTheBitsOfSingleLaunchesByCudnnToo) {
  for (const bool drops : {true, false}) {
    const auto all = [&](Launches launches) {
      Chunks run(launches, Checkpointing::none, AttentionChoice::cudnn);
      std::vector<Values> values;
      for (ModelTexts texts : chunks()) {
        if (!drops) texts.keys.clear();
        values.push_back(run.run(texts, values.size() + 1));
      }
      EXPECT_NE(run.backend().description().find("executions so far"), std::string::npos) << run.backend().description();
      return values;
    };
    const std::vector<Values> single = all(Launches::single);
    doubles::counts() = {};
    EXPECT_EQ(all(Launches::graphs), single) << drops;
    EXPECT_GT(doubles::counts().graph_launches, 5);
  }
}

// A plan's workspace that the GPU has no more: the run goes on, and what was recorded is enqueued anew before it is recorded again.
TEST(CudaReplay, MemoryThatIsLostBetweenTwoComingsEndsNoRun) {
  const ModelTexts texts = make_texts({5, 9, 12}, 40, Masks::on), more = make_texts({40, 41, 42}, 40, Masks::on);
  Chunks single(Launches::single), graphs(Launches::graphs);
  graphs.run(texts, 1);
  graphs.run(texts, 2);
  doubles::fail_call("cudaMalloc", 0, cudaErrorMemoryAllocation);
  try {
    graphs.run(more, 3);  // which wants more scratch
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), "F14");
  }
  for (uint64_t step = 4; step < 7; ++step) EXPECT_EQ(graphs.run(texts, step), single.run(texts, step)) << step;
}

TEST(CudaReplay, RecordsAPassThatComesAgainAndThenLaunchesItWhole) {
  Chunks chunks_of_one_shape(Launches::graphs);
  const ModelTexts texts = make_texts({5, 9, 12}, 40, Masks::on), others = make_texts({30, 20}, 40, Masks::on);
  const auto counts_of = [&](const ModelTexts& chunk, uint64_t step) {
    doubles::counts() = {};
    chunks_of_one_shape.run(chunk, step);
    return doubles::counts();
  };
  const doubles::Counts first = counts_of(texts, 1), second = counts_of(others, 1), third = counts_of(texts, 1);
  EXPECT_EQ(first.graph_launches, 0) << "what comes once is not recorded";
  EXPECT_EQ(second.graphs, 3) << "forward, forward with all kept, backward";
  EXPECT_EQ(second.graph_launches, 3);
  EXPECT_EQ(third.graphs, 0);
  EXPECT_EQ(third.nodes, 0);
  EXPECT_EQ(third.graph_launches, 3);
  EXPECT_EQ(third.products, 0);
  EXPECT_LT(third.launches(), 15) << "copies to where callers want their vectors, and what this test reads";
  EXPECT_EQ(first.launches() - (third.launches() - 3), second.nodes) << "all else is in the graphs";
}

TEST(CudaReplay, WhoWaitsForSlicesGetsThemBetweenGraphs) {
  const ModelTexts texts = make_texts({5, 9, 12}, 40, Masks::on);
  Chunks single(Launches::single), graphs(Launches::graphs);
  for (uint64_t step = 1; step <= 3; ++step) {
    std::vector<int64_t> launched_by_then;
    int64_t elements = 0;
    doubles::counts() = {};
    const Values got = graphs.run(texts, step, [&](Slice slice) {
      launched_by_then.push_back(doubles::counts().graph_launches);
      elements += slice.count();
    });
    EXPECT_EQ(got, single.run(texts, step)) << step;
    EXPECT_EQ(elements, graphs.params().layout().count());
    const int64_t before = step == 1 ? 0 : 3;  // two forward passes and the head's part
    const std::vector<int64_t> expected = step == 1 ? std::vector<int64_t>(4, 0) : std::vector{before, before + 1, before + 2, before + 3};
    EXPECT_EQ(launched_by_then, expected) << "head, two blocks, embeddings";
  }
}

TEST(CudaReplay, OtherShapesPlacesAndKeysAreOtherGraphs) {
  Chunks graphs(Launches::graphs);
  const ModelTexts texts = make_texts({5, 9, 12}, 40, Masks::on), more = make_texts({40, 41, 42}, 40, Masks::on);
  ModelTexts undropped = texts;
  undropped.keys.clear();
  graphs.run(more, 1);  // so that scratch grows no more
  for (const ModelTexts* chunk : std::initializer_list<const ModelTexts*>{&texts, &more, &undropped}) {
    doubles::counts() = {};
    graphs.run(*chunk, 1);
    graphs.run(*chunk, 1);
    EXPECT_EQ(doubles::counts().graphs, 3);
  }
  const auto elsewhere = graphs.arena().scope();
  graphs.arena().tensor(DType::f32, {100});
  doubles::counts() = {};
  graphs.run(texts, 1);
  EXPECT_EQ(doubles::counts().graph_launches, 0) << "other activations";
}

TEST(CudaReplay, WhatCudaRefusesGoesOnOperationByOperation) {
  const ModelTexts texts = make_texts({5, 9, 12}, 40, Masks::on);
  Chunks single(Launches::single);
  for (const char* const call : {"cudaStreamBeginCapture", "cudaStreamEndCapture", "cudaGraphInstantiate", "cudaGraphUpload"}) {
    Chunks graphs(Launches::graphs);
    graphs.run(texts, 1);
    doubles::fail_call(call, 0, cudaErrorMemoryAllocation);
    doubles::counts() = {};
    EXPECT_EQ(graphs.run(texts, 2), single.run(texts, 2)) << call;
    EXPECT_EQ(doubles::counts().graph_launches, 2) << "but the pass that was refused";
    EXPECT_EQ(graphs.run(texts, 3), single.run(texts, 3)) << call;
    EXPECT_NE(graphs.backend().description().find(", 1 that CUDA does not record ("), std::string::npos) << graphs.backend().description();
  }
}

/// A stretch that counts how often it is called and adds to x.
class Stretch {
 public:
  explicit Stretch(CudaBackend& backend) : backend_(backend), memory_(backend.memory(), sizeof(double)) {
    backend_.fill_zero(x());
    one_ = Buffer(backend.memory(), sizeof(double));
    const double one = 1;
    backend_.upload(view(std::span(&one, 1)), one_.tensor(DType::f64, {1}));
    backend_.synchronize();
  }
  Tensor x() const { return memory_.tensor(DType::f64, {1}); }
  void replay(
      uint64_t name, const std::function<void()>& also = [] {}) {
    backend_.replay(ReplayName("a test").add(name), [&] {
      ++calls_;
      backend_.axpy(1, one_.tensor(DType::f64, {1}), x());
      also();
    });
  }
  int calls() const { return calls_; }
  double value() {
    double value = 0;
    const Tensor host(reinterpret_cast<std::byte*>(&value), DType::f64, {1});
    backend_.download(x(), host);
    backend_.synchronize();
    return value;
  }

 private:
  CudaBackend& backend_;
  Buffer memory_, one_;
  int calls_ = 0;
};

TEST(CudaReplay, AStretchIsNotCalledAnyMoreOnceItIsRecorded) {
  CudaBackend backend(0, AttentionChoice::own, Launches::graphs);
  Stretch stretch(backend);
  for (int i = 0; i < 5; ++i) stretch.replay(7);
  EXPECT_EQ(stretch.calls(), 2) << "enqueued, and recorded";
  EXPECT_EQ(stretch.value(), 5);
  stretch.replay(8);
  EXPECT_EQ(stretch.calls(), 3);
  EXPECT_EQ(stretch.value(), 6);
}

TEST(CudaReplay, AStretchThatWaitsIsNotRecorded) {
  CudaBackend backend(0, AttentionChoice::own, Launches::graphs);
  Stretch stretch(backend);
  for (int i = 0; i < 4; ++i) stretch.replay(7, [&] { backend.synchronize(); });
  EXPECT_EQ(stretch.value(), 4);
  EXPECT_EQ(stretch.calls(), 5) << "each time, and once in vain";
}

TEST(CudaReplay, WhatAStretchThrowsGoesThrough) {
  CudaBackend backend(0, AttentionChoice::own, Launches::graphs);
  Stretch stretch(backend);
  stretch.replay(7);
  EXPECT_THROW(stretch.replay(7, [] { throw Error(ExitCode::data, "test", "no", "none"); }), Error);
  stretch.replay(7);
  EXPECT_EQ(stretch.value(), 3) << "nothing of what was recorded then, all of what was enqueued";
}

TEST(CudaReplay, NamesThatDoNotComeAgainAreForgotten) {
  CudaBackend backend(0, AttentionChoice::own, Launches::graphs);
  Stretch stretch(backend);
  constexpr int many = 17'000;
  for (uint64_t name = 0; name < many; ++name) stretch.replay(name);
  for (int i = 0; i < 3; ++i) stretch.replay(0);
  EXPECT_EQ(stretch.calls(), many + 2) << "the first one was new again";
  EXPECT_EQ(stretch.value(), many + 3);
}

TEST(CudaReplay, MoreGraphsThanThereIsRoomForAreNotRecordedInTurn) {
  CudaBackend backend(0, AttentionChoice::own, Launches::graphs);
  Stretch stretch(backend);
  constexpr int many = 600;
  const auto all = [&] {
    for (uint64_t name = 0; name < many; ++name) stretch.replay(name);
  };
  all();
  all();
  doubles::counts() = {};
  all();
  EXPECT_EQ(doubles::counts().graph_launches, 512) << "those that came first";
  EXPECT_EQ(doubles::counts().graphs, 0) << "none makes place for another one that comes as often";
  EXPECT_EQ(stretch.value(), 3 * many);
  for (int i = 0; i < 4; ++i)  // others come so often that the old ones make place
    for (uint64_t name = 10'000; name < 10'600; ++name) stretch.replay(name);
  EXPECT_GT(doubles::counts().graphs, 500);
}

TEST(CudaReplay, ParametersThatHaveNotArrivedAreWaitedForOutsideOfGraphs) {
  Chunks graphs(Launches::graphs);
  const ModelTexts texts = make_texts({5, 9, 12}, 40, Masks::on);
  for (int i = 0; i < 2; ++i) graphs.run(texts, 1);
  int64_t brought = 0;
  graphs.params().expect([&](int64_t end) { return brought = end; });
  doubles::counts() = {};
  graphs.run(texts, 1);
  EXPECT_EQ(brought, graphs.params().layout().count());
  EXPECT_EQ(doubles::counts().graph_launches, 2) << "all passes but the first";
}

}  // namespace
}  // namespace lodestone::test
