#include "losses/cosines.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"

namespace lodestone {

namespace {
constexpr double smallest_norm = 1e-12;  // as Backend::l2_normalize_forward
}

Cosines::Cosines(std::span<const double> queries, std::span<const double> passages, int64_t embedding, int64_t dimensions)
    : embedding_(static_cast<size_t>(embedding)), dimensions_(static_cast<size_t>(dimensions)), queries_(queries.size() / embedding_) {
  LODE_CHECK(0 < dimensions && dimensions <= embedding && queries.size() % embedding_ == 0 && passages.size() % embedding_ == 0,
             "cosines: ", queries.size(), " and ", passages.size(), " elements of vectors of ", embedding, ", the first ", dimensions,
             " used");
  for (const std::span<const double> texts : {queries, passages}) {
    for (size_t begin = 0; begin < texts.size(); begin += embedding_) {
      const auto prefix = texts.subspan(begin, dimensions_);
      double squares = 0;
      for (const double v : prefix) squares += v * v;
      norms_.push_back(std::max(std::sqrt(squares), smallest_norm));
      for (const double v : prefix) unit_.push_back(v / norms_.back());
    }
  }
  d_unit_.resize(unit_.size());
}

double Cosines::operator()(CosinePair pair) const {
  double sum = 0;
  for (size_t e = 0; e < dimensions_; ++e) sum += unit_[pair.a * dimensions_ + e] * unit_[pair.b * dimensions_ + e];
  return sum;
}

void Cosines::add_gradient(CosinePair pair, double d_cosine) {
  const size_t a = pair.a * dimensions_, b = pair.b * dimensions_;
  for (size_t e = 0; e < dimensions_; ++e) {
    d_unit_[a + e] += d_cosine * unit_[b + e];
    d_unit_[b + e] += d_cosine * unit_[a + e];
  }
}

double Cosines::cross_entropy(std::span<const CosinePair> pairs, double temperature, double weight) {
  std::vector<double> logits;
  for (const CosinePair pair : pairs) logits.push_back((*this)(pair) / temperature);
  const double largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const double logit : logits) sum += std::exp(logit - largest);
  const double lse = largest + std::log(sum);
  for (size_t k = 0; k < pairs.size(); ++k)
    add_gradient(pairs[k], weight / temperature * (std::exp(logits[k] - lse) - (k == 0 ? 1.0 : 0.0)));
  return lse - logits[0];
}

// For y = x / |x|:  dx = (dy - (dy . y) y) / |x|.
void Cosines::gradient(std::span<double> d_queries, std::span<double> d_passages) const {
  std::fill(d_queries.begin(), d_queries.end(), 0.0);
  std::fill(d_passages.begin(), d_passages.end(), 0.0);
  for (size_t text = 0; text < norms_.size(); ++text) {
    const std::span<const double> y = std::span(unit_).subspan(text * dimensions_, dimensions_);
    const std::span<const double> dy = std::span(d_unit_).subspan(text * dimensions_, dimensions_);
    const std::span<double> dx = text < queries_ ? d_queries.subspan(text * embedding_, dimensions_)
                                                 : d_passages.subspan((text - queries_) * embedding_, dimensions_);
    double along = 0;
    for (size_t e = 0; e < dimensions_; ++e) along += dy[e] * y[e];
    for (size_t e = 0; e < dimensions_; ++e) dx[e] = (dy[e] - along * y[e]) / norms_[text];
  }
}

}  // namespace lodestone
