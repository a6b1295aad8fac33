// Plan: the global batches of one task, a pure function of (seed, draw number), identical on all ranks without communication.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace lodestone {

/// A global batch.
struct Part {
  int32_t source = 0;           // index into Plan::sources()
  std::vector<int64_t> rows;    // [N] positions k inside the source's rows, ordered by global index; no row twice
  int64_t epoch = 0;            // of the source
};

/// A source of the plan is one source of the corpus, or several small ones merged: its rows are its members' rows, one
/// member after the other.
struct PlanMember {
  int32_t source = 0;           // index into the sources the plan was made from
  int64_t first = 0;            // position of its first row in the merged source
};

struct PlanSource {
  std::string name;
  int64_t rows = 0;
  std::vector<PlanMember> members{};    // filled by resolve_sources()
};

/// What a global batch is made of.
enum class Batching : uint8_t {
  multinomial,   // one source each, drawn with p_i: homogeneous batches
  mixed,         // rows of all sources, in one shuffled order; alpha and small_sources mean nothing then
};

/// What happens to sources with fewer rows than a global batch.
enum class SmallSources : uint8_t {
  refuse,   // Error (usage) naming them
  merge,    // they become one source "other" (joined by a source of that name); refused if that is still too small
};

/// In which order the rows of a global batch stand, and so which rank holds which.
enum class RowOrder : uint8_t {
  shuffled,   // as the plan draws them
  balanced,   // so that contiguous shares hold nearly equal numbers of tokens (data/global_rows.h)
};

struct PlanConfig {
  int64_t global_batch = 128;
  int64_t batches = 0;          // how many the run draws
  uint64_t seed = 0;
  Batching batching = Batching::multinomial;
  double alpha = 1.0;           // p_i = n_i^alpha / sum_j n_j^alpha
  SmallSources small_sources = SmallSources::refuse;
  RowOrder order = RowOrder::shuffled;  // read by GlobalRows; the plan itself knows no lengths
  std::string task = "retrieval";
};

/// The sources a plan draws from: those given, with the small ones refused or merged; mixed: one, "all", that has them all
/// as members. Throws Error (usage).
std::vector<PlanSource> resolve_sources(const PlanConfig& config, const std::vector<PlanSource>& sources);

/// How many batches are `epochs` times those of all sources (a source's last, partial batch does not count), rounded up.
/// config.batches is not read. Throws Error (usage).
int64_t batches_for_epochs(const PlanConfig& config, const std::vector<PlanSource>& sources, double epochs);

/// A row by the names the corpus knows: Corpus::row_of(source, k) is its global id.
struct SourceRow {
  int32_t source = 0;
  int64_t k = 0;
};

/// Each batch's source is drawn with p_i, its rows follow a hash-keyed permutation of the source per epoch; an epoch's
/// remainder is dropped. Draws are keyed by (seed, "source", draw), permutations by (seed, "rows", source name, epoch).
/// The constructor draws all sources (8 bytes a batch); calls are then O(batch).
class Plan {
 public:
  /// Throws Error (usage): no sources, sources smaller than a batch, impossible values.
  Plan(PlanConfig config, const std::vector<PlanSource>& sources);

  /// draw in [0, config().batches). Reuses the memory of `out`.
  void batch(int64_t draw, Part& out) const;

  const PlanConfig& config() const { return config_; }
  const std::vector<PlanSource>& sources() const { return sources_; }
  double probability(int32_t source) const;
  /// The row at position k of a source of this plan. O(log members).
  SourceRow locate(int32_t source, int64_t k) const;

 private:
  PlanConfig config_;
  std::vector<PlanSource> sources_;
  std::vector<double> probability_, cumulative_;
  std::vector<int32_t> drawn_;          // [batches] source of each
  std::vector<int32_t> position_;       // [batches] earlier draws of the same source
};

/// Rows [begin, end) of a global batch of N that rank r of W holds: contiguous parts that differ by at most one row.
struct RankRows { int64_t begin = 0, end = 0; };
constexpr RankRows rank_rows(int64_t n, int rank, int world) {
  const int64_t base = n / world, extra = n % world;
  const int64_t begin = base * rank + (rank < extra ? rank : extra);
  return {begin, begin + base + (rank < extra ? 1 : 0)};
}

/// Throws Error (usage, F13) when there are more ranks than rows in a global batch.
void require_ranks_for_batch(int64_t global_batch, int world);

}  // namespace lodestone
