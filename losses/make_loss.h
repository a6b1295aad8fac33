// make_loss: how settings become a loss, and what they say of it.
#pragma once

#include <memory>
#include <vector>

#include "losses/loss_table.h"

namespace lodestone {

struct LossTerm {
  LossOptions options;
  double weight = 1;
};

struct LossConfig {
  std::vector<LossTerm> terms = {{InfoNceOptions{}}};  // added up
  std::vector<int64_t> matryoshka_dims = {};           // the mean over these prefixes; empty: the whole vector only
};

/// What cannot be, of whatever model: settings of the terms, their weights, prefixes that do not ascend or that a loss cannot have.
std::optional<Refusal> refused(const LossConfig& config);
/// A prefix that is longer than a model's vectors; `embedding` is E.
std::optional<Refusal> refused_dims(const LossConfig& config, int64_t embedding);

/// To be evaluated on `device`, which settles how many scores its tiles hold (score_tile_elements()), whatever the terms' options say.
/// Throws Error (usage, "config") where either is refused.
std::unique_ptr<Loss> make_loss(const LossConfig& config, int64_t embedding, Device device);

/// "InfoNCE, temperature 0.05": one line for tables and model cards.
std::string describe(const LossConfig& config);

/// In a batch of `global` queries of which `local` are on its rank, before any is masked; of a sum of losses the most.
NegativeCounts negatives_per_query(const LossConfig& config, int64_t global, int64_t local, int64_t group);

/// A term that tells a query from nothing in a batch of `queries` queries with groups of `group`, whatever ranks they lie on: its gradient
/// is zero. Null: there is none. (CoSENT compares pairs with each other.)
const LossTerm* idle_term(const LossConfig& config, int64_t queries, int64_t group);

/// Whether a term rounds what scores are made of.
bool rounds_scores(const LossConfig& config);

/// Whether a loss reads the gold scores of scored pairs, or a teacher's scores.
bool needs_scores(const LossConfig& config);
bool needs_teacher(const LossConfig& config);

}  // namespace lodestone
