#include "launch/inference/similarity.h"

#include <cmath>

namespace lodestone {

namespace {

double dot(std::span<const float> a, std::span<const float> b) {
  double sum = 0;
  for (size_t e = 0; e < a.size(); ++e) sum += double{a[e]} * b[e];
  return sum;
}

}  // namespace

double similarity(const ModelFolder& folder, std::span<const float> a, std::span<const float> b) {
  return folder.similarity == Similarity::dot ? dot(a, b) : dot(a, b) / std::sqrt(dot(a, a) * dot(b, b));
}

void prepare_for_dot(const ModelFolder& folder, std::span<float> vectors, int64_t width) {
  if (folder.similarity == Similarity::dot || folder.config.normalize) return;
  for (size_t at = 0; at < vectors.size(); at += static_cast<size_t>(width)) {
    const std::span<float> row = vectors.subspan(at, static_cast<size_t>(width));
    const double length = std::sqrt(dot(row, row));
    if (length > 0)
      for (float& value : row) value = static_cast<float>(value / length);
  }
}

}  // namespace lodestone
