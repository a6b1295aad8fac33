// A tiny real embedder with its optimizer, and global batches of random texts: what the tests of objectives train.
#pragma once

#include <cmath>
#include <memory>
#include <random>
#include <vector>

#include "comm/communicator.h"
#include "core/nn/encoder.h"
#include "core/optim/adamw.h"
#include "data/plan.h"
#include "losses/embedding_objective.h"

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

/// For comparisons in f32. Some true gradients are zero (a key's bias moves all scores of a query alike, a constant added to all of
/// a group's scores changes no cross-entropy), and what is left of them is rounding, about 1e-8, which differs with the order of
/// sums. Adam divides it by its own size: such elements walk at the full learning rate in a direction that rounding chose, and
/// parameters of two runs lie up to 4e-5 apart. An epsilon far above that rounding and far below other gradients (here 0.015 to
/// 0.2 in the mean square) leaves them where they are; then 4e-8 are seen.
inline AdamWConfig adam_above_rounding() { return {.eps = 1e-4}; }

/// Everything one training run owns on one rank.
struct ToyRun {
  ToyRun(DType compute, Communicator& comm, std::unique_ptr<Loss> with_loss, const EmbeddingObjectiveOptions& options,
         Checkpointing checkpointing = Checkpointing::none, const char* backend_kind = "reference", const AdamWConfig& adam = {})
      : backend(make_backend({.kind = backend_kind})),
        params(embedder_layout(toy_config()), compute),
        encoder(toy_config(), params, checkpointing),
        loss(std::move(with_loss)),
        objective(encoder, *loss, comm, options),
        comm(comm),
        optimizer(adam, params.layout(), params.wide_dtype()),
        gradient_memory(static_cast<size_t>(params.layout().count()) * size_of(params.wide_dtype())),
        grads(gradient_memory.tensor(params.wide_dtype(), {params.layout().count()})),
        ex{*backend, arena, Key{}, compute} {
    initialize_parameters(toy_config(), params, 11);
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
  Encoder encoder;
  std::unique_ptr<Loss> loss;
  EmbeddingObjective objective;
  Communicator& comm;
  AdamW optimizer;
  Buffer gradient_memory;
  Tensor grads;
  Exec ex;
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
