// A tiny real reranker with its optimizer, and global batches of random pairs: what the tests of its objective train.
#pragma once

#include "losses/reranker_objective.h"
#include "tests/support/toy_training.h"

namespace lodestone::test {

inline RerankerConfig toy_reranker() { return {.encoder = toy_config().encoder, .classifier_dropout = 0.1}; }

/// This rank's part of global batch `step`: N queries with G pairs each. Contents depend on the global row and step only; a positive
/// pair says the query twice. Ranks beyond the number of queries have none.
inline Batch toy_pairs(int64_t step, int64_t n, int64_t group, int rank, int world) {
  const Batch apart = toy_batch(step, n, group, rank, world, 8);
  Batch batch = apart;
  batch.ids.clear();
  batch.offsets.assign(1, 0);
  batch.keys.assign(apart.keys.begin() + apart.queries, apart.keys.end());
  const auto text = [&](int64_t b) {
    return apart.tokens().ids.subspan(static_cast<size_t>(apart.offsets[static_cast<size_t>(b)]),
                                      static_cast<size_t>(apart.tokens().length(b)));
  };
  for (int64_t i = 0; i < apart.queries; ++i)
    for (int64_t g = 0; g < group; ++g) {
      for (const auto part : {text(i), text(apart.queries + i * group + g)}) batch.ids.insert(batch.ids.end(), part.begin(), part.end());
      batch.second.push_back(apart.tokens().length(i));
      batch.offsets.push_back(static_cast<int64_t>(batch.ids.size()));
      batch.teacher_scores.push_back(Key(3).with("teacher").uniform(static_cast<uint64_t>((batch.first_query + i) * group + g)));
    }
  return batch;
}

struct ToyReranker final : ToyStep {
  ToyReranker(DType compute, Communicator& comm, const RerankerOptions& options, const char* backend_kind = "reference",
              const AdamWConfig& adam = {})
      : ToyStep(compute, comm, reranker_layout(toy_reranker()), toy_reranker().body(), backend_kind, adam),
        reranker(toy_reranker(), params),
        objective(reranker, options) {}

  Reranker reranker;
  RerankerObjective objective;

 private:
  Objective& trained() override { return objective; }
};

}  // namespace lodestone::test
