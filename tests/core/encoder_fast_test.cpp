// The encoder on the fast CPU backend: against the reference, and what must hold of it in f32 and bf16.
#include <gtest/gtest.h>

#include "core/nn/chunk_meter.h"
#include "core/nn/encoder.h"
#include "core/null/dry_run.h"
#include "tests/support/arena_peak.h"
#include "tests/support/onednn_calls.h"
#include "tests/support/tiny_model.h"

namespace lodestone::test {
namespace {

/// Sizes that divide by nothing convenient beyond what heads need, so that tails of vector code run too.
EmbedderConfig small_embedder() {
  EmbedderConfig c;
  c.encoder = {.vocab = 101, .hidden = 72, .layers = 3, .heads = 6, .feed_forward = 200, .positions = 64, .types = 2};
  c.head = HeadConfig{20, true, Squash::identity};
  return c;
}

const ModelTexts& small_texts() {
  static const ModelTexts texts = make_texts({3, 64, 1, 17, 33, 12, 50}, 101, Masks::on);
  return texts;
}

/// Weights with the gain of trained models, about 1 / sqrt(inputs): larger ones make attention so sharp that rounding is amplified.
void calm(Model& model) {
  randomize(model.params, 0.15);
  model.params.refresh(*model.backend);
}

std::vector<double> random_vector(size_t n, const char* name) {
  std::vector<double> v(n);
  fill_uniform(std::span(v), name, 1.0);
  return v;
}

// Masks are functions of names, so dropout stays on. About 60 roundings on the way through, each of relative size u / sqrt(3),
// added in quadrature: 4.5 u, with u = 6e-8 in f32 and 2^-9 in bf16 (0.009). Tolerances are twice that, and ten times in f32,
// where sums of up to 200 terms count too.
TEST(EncoderFast, EmbeddingsAndGradientsEqualTheReferencesWithDropoutOn) {
  Model exact(small_embedder(), DType::f64, "reference");
  calm(exact);
  const std::vector<double> weights = random_vector(7 * 20, "weights");
  const std::vector<double> emb = exact.embed(small_texts()), gradient = exact.gradient(small_texts(), weights);
  for (const auto& [dtype, tolerance] : {std::pair{DType::f64, 1e-12}, {DType::f32, 3e-6}, {DType::bf16, 0.018}}) {
    Model fast(small_embedder(), dtype, "cpu");
    calm(fast);
    EXPECT_LT(relative_error(fast.embed(small_texts()), emb), tolerance) << name_of(dtype);
    EXPECT_LT(relative_error(fast.gradient(small_texts(), weights), gradient), tolerance) << name_of(dtype);
  }
}

TEST(EncoderFast, RecomputingBlocksGivesEqualGradients) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    Model keeping(small_embedder(), dtype, "cpu"), recomputing(small_embedder(), dtype, "cpu", Checkpointing::per_block);
    const std::vector<double> weights = random_vector(7 * 20, "weights");
    EXPECT_EQ(keeping.gradient(small_texts(), weights), recomputing.gradient(small_texts(), weights)) << name_of(dtype);
    EXPECT_LT(recomputing.arena.peak_bytes(), keeping.arena.peak_bytes());
  }
}

// The first GradCache pass must see what the second does, or its cached gradient belongs to other embeddings.
TEST(EncoderFast, ForwardWithAndWithoutSavingGiveTheSameBits) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    Model model(small_embedder(), dtype, "cpu");
    const Buffer grads(model.backend->memory(), static_cast<size_t>(model.params.layout().count()) * 4);
    const std::vector<double> weights = random_vector(7 * 20, "weights");
    EXPECT_EQ(model.embed(small_texts()),
              model.add_gradient(small_texts(), weights, grads.tensor(DType::f32, {model.params.layout().count()})));
  }
}

TEST(EncoderFast, SplittingTextsOverCallsChangesNothingButRounding) {
  for (const auto& [dtype, tolerance] : {std::pair{DType::f32, 1e-5}, {DType::bf16, 0.02}}) {
    Model model(small_embedder(), dtype, "cpu");
    const std::vector<double> weights = random_vector(7 * 20, "weights");
    const std::vector<double> whole = model.gradient(small_texts(), weights);
    const int64_t n = model.params.layout().count();
    const Buffer grads(model.backend->memory(), static_cast<size_t>(n) * 4);
    for (size_t b = 0; b < 7; ++b)
      model.add_gradient(small_texts().part(b, b + 1), std::span(weights).subspan(b * 20, 20), grads.tensor(DType::f32, {n}));
    EXPECT_LT(relative_error(model.to_double(grads.tensor(DType::f32, {n})), whole), tolerance) << name_of(dtype);
  }
}

// Native bf16 products are primitives of oneDNN, whose executions allocate a table of their arguments (OneDnn.APrimitiveAllocates...): at
// most five arguments, their buckets, and one more node for a sum. No processor's library allocates anything else, nor do we.
TEST(EncoderFast, ForwardAndBackwardDoNotAllocateOnceTheirShapesWereSeen) {
  for (const DType dtype : {DType::f32, DType::bf16})
    for (const Checkpointing checkpointing : {Checkpointing::none, Checkpointing::per_block}) {
      Model model(small_embedder(), dtype, "cpu", checkpointing);
      const DeviceTexts tokens = model.on_device(small_texts());
      const int64_t n = model.params.layout().count();
      const Buffer grads(model.backend->memory(), static_cast<size_t>(n) * 4);
      const Tensor emb = model.arena.tensor(DType::f32, {7, 20}), flat = grads.tensor(DType::f32, {n});
      const std::function<void(Slice)> ready = [](Slice) {};
      const auto once = [&] {
        const auto scope = model.arena.scope();
        model.encoder.forward(model.ex, tokens, emb);
        EncoderSaved* saved = model.encoder.forward_saved(model.ex, tokens, emb);
        model.encoder.backward(model.ex, tokens, saved, emb, flat, ready);
      };
      once();
      const uint64_t before = own_allocations();
      const LibraryCalls library_before = library_calls();
      once();
      EXPECT_EQ(own_allocations(), before) << name_of(dtype);
      const LibraryCalls library = library_calls();
      EXPECT_LE(library.allocations - library_before.allocations, 7 * (library.primitives - library_before.primitives)) << name_of(dtype);
    }
}

TEST(EncoderFast, BytesSaidAreBytesTaken) {
  Model model(small_embedder(), DType::bf16, "cpu");
  const int64_t n = model.params.layout().count();
  size_t kept_bytes = 0;
  const auto train = [&](Exec ex) {
    const auto scope = ex.arena.scope();
    const Buffer grads(ex.backend.memory(), static_cast<size_t>(n) * 4);
    const DeviceTexts tokens = upload_texts(ex.backend, ex.arena, small_texts().tokens());
    const Tensor emb = ex.arena.tensor(DType::f32, {7, 20});
    const size_t before = ex.arena.used_bytes();
    EncoderSaved* saved = model.encoder.forward_saved(ex, tokens, emb);
    kept_bytes = ex.arena.used_bytes() - before;
    model.encoder.backward(ex, tokens, saved, emb, grads.tensor(DType::f32, {n}), {});
  };
  DryRun dry(*model.backend);
  const size_t said = peak_of(dry.exec(model.ex), train), taken = peak_of(model.ex, train);
  EXPECT_EQ(said, taken);
  const auto scope = model.arena.scope();
  EXPECT_GT(kept_bytes, 0u);
  EXPECT_EQ(ChunkMeter().saved_bytes(model.ex, model.encoder, model.on_device(small_texts())), kept_bytes);
}

}  // namespace
}  // namespace lodestone::test
