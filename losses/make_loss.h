// make_loss: which losses there are, and how settings become one.
#pragma once

#include <memory>
#include <variant>
#include <vector>

#include "losses/cbb.h"
#include "losses/cosent.h"
#include "losses/distill.h"
#include "losses/gte.h"
#include "losses/info_nce.h"
#include "losses/stabilised_distill.h"

namespace lodestone {

/// The settings of one loss say which loss it is.
using LossOptions =
    std::variant<InfoNceOptions, GteOptions, CbbOptions, CosentOptions, GroupDistillationOptions, StabilisedOptions, MarginMseOptions>;

struct LossTerm {
  LossOptions options;
  double weight = 1;
};

struct LossConfig {
  std::vector<LossTerm> terms = {{InfoNceOptions{}}};  // added up
  std::vector<int64_t> matryoshka_dims = {};           // the mean over these prefixes; empty: the whole vector only
};

/// Throws Error (usage, "config") on impossible values; `embedding` is E.
std::unique_ptr<Loss> make_loss(const LossConfig& config, int64_t embedding);

/// "InfoNCE, temperature 0.05": one line for tables and model cards.
std::string describe(const LossConfig& config);

/// How many texts a text is told from, beside the one that belongs to it.
struct NegativeCounts {
  int64_t of_query = 0;     // passages; for GTE other queries too
  int64_t of_positive = 0;  // for symmetric InfoNCE other queries; for GTE these, and other queries' positives or all their passages
  friend bool operator==(const NegativeCounts&, const NegativeCounts&) = default;
};
/// In a batch of `global` queries of which `local` are on its rank, before any is masked; of a sum of losses the most.
NegativeCounts negatives_per_query(const LossConfig& config, int64_t global, int64_t local, int64_t group);

/// A term that tells a query from nothing in a batch of `queries` queries with groups of `group`, whatever ranks they lie on: its gradient
/// is zero. Null: there is none. (CoSENT compares pairs with each other.)
const LossTerm* idle_term(const LossConfig& config, int64_t queries, int64_t group);

/// Whether a loss reads the gold scores of scored pairs, or a teacher's scores.
bool needs_scores(const LossConfig& config);
bool needs_teacher(const LossConfig& config);

}  // namespace lodestone
