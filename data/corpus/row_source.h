// Where collating reads rows from: the little of Corpus that it needs.
#pragma once

#include "data/corpus/corpus.h"
#include "data/plan/plan.h"

namespace lodestone {

/// Rows numbered 0 .. rows()-1. Not thread-safe: one thread makes all calls.
class RowSource {
 public:
  virtual ~RowSource() = default;
  virtual int64_t rows() const = 0;
  virtual const std::vector<CorpusSource>& sources() const = 0;
  virtual const std::vector<std::string>& prompts() const = 0;
  /// Global id of the k-th row of a source.
  virtual int64_t row_of(int32_t source, int64_t k) const = 0;
  /// `out`'s views are valid until the next call. Throws Error (data).
  virtual void read(int64_t row, PackedRow& out) const = 0;
  /// The same without what need not be read from disk: `out` has the row's texts with their hashes, its scores, source and so on, but no
  /// ids.
  virtual void read_without_ids(int64_t row, PackedRow& out) const { read(row, out); }
};

/// The sources of a corpus as a plan takes them.
inline std::vector<PlanSource> plan_sources(const std::vector<CorpusSource>& sources) {
  std::vector<PlanSource> result;
  result.reserve(sources.size());
  for (const CorpusSource& source : sources)
    result.push_back({.name = source.name, .rows = source.rows, .corpus_source = static_cast<int32_t>(result.size())});
  return result;
}

}  // namespace lodestone
