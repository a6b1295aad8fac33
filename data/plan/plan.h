// Plan: the global batches of one task, a pure function of (seed, draw number), identical on all ranks without communication.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/rng.h"
#include "data/plan/source_batches.h"
#include "data/plan/source_rules.h"

namespace lodestone {

/// A global batch.
struct Part {
  int32_t source = 0;         // index into Plan::sources()
  std::vector<int64_t> rows;  // [N] positions k inside the source's rows, ordered by global index; no row twice
  int64_t epoch = 0;          // of the source
};

/// What a global batch is made of. All but mixed are homogeneous: a batch is of one source, whose rows come once in an epoch of
/// the source, in an order drawn for that epoch; what fills no batch is left out. n_i, b_i: a source's rows and whole batches.
enum class Batching : uint8_t {
  multinomial,   // the source is drawn with p_i ~ repeat_i n_i^alpha
  random,        // the same with alpha = 1
  epoch,         // an epoch is all b_i batches of all sources, shuffled
  epoch_static,  // the same, but rows stay together: batches are made once, and only their order is drawn for each epoch
  epoch_random,  // the source is drawn with p_i ~ batches it has left; all start again when none has any
  mixed,         // rows of all sources, in one shuffled order; alpha and small_sources mean nothing then
};

/// As configurations name it.
constexpr std::string_view name_of(Batching value) {
  switch (value) {
    case Batching::multinomial:
      return "multinomial";
    case Batching::random:
      return "random";
    case Batching::epoch:
      return "epoch";
    case Batching::epoch_static:
      return "epoch_static";
    case Batching::epoch_random:
      return "epoch_random";
    case Batching::mixed:
      return "mixed";
  }
  return {};
}

/// What happens to sources with fewer rows than a global batch.
enum class SmallSources : uint8_t {
  refuse,  // Error (usage) naming them
  merge,   // they become one source "other" (joined by a source of that name); refused if that is still too small
};

/// As configurations name it.
constexpr std::string_view name_of(SmallSources value) {
  switch (value) {
    case SmallSources::refuse:
      return "refuse";
    case SmallSources::merge:
      return "merge";
  }
  return {};
}

/// In which order the rows of a global batch stand, and so which rank holds which.
enum class RowOrder : uint8_t {
  shuffled,  // as the plan draws them
  balanced,  // so that contiguous shares hold nearly equal numbers of tokens (data/batches/global_rows.h)
};

struct PlanConfig {
  int64_t global_batch = 128;
  int64_t batches = 0;  // how many the run draws
  uint64_t seed = 0;
  Batching batching = Batching::multinomial;
  double alpha = 1.0;  // of multinomial
  SmallSources small_sources = SmallSources::refuse;
  RowOrder order = RowOrder::shuffled;  // read by GlobalRows; the plan itself knows no lengths
  std::string task = "retrieval";
  std::vector<std::string> only{};  // the sources to draw from, as SourceRule::match names them; empty: all
  std::vector<SourceRule> rules{};  // repetition, shares of the batches, half batches, ...
};

/// The sources a plan draws from, with their traits: those given, the small ones refused or merged into "other"; mixed: one,
/// "all", that has them all as members. Sources of different shares, batch sizes or kinds of negatives are merged apart, the
/// name says which: "other, share of NAME, half batch, no_in_batch_neg". Throws Error (usage).
std::vector<PlanSource> resolve_sources(const PlanConfig& config, const std::vector<PlanSource>& sources);

/// How many batches are `epochs` times those of all sources, each `repeat` times (a source's last, partial batch does not count),
/// rounded up. Where shares are given, epochs are those of the sources without one, and theirs come on top.
/// config.batches is not read. Throws Error (usage).
int64_t batches_for_epochs(const PlanConfig& config, const std::vector<PlanSource>& sources, double epochs);

/// A row by the names the corpus knows: Corpus::row_of(source, k) is its global id.
struct SourceRow {
  int32_t source = 0;
  int64_t k = 0;
};

/// What is drawn is keyed by (seed, task, purpose, source name, epoch) and the batch's number, so tasks and sources have epochs
/// of their own. The constructor draws the source of every batch (8 bytes each); calls are then O(batch).
class Plan {
 public:
  /// Throws Error (usage): no sources, sources smaller than a batch, impossible values.
  Plan(PlanConfig config, const std::vector<PlanSource>& sources);

  /// draw in [0, config().batches). Reuses the memory of `out`.
  void batch(int64_t draw, Part& out) const;

  const PlanConfig& config() const { return config_; }
  const std::vector<PlanSource>& sources() const { return sources_; }
  /// The fraction of all batches that come from a source.
  double probability(int32_t source) const;
  /// Whether some row comes more than once in the batches of the run.
  bool repeats_rows() const;
  /// Rows of the smallest batch: as many ranks can share each.
  int64_t smallest_batch() const;
  size_t memory_bytes() const { return drawn_.size() * (sizeof drawn_[0] + sizeof position_[0]); }
  /// The row at position k of a source of this plan. O(log members).
  SourceRow locate(int32_t source, int64_t k) const;

 private:
  PlanConfig config_;
  Key key_;
  std::vector<PlanSource> sources_;
  std::vector<SourceBatches> batches_;  // of each source
  std::vector<double> probability_;
  std::vector<int32_t> drawn_;     // [batches] source of each
  std::vector<int32_t> position_;  // [batches] earlier draws of the same source
};

/// Rows [begin, end) of a global batch of N that rank r of W holds: contiguous parts that differ by at most one row.
struct RankRows {
  int64_t begin = 0, end = 0;
};
constexpr RankRows rank_rows(int64_t n, int rank, int world) {
  const int64_t base = n / world, extra = n % world;
  const int64_t begin = base * rank + (rank < extra ? rank : extra);
  return {begin, begin + base + (rank < extra ? 1 : 0)};
}

/// Throws Error (usage, F13) when there are more ranks than rows in a global batch.
void require_ranks_for_batch(int64_t global_batch, int world);

}  // namespace lodestone
