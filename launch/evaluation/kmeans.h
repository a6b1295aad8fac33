// Mini-batch k-means, drawn as scikit-learn's MiniBatchKMeans draws.
#pragma once

#include <cstdint>
#include <vector>

#include "launch/evaluation/rows.h"

namespace lodestone {

struct KMeansSettings {
  int64_t batch = 500;        // rows of a step; of fewer rows, all of them
  int64_t most_epochs = 100;  // steps end after so many times the rows
  uint32_t seed = 42;
  int threads = 1;
};

/// The cluster [n] of each row, 0 to clusters-1: Sculley's web-scale k-means with a greedy k-means++ start on 3 batches of rows. Steps end
/// when the smoothed inertia has not fallen for ten of them; a centre with under a hundredth of the largest one's rows moves to a random
/// row. All as scikit-learn 1.9's MiniBatchKMeans(clusters, batch_size=batch, n_init=1, random_state=seed) on f64, whose clusters these
/// are, but where candidates are equal within rounding, or more centres are to move than half a batch has rows: which of equally empty ones
/// move then depends on NumPy's sorting, here on their order. Does not depend on threads. Throws Error (internal) unless 1 <= clusters <=
/// rows.
std::vector<int64_t> mini_batch_kmeans(const Rows& rows, int64_t clusters, const KMeansSettings& settings);

}  // namespace lodestone
