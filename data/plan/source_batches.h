// SourceBatches: which rows are the b-th batch of an epoch of one source.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/rng.h"

namespace lodestone {

/// A source of a plan is one source of the corpus, or several merged: its rows are its members' rows, one member after the other.
struct PlanMember {
  int32_t source = 0;    // index into the sources the plan was made from
  int64_t first = 0;     // position of its first row in the merged source
  int64_t rows = 0;      // rows that are used
  int64_t all_rows = 0;  // rows that the corpus has; more: those used are drawn once
  int64_t repeat = 1;    // how often each row comes in an epoch of the merged source
};

struct PlanSource {
  std::string name;
  int64_t rows = 0;
  int32_t corpus_source = -1;         // which of the corpus' sources it is; -1: that of its place in the list
  std::vector<PlanMember> members{};  // this and what follows is filled by resolve_sources()
  int64_t batch = 0;                  // rows of a global batch
  int64_t repeat = 1;                 // counts as so many data sets
  int32_t share = -1;                 // the rule that gives its share of the batches; -1: none
  int64_t group = 0;                  // passages of a query, where the task has more; 0: as many as the task has
  bool in_batch_negatives = true;
};

/// An epoch is a keyed permutation of the source's rows, cut into batches; the remainder is dropped. Where members of a merged
/// source have repeats r_i, an epoch has R = max r_i rounds: of member i's rows, put in one order drawn for the epoch and read
/// around r_i times, round s has those from place s r_i n_i / R on to place (s+1) r_i n_i / R. Each round is permuted and cut
/// for itself, so no batch has a row twice. Everything is O(batch log members).
class SourceBatches {
 public:
  SourceBatches(Key key, const PlanSource& source);

  int64_t per_epoch() const { return batches_before_.back(); }
  /// Rows that come in an epoch, repeats and remainder included.
  int64_t rows_per_epoch() const;
  /// Fills `out` with the rows of batch b of the epoch whose order has the number `order`.
  void rows(uint64_t order, int64_t b, std::vector<int64_t>& out) const;

 private:
  struct Window {       // of a member's rows in a round
    int64_t first = 0;  // place in the round
    int64_t begin = 0;  // place in the member's order, before going around
  };
  struct Round {
    int64_t rows = 0;
    std::vector<Window> windows;  // of each member
  };

  Key key_;
  int64_t rows_, batch_;
  std::vector<PlanMember> members_;
  std::vector<Round> rounds_;            // empty: no member comes more than once
  std::vector<int64_t> batches_before_;  // [rounds + 1], before each round and in all
};

}  // namespace lodestone
