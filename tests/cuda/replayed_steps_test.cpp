// Steps of training with CUDA graphs: batches that differ, in many chunks of which some are kept, mostly meet graphs that are there.
#include <gtest/gtest.h>

#include "comm/planes.h"
#include "comm/self_comm.h"
#include "core/cuda/cuda_backend.h"
#include "launch/bench/bench_loss.h"
#include "losses/embedding_objective.h"
#include "tests/cuda/doubles/counts.h"
#include "tests/cuda/doubles/streams.h"
#include "tests/support/toy_training.h"

namespace lodestone::test {
namespace {

class CudaReplayedSteps : public testing::Test {
 protected:
  CudaReplayedSteps() { doubles::set_execution(doubles::Execution::dropped); }
  ~CudaReplayedSteps() override { doubles::set_execution(doubles::Execution::at_once); }
};

/// Graphs launched in the last `counted` of `steps` steps, through stretches that came in them.
double share_launched(size_t keep_bytes, int64_t steps, int64_t counted) {
  CudaBackend backend(0, AttentionChoice::own, Launches::graphs);
  Arena arena(backend.memory(), size_t{1} << 30);
  const auto alone = make_self_comm();
  const Planes planes(*alone, backend);
  EmbedderConfig config;
  config.encoder = {.vocab = 50, .hidden = 64, .layers = 2, .heads = 2, .feed_forward = 96, .positions = 64};
  const ParamStore params(backend.memory(), embedder_layout(config), DType::bf16);
  const Encoder encoder(config, params);
  const std::unique_ptr<Loss> loss = make_loss(bench_loss("info_nce").config(64), 64, Device::cuda);
  EmbeddingObjective objective(encoder, *loss, planes.group(), {.chunk_tokens = 256, .keep_activations_bytes = keep_bytes});
  const Buffer memory(backend.memory(), static_cast<size_t>(params.layout().count()) * sizeof(float));
  const Exec ex{backend, arena, Key(1), DType::bf16};
  const Tensor share = arena.tensor(DType::f64, {1}), grads = memory.tensor(DType::f32, {params.layout().count()});
  int64_t stretches = 0;
  for (int64_t step = 0; step < steps; ++step) {
    if (step == steps - counted) doubles::counts() = {};
    objective.accumulate(ex.at(Key(static_cast<uint64_t>(step))), toy_batch(step, 48, 2, 0, 1, 40), 1, grads, share, {});
    const ChunkCounts chunks = objective.chunks();
    if (step >= steps - counted) stretches += 2 * chunks.kept + 3 * (chunks.all - chunks.kept);
  }
  return static_cast<double>(doubles::counts().graph_launches) / static_cast<double>(stretches);
}

TEST_F(CudaReplayedSteps, MostlyMeetGraphsWhateverIsKept) {
  for (const size_t keep : {size_t{0}, size_t{3} << 20, size_t{1} << 40}) EXPECT_GT(share_launched(keep, 60, 20), 0.8) << keep;
}

}  // namespace
}  // namespace lodestone::test
