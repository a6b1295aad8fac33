// A tiny RetroMAE with masked texts: what the tests of its objective train.
#pragma once

#include <vector>

#include "core/nn/layout.h"
#include "data/batches/text_collate.h"
#include "losses/retromae_objective.h"
#include "tests/data/batches/fake_rows.h"
#include "tests/support/toy_step.h"

namespace lodestone::test {

inline EmbedderConfig toy_retromae_config() {
  EmbedderConfig config;
  config.encoder = {.vocab = 50, .hidden = 16, .layers = 2, .heads = 2, .feed_forward = 24, .positions = 32, .types = 2};
  config.encoder.initializer_range = 0.3;  // large enough that texts differ
  config.pooling = Pooling::cls;
  return config;
}

/// Texts of 1 to 20 tokens, of which every third id continues a word.
inline FakeRows toy_texts(int rows) {
  std::vector<FakeRow> made;
  const Key key = Key(21).with("texts");
  for (int r = 0; r < rows; ++r) {
    FakeRow row;
    const uint64_t length = 1 + key.bits(made.size()) % 20;
    for (uint64_t t = 0; t < length; ++t) row.query.push_back(static_cast<int32_t>(5 + key.with(made.size()).bits(t) % 45));
    made.push_back(row);
  }
  return FakeRows(made);
}

/// This rank's part of global batch `step`: `n` of 40 texts.
inline Batch toy_masked_batch(int64_t step, int64_t n, int rank, int world, const RetroMaeOptions& options = {},
                              Purpose purpose = Purpose::training) {
  static const FakeRows rows = toy_texts(40);
  std::vector<uint8_t> continues(50);
  for (size_t id = 5; id < 50; ++id) continues[id] = id % 3 == 2;
  const std::vector<int32_t> special = {0, 2, 3, 4};
  RetroMaeCollator collator({.max_len = 16, .options = options, .seed = 4, .purpose = purpose}, WordTable(continues, special, 2, 3, 4));
  std::vector<int64_t> ids;
  for (int64_t i = 0; i < n; ++i) ids.push_back((step * 11 + i * 3) % 40);
  Batch batch;
  collator.collate(rows, {.step = step, .rows = ids, .rank = rank, .world = world}, batch);
  return batch;
}

struct ToyRetroMae final : ToyStep {
  ToyRetroMae(DType compute, Communicator& comm, const RetroMaeOptions& options, int64_t chunk_tokens, const char* kind = "reference",
              MlmTile tile = {.rows = 16, .elements = 128})
      : ToyStep(compute, comm, retromae_layout(toy_retromae_config()), toy_retromae_config(), kind),
        encoder(toy_retromae_config(), params),
        objective(encoder, params, planes.group(), options, chunk_tokens, tile) {}

  Encoder encoder;
  RetroMaeObjective objective;

 private:
  Objective& trained() override { return objective; }
};

}  // namespace lodestone::test
