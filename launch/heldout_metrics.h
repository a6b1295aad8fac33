// Held-out loss and retrieval quality during training.
#pragma once

#include "comm/communicator.h"
#include "core/exec.h"
#include "data/heldout.h"
#include "losses/embedding_objective.h"

namespace lodestone {

struct HeldoutResult {
  double loss = 0;          // mean over rows, each in its batch
  double mrr_at_10 = 0;     // of the query's own passage among the passages of all held-out rows
  double recall_at_1 = 0;
};

/// Every rank calls it with its share. No dropout, no gradients. Passages of equal text count as one.
HeldoutResult evaluate_heldout(Exec ex, const HeldOut& heldout, EmbeddingObjective& objective, Loss& loss, Communicator& comm);

}  // namespace lodestone
