// How good a model's vectors are for what labels say: pair classification, classification and clustering as MTEB has them, over ranks.
#pragma once

#include <string>

#include "comm/communicator.h"
#include "data/records/labelled.h"
#include "launch/inference/evaluate.h"

namespace lodestone {

// Every rank calls these, with the same data (else Error (usage, F12) on all), and every rank has the result. Texts are embedded in blocks
// that are the same for any number of ranks, so that no bit depends on it. All throw Error (numerical, F44) with the row of an embedding
// that is not finite.

/// Of cosine, dot product, Manhattan and Euclidean distance, and the folder's similarity: best accuracy and F1, precision and recall
/// there, average precision (binary_scores.h), and the largest of each; thresholds too. Main score: max_ap. Throws Error (numerical, F44)
/// when all pairs have one cosine.
TaskResult evaluate_pair_classification(Communicator& comm, LoadedModel& model, const LabelledPairs& pairs, const std::string& prompt);

struct ClassificationOptions {
  int64_t samples_per_label = 8;
  int64_t experiments = 10;
  uint32_t seed = 42;
};
/// Logistic regression on few rows of each label, as often as there are experiments (few_shot_samples, fit_logistic); means over those of
/// what it predicts of the test rows. Main score: accuracy.
TaskResult evaluate_classification(Communicator& comm, LoadedModel& model, const ClassificationSet& set,
                                   const ClassificationOptions& options, const std::string& prompt);

struct ClusteringOptions {
  int64_t batch = 500;  // of mini-batch k-means
  uint32_t seed = 42;
};
/// Mini-batch k-means with as many clusters as each set has labels; mean and deviation of the sets' V-measures. A set of one label has 1,
/// as MTEB says. Main score: v_measure.
TaskResult evaluate_clustering(Communicator& comm, LoadedModel& model, const ClusteringSets& sets, const ClusteringOptions& options,
                               const std::string& prompt);

}  // namespace lodestone
