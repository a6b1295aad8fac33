#include "launch/evaluation/v_measure.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "core/error.h"

namespace lodestone {

namespace {

template <class Name>
double entropy(const std::map<Name, double>& counts, double n) {
  if (counts.size() < 2) return 0;
  double sum = 0;
  for (const auto& [name, count] : counts) sum -= count / n * std::log(count / n);
  return sum;
}

}  // namespace

double v_measure(std::span<const int64_t> labels, std::span<const int64_t> clusters) {
  LODE_CHECK(labels.size() == clusters.size() && !labels.empty(), labels.size(), " labels and ", clusters.size(), " clusters");
  const auto n = static_cast<double>(labels.size());
  std::map<int64_t, double> of_label, of_cluster;
  std::map<std::pair<int64_t, int64_t>, double> of_both;
  for (size_t i = 0; i < labels.size(); ++i) {
    ++of_label[labels[i]];
    ++of_cluster[clusters[i]];
    ++of_both[{labels[i], clusters[i]}];
  }
  double information = 0;
  for (const auto& [pair, count] : of_both)
    information += count / n * std::log(count * n / (of_label[pair.first] * of_cluster[pair.second]));
  information = std::max(information, 0.0);
  const double label_entropy = entropy(of_label, n), cluster_entropy = entropy(of_cluster, n);
  const double homogeneity = label_entropy > 0 ? information / label_entropy : 1;
  const double completeness = cluster_entropy > 0 ? information / cluster_entropy : 1;
  return homogeneity + completeness > 0 ? 2 * homogeneity * completeness / (homogeneity + completeness) : 0;
}

}  // namespace lodestone
