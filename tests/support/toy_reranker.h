// A tiny real reranker with its optimizer, and global batches of random pairs: what the tests of its objective train.
#pragma once

#include "comm/communicator.h"
#include "core/optim/adamw.h"
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
    return apart.tokens().ids.subspan(static_cast<size_t>(apart.offsets[static_cast<size_t>(b)]), static_cast<size_t>(apart.tokens().length(b)));
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

/// Everything one training run owns on one rank.
struct ToyReranker {
  ToyReranker(DType compute, Communicator& comm, const RerankerOptions& options, const char* backend_kind = "reference", const AdamWConfig& adam = {})
      : backend(make_backend({.kind = backend_kind})),
        params(reranker_layout(toy_reranker()), compute),
        reranker(toy_reranker(), params),
        objective(reranker, options),
        comm(comm),
        optimizer(adam, params.layout(), params.wide_dtype()),
        memory(static_cast<size_t>(params.layout().count()) * size_of(params.wide_dtype())),
        grads(memory.tensor(params.wide_dtype(), {params.layout().count()})),
        ex{*backend, arena, Key{}, compute} {
    initialize_parameters(toy_reranker().body(), params, 11);
    params.refresh(*backend);
  }

  /// Gradient of one step summed over ranks, in grads; returns the global loss.
  double gradient(int64_t step, const Batch& batch) {
    backend->fill_zero(grads);
    double value = objective.accumulate(ex.with(Key(5).with("dropout").with(static_cast<uint64_t>(step))), batch, 1, grads, {});
    comm.all_reduce(grads, grads, Reduce::sum).wait();
    all_reduce(comm, std::span(&value, 1), Reduce::sum);
    return value;
  }
  double train_step(int64_t step, const Batch& batch, double lr) {
    const double value = gradient(step, batch);
    optimizer.step(ex, lr, 1, grads, params);
    return value;
  }
  std::vector<double> as_doubles(ConstTensor x) {
    std::vector<double> out(static_cast<size_t>(x.count()));
    backend->cast(x, view(std::span(out)));
    return out;
  }

  std::unique_ptr<Backend> backend;
  Arena arena;
  ParamStore params;
  Reranker reranker;
  RerankerObjective objective;
  Communicator& comm;
  AdamW optimizer;
  Buffer memory;
  Tensor grads;
  Exec ex;
};

}  // namespace lodestone::test
