// How many launches and bytes does a chunk cost? Exactly, so that a change of either is seen.
#include <gtest/gtest.h>

#include "comm/planes.h"
#include "comm/self_comm.h"
#include "core/null/counting_backend.h"
#include "launch/bench/bench_batch.h"
#include "launch/bench/bench_loss.h"
#include "losses/embedding_objective.h"
#include "tests/cuda/bert_chunk.h"
#include "tests/cuda/doubles/counts.h"
#include "tests/cuda/doubles/streams.h"

namespace lodestone::test {
namespace {

class CudaLaunches : public testing::Test {
 protected:
  CudaLaunches() { doubles::set_execution(doubles::Execution::dropped); }
  ~CudaLaunches() override { doubles::set_execution(doubles::Execution::at_once); }
};

doubles::Counts of_chunk(int64_t layers, int64_t texts) {
  BertChunk chunk(layers, texts);
  doubles::counts() = {};
  chunk.run();
  return doubles::counts();
}

// docs/cuda.md has the same numbers, by operation.
TEST_F(CudaLaunches, OfAnEncoderChunkAreSoManyAndSoManyALayer) {
  for (const int64_t layers : {1, 2, 12}) {
    const doubles::Counts counts = of_chunk(layers, 8);
    EXPECT_EQ(counts.kernels, 13 + 19 * layers);
    EXPECT_EQ(counts.products, 12 * layers);
    EXPECT_EQ(counts.fills, layers) << "the gradient of a key's bias";
    EXPECT_EQ(counts.device_copies, 0);
    EXPECT_EQ(counts.stream_waits, 1) << "for the texts";
    EXPECT_EQ(counts.host_waits, 0);
  }
}

TEST_F(CudaLaunches, AChunkUploadsItsTextsOnceAndNothingElse) {
  for (const int64_t texts : {1, 64}) {
    const doubles::Counts counts = of_chunk(2, texts);
    EXPECT_EQ(counts.uploads, 5) << "ids, offsets, keys; the text and the place of every token";
    EXPECT_EQ(counts.uploaded_bytes, texts * 128 * (4 + 4 + 4) + (texts + 1) * 8 + texts * 8);
    EXPECT_EQ(counts.downloads, 0);
  }
}

/// Gradients of some pairs in several chunks, of which one is kept and the others are computed twice, by a loss with its default settings;
/// `steps` times. `begin` is called before the last time.
void accumulate(Backend& backend, const BenchLoss& known, DType compute, int64_t head, int64_t steps, const std::function<void()>& begin) {
  EmbedderConfig config;
  config.encoder = {.vocab = 30000, .hidden = 2 * head, .layers = 2, .heads = 2, .feed_forward = 100};
  Arena arena(backend.memory(), size_t{1} << 30);
  const auto alone = make_self_comm();
  const Planes planes(*alone, backend);
  const ParamStore params(backend.memory(), embedder_layout(config), compute);
  const Encoder encoder(config, params);
  const std::unique_ptr<Loss> loss = make_loss(known.config(config.embedding()), config.embedding());
  EmbeddingObjective objective(encoder, *loss, planes.group(), {.chunk_tokens = 200, .keep_activations_bytes = 0});
  const Buffer memory(backend.memory(), static_cast<size_t>(params.layout().count()) * sizeof(float));
  const Exec ex{backend, arena, Key(1), compute};
  const Tensor share = arena.tensor(DType::f64, {1}), grads = memory.tensor(DType::f32, {params.layout().count()});
  for (int64_t step = 0; step < steps; ++step) {
    if (step + 1 == steps) begin();
    objective.accumulate(ex.at(Key(static_cast<uint64_t>(step))), bench_batch("real", 5, known.group, {}), 1, grads, share, {});
  }
}

void expect_counted(const BenchLoss& loss, DType compute, int64_t head, Launches how) {
  CudaBackend real(0, AttentionChoice::own, how);
  accumulate(real, loss, compute, head, 3, [] { doubles::counts() = {}; });  // with graphs: enqueued, recorded, launched
  const doubles::Counts asked = doubles::counts();
  CountingBackend counting(how);
  accumulate(counting, loss, compute, head, 1, [] {});
  int64_t launches = 0, uploads = 0, nodes = 0;
  for (const Work& work : counting.work()) {
    (work.in_graph ? nodes : launches) += work.launches;
    uploads += work.kind == WorkKind::uploads;
  }
  EXPECT_EQ(launches, asked.launches()) << loss.name << ' ' << name_of(compute) << ", heads of " << head;
  EXPECT_EQ(uploads, asked.uploads) << loss.name << ' ' << name_of(compute);
  EXPECT_EQ(nodes > 0, how == Launches::graphs);
  EXPECT_EQ(asked.graph_launches > 0, how == Launches::graphs);
  EXPECT_EQ(asked.nodes, 0) << "nothing is recorded any more";
  EXPECT_EQ(counting.row_bucket(), real.row_bucket());
  EXPECT_EQ(counting.wants_token_places(), real.wants_token_places());
  EXPECT_EQ(counting.wants_rounded_biases(), real.wants_rounded_biases());
}

/// What the model of a step (docs/step_model.md) takes launches to be, and the real backend makes.
TEST_F(CudaLaunches, AreCountedWithoutAGpuAsTheyAre) {
  for (const BenchLoss& loss : bench_losses())
    for (const DType compute : {DType::bf16, DType::f32}) expect_counted(loss, compute, 32, Launches::single);
  for (const int64_t head : {16, 64, 128}) expect_counted(bench_loss("info_nce"), DType::bf16, head, Launches::single);
}

TEST_F(CudaLaunches, WithGraphsAreCountedWithoutAGpuAsTheyAre) {
  for (const DType compute : {DType::bf16, DType::f32}) expect_counted(bench_loss("info_nce"), compute, 32, Launches::graphs);
  expect_counted(bench_loss("cbb"), DType::bf16, 64, Launches::graphs);
}

// docs/cuda.md has the number.
TEST_F(CudaLaunches, OfAChunkWithGraphsAreTwo) {
  BertChunk chunk(12, 8, Launches::graphs);
  for (int i = 0; i < 2; ++i) chunk.run();
  doubles::counts() = {};
  chunk.run();
  EXPECT_EQ(doubles::counts().launches(), 2) << "forward and backward";
  EXPECT_EQ(doubles::counts().graph_launches, 2);
  EXPECT_EQ(doubles::counts().uploads, 5);
}

TEST_F(CudaLaunches, DoNotDependOnHowLargeAChunkIs) { EXPECT_EQ(of_chunk(2, 1).launches(), of_chunk(2, 64).launches()); }

}  // namespace
}  // namespace lodestone::test
