// Held-out loss, and retrieval quality or correlation, of sentence vectors during training.
#pragma once

#include <string>
#include <vector>

#include "comm/group.h"
#include "core/exec.h"
#include "core/similarity.h"
#include "data/batches/heldout.h"
#include "losses/embedding_objective.h"

namespace lodestone {

/// A number that held-out rows gave, e.g. {"mrr_at_10", 0.86}.
struct Figure {
  std::string name;
  double value = 0;
};

/// Every rank calls it with its share. No dropout, no gradients; near is what `similarity` of the objective's vectors says. loss, where the
/// loss means something on some rows (HeldOut::judged_by_loss): the mean over these, each in its batch. mrr_at_10 and recall_at_1, where
/// some rows have no gold score: of each such query's positive among the positives of all such rows, where passages of equal text count as
/// one. spearman, where some rows have one: of similarity and gold score over all of these.
std::vector<Figure> evaluate_heldout(Exec ex, const HeldOut& heldout, EmbeddingObjective& objective, Loss& loss, Similarity similarity,
                                     const Group& ranks);

}  // namespace lodestone
