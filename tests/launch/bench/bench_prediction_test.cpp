// Does the model of a step count what a step does?
#include "launch/bench/bench_prediction.h"

#include <gtest/gtest.h>

namespace lodestone {
namespace {

/// Weights of the products of MiniLM's layers: 6 of 384 with a feed-forward of 1,536.
constexpr double weights = 6 * (4.0 * 384 * 384 + 2 * 384 * 1536);

PredictedStep predicted(const BenchOptions& options, int ranks = 1) { return predict_bench(options, gpu_ceilings_of("h200"), ranks); }

/// Texts of 128 tokens, 2 a pair, in chunks of 1,024 that are all kept, in bf16.
BenchOptions dense(int64_t pairs) { return {.lengths = "dense", .pairs = pairs, .chunk_tokens = 1024}; }

TEST(BenchPrediction, FlopsAreThoseThatAPenFinds) {
  const PredictedStep step = predicted(dense(32));
  const double tokens = 32 * 2 * 128, scores = tokens * 128;
  EXPECT_EQ(step.facts.tokens, tokens);
  EXPECT_EQ(step.facts.flops, tokens * (6 * weights + 12 * 6 * 384 * 128));
  // Forward and backward of each weight, and of the loss: 32 x 32 scores of 384, and their two gradients.
  EXPECT_EQ(step.prediction.of(WorkKind::products).product_flops, 6 * weights * tokens + 6.0 * 32 * 32 * 384);
  EXPECT_EQ(step.prediction.of(WorkKind::attention).product_flops, 6 * 4 * scores * 384);
  EXPECT_EQ(step.prediction.of(WorkKind::attention_backward).product_flops, 6 * 14 * scores * 384);
}

TEST(BenchPrediction, BytesAreThoseThatAPenFinds) {
  const Prediction step = predicted(dense(32)).prediction;
  const double S = 8192, H = 384, F = 1536, A = 12, L = 6, chunks = 8;
  // Attention: qkv, ctx, lse, and a bit a score of 128 keys, written and read; the same, with two readers, d_ctx and d_qkv, and 8 bytes a
  // row and head written and read.
  EXPECT_EQ(step.of(WorkKind::attention).bytes, L * (2 * 4 * S * H + 4 * S * A + 2 * 16 * S * A));
  EXPECT_EQ(step.of(WorkKind::attention_backward).bytes, L * (2 * 8 * S * H + 4 * S * A + 3 * 16 * S * A + 16 * S * A));
  EXPECT_EQ(step.of(WorkKind::activations).bytes, L * 2 * 5 * S * F);
  // AdamW's seven vectors of f32, and the one that the norm reads.
  const double parameters = 30522 * H + 512 * H + 2 * H + 2 * H + weights + L * (9 * H + F);
  EXPECT_EQ(step.of(WorkKind::update).bytes, 8 * 4 * parameters);
  // Products of a layer, by their columns and depth: forward x, w, y and the rounded bias; backward dy, w, dx, which is read too where it
  // is added to (of qkv and the first of the feed-forward), and dy, x, and the gradients of weights and biases, read and written.
  double bytes = 0;
  for (const auto& [m, k, added] : {std::tuple{3 * H, H, 1.0}, {H, H, 0.0}, {F, H, 1.0}, {H, F, 0.0}}) {
    const double w = chunks * m * k;
    bytes += 2 * (S * k + w + S * m) + chunks * 2 * m;
    bytes += 2 * (S * m + w + (1 + added) * S * k);
    bytes += 2 * (S * m + S * k) + 4 * 2 * w + chunks * 4 * 4 * m;
  }
  // The loss's scores from queries and passages, and two gradients by the same three matrices, which are added to.
  const double n = 32, scores = 4 * (n * H + n * H + n * n), gradients = 2 * (scores + 4 * n * H);
  EXPECT_EQ(step.of(WorkKind::products).bytes, L * bytes + scores + gradients);
}

// In bytes, by the hidden size: what a token reads and writes in a layer, forward and backward, whatever the chunk. The embeddings' norm
// counts as the layers' own, and the loss's scores are too few to matter. By hand, in rows of H bf16: products 50 (by their columns and
// depth, as above), attention 4 and 8, norms 8 and 12, activations 20, which is 204; the bits of dropout, the embeddings' norm and
// statistics are 4.
TEST(BenchPrediction, ATokenMovesFewBytesALayer) {
  const auto bytes = [](int64_t pairs) {
    BenchOptions options = dense(pairs);
    options.model = "bert-base";
    options.chunk_tokens = pairs * 2 * 128;
    const Prediction step = predicted(options).prediction;
    double sum = 0;
    for (const WorkKind kind :
         {WorkKind::products, WorkKind::attention, WorkKind::attention_backward, WorkKind::norms, WorkKind::activations})
      sum += step.of(kind).bytes;
    return sum;
  };
  const double a_token = (bytes(64) - bytes(32)) / (32 * 2 * 128) / (12 * 768);
  EXPECT_LT(a_token, 210) << "docs/step_model.md";
  EXPECT_GT(a_token, 200) << "something is not counted";
}

TEST(BenchPrediction, CountsAreLinearInChunks) {
  const Prediction one = predicted(dense(32)).prediction, two = predicted(dense(64)).prediction, three = predicted(dense(96)).prediction;
  for (const WorkKind kind :
       {WorkKind::attention, WorkKind::attention_backward, WorkKind::norms, WorkKind::activations, WorkKind::embeddings}) {
    EXPECT_EQ(two.of(kind).product_flops, 2 * one.of(kind).product_flops) << name_of(kind);
    EXPECT_EQ(two.of(kind).bytes, 2 * one.of(kind).bytes) << name_of(kind);
    EXPECT_EQ(two.of(kind).launches, 2 * one.of(kind).launches) << name_of(kind);
    EXPECT_EQ(three.of(kind).bytes, 3 * one.of(kind).bytes) << name_of(kind);
  }
  EXPECT_EQ(two.of(WorkKind::update).bytes, one.of(WorkKind::update).bytes);
}

TEST(BenchPrediction, AStepInOneChunkLaunchesWhatTheDocumentsSay) {
  // docs/cuda.md: 31 + 19 L kernels, 3 + 12 L products, 9 + 8 L fills and 2 copies, where rows fill up to a multiple of 64; 6 uploads.
  BenchOptions options{.lengths = "30", .pairs = 4, .chunk_tokens = 2048};
  for (const auto& [model, layers] : {std::pair{"minilm", 6}, {"bert-base", 12}}) {
    options.model = model;
    const Prediction step = predicted(options).prediction;
    EXPECT_EQ(step.all().launches, (31 + 3 + 9 + 2) + (19 + 12 + 8) * layers) << model;
    EXPECT_EQ(step.of(WorkKind::uploads).operations, 6);
    EXPECT_EQ(step.of(WorkKind::waits).operations, 2) << "for what the step found, and before it is added up";
  }
}

TEST(BenchPrediction, ScoresAreInTilesOfAGpu) {
  const auto launches = [](int64_t pairs) {
    return predicted({.lengths = "short", .pairs = pairs, .chunk_tokens = 16384}).prediction.of(WorkKind::scores).launches;
  };
  EXPECT_EQ(launches(4096), launches(1024)) << "2^24 scores are one tile";
  EXPECT_GT(launches(8192), launches(4096)) << "2^26 are two";
}

TEST(BenchPrediction, WhatIsComputedTwiceIsCountedTwice) {
  BenchOptions options = dense(32);
  const PredictedStep kept = predicted(options);
  options.keep_mb = 0;  // one of eight chunks
  const PredictedStep again = predicted(options);
  EXPECT_EQ(again.facts.flops, kept.facts.flops);
  const WorkKind attention = WorkKind::attention;
  EXPECT_EQ(again.prediction.of(attention).product_flops, kept.prediction.of(attention).product_flops * (1 + 7 / 8.0));
  EXPECT_LT(again.facts.memory_bytes, kept.facts.memory_bytes);
  EXPECT_LT(again.share_of_ceiling(), kept.share_of_ceiling());
}

TEST(BenchPrediction, RanksShareTheBatchAndAddTheirGradientsUp) {
  const PredictedStep alone = predicted(dense(32)), four = predicted(dense(32), 4);
  for (const WorkKind kind : {WorkKind::exchanges, WorkKind::loss_exchanges}) EXPECT_EQ(alone.prediction.of(kind).operations, 0);
  EXPECT_EQ(four.prediction.of(WorkKind::attention).product_flops, alone.prediction.of(WorkKind::attention).product_flops / 4);
  const double parameters = alone.prediction.of(WorkKind::update).bytes / 8 / 4;
  EXPECT_EQ(four.prediction.of(WorkKind::exchanges).bytes, 2 * 0.75 * 4 * parameters) << "the gradient in a ring";
  // 24 rows of others' passages come, and as many rows' gradients go; all that is computed waits for both.
  const PredictedWork& loss = four.prediction.of(WorkKind::loss_exchanges);
  EXPECT_EQ(loss.bytes, 2 * 4.0 * 24 * 384);
  EXPECT_NEAR(loss.total_s(), 2 * exchange_s + loss.bytes / gpu_ceilings_of("h200").link_bytes_per_s, 2 * launch_s);
}

TEST(BenchPrediction, StandsBesideWhatWasMeasuredOnAGpuThatIsKnown) {
  const auto beside = prediction_beside(dense(32), 1, "NVIDIA H200, GPU 0 of 1", 0.5);
  EXPECT_EQ(beside["label"], "PREDICTED");
  EXPECT_EQ(beside["measured_step_s"], 0.5);
  EXPECT_DOUBLE_EQ(beside["measured_through_predicted"], 0.5 / predicted(dense(32)).prediction.step_s);
  EXPECT_TRUE(prediction_beside(dense(32), 1, "emulated GPU, GPU 0 of 1", 0.5).is_null());
}

}  // namespace
}  // namespace lodestone
