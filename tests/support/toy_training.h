// A tiny real embedder with its optimizer, and global batches of random texts: what the tests of objectives train.
#pragma once

#include <cmath>
#include <memory>
#include <random>
#include <vector>

#include "data/plan/plan.h"
#include "losses/embedding_objective.h"
#include "tests/support/toy_step.h"

namespace lodestone::test {

inline EmbedderConfig toy_config() {
  EmbedderConfig config;
  config.encoder = {.vocab = 50, .hidden = 16, .layers = 2, .heads = 2, .feed_forward = 24, .positions = 32, .types = 2};
  config.encoder.initializer_range = 0.3;  // large enough that texts differ
  config.head = HeadConfig{.out_features = 12};
  return config;
}

/// This rank's part of global batch `step`: N queries with G passages each, of 2 to `longest` tokens. Text contents depend on the
/// global row and step only; a positive is its query and one token more.
inline Batch toy_batch(int64_t step, int64_t n, int64_t group, int rank, int world, int64_t longest = 12) {
  Batch batch;
  batch.group = group;
  batch.global_queries = n;
  for (int r = 0; r < world; ++r) batch.rank_queries.push_back(rank_rows(n, r, world).end - rank_rows(n, r, world).begin);
  const RankRows mine = rank_rows(n, rank, world);
  batch.first_query = mine.begin;
  batch.queries = mine.end - mine.begin;
  const auto content = [&](int64_t row) {
    std::mt19937 random(static_cast<uint32_t>(1000 * step + row));
    std::vector<int32_t> ids(2 + random() % static_cast<size_t>(longest - 2));
    for (int32_t& id : ids) id = static_cast<int32_t>(5 + random() % 45);
    return ids;
  };
  const auto append = [&](const std::vector<int32_t>& ids, int64_t row, Role role, int64_t k) {
    batch.ids.insert(batch.ids.end(), ids.begin(), ids.end());
    batch.offsets.push_back(static_cast<int64_t>(batch.ids.size()));
    batch.keys.push_back(text_key(static_cast<uint64_t>(row), role, static_cast<uint64_t>(k), static_cast<uint64_t>(row)));
  };
  for (int64_t i = mine.begin; i < mine.end; ++i) append(content(i), i, Role::query, 0);
  for (int64_t i = mine.begin; i < mine.end; ++i) {
    std::vector<int32_t> positive = content(i);
    positive.push_back(3);
    append(positive, i, Role::positive, 0);
    for (int64_t k = 1; k < group; ++k) append(content(500 + i * group + k), i, Role::negative, k);
  }
  batch.query_hash.resize(static_cast<size_t>(batch.queries));
  batch.passage_hash.resize(static_cast<size_t>(batch.queries * group));
  batch.passage_document = batch.passage_hash;
  return batch;
}

struct ToyRun final : ToyStep {
  ToyRun(DType compute, Communicator& comm, std::unique_ptr<Loss> with_loss, const EmbeddingObjectiveOptions& options,
         Checkpointing checkpointing = Checkpointing::none, const char* backend_kind = "reference", const AdamWConfig& adam = {})
      : ToyStep(compute, comm, embedder_layout(toy_config()), toy_config(), backend_kind, adam),
        encoder(toy_config(), params, checkpointing),
        loss(std::move(with_loss)),
        objective(encoder, *loss, planes.group(), options) {}

  Encoder encoder;
  std::unique_ptr<Loss> loss;
  EmbeddingObjective objective;

 private:
  Objective& trained() override { return objective; }
};

/// Norm of a - b over that of b.
inline double relative_difference(const std::vector<double>& a, const std::vector<double>& b) {
  double difference = 0, size = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    difference += (a[i] - b[i]) * (a[i] - b[i]);
    size += b[i] * b[i];
  }
  return std::sqrt(difference / size);
}

}  // namespace lodestone::test
