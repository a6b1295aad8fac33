// Cosines: similarities of raw vectors in double and the gradient of any function of them. Specifications are written with it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace lodestone {

/// Numbers of two texts that are compared.
struct CosinePair {
  size_t a = 0, b = 0;
};

/// Texts are numbered: the N queries, then the M passages. Plain loops over one process's arrays: for tests and checks, training
/// goes through Backend.
class Cosines {
 public:
  /// queries [N,E] and passages [M,E], of which the first d components count.
  Cosines(std::span<const double> queries, std::span<const double> passages, int64_t embedding, int64_t dimensions);

  size_t queries() const { return queries_; }
  size_t passages() const { return norms_.size() - queries_; }
  size_t passage(size_t j) const { return queries_ + j; }  // number of passage j
  double operator()(CosinePair pair) const;
  /// The function's gradient += d_cosine * that of this pair's cosine.
  void add_gradient(CosinePair pair, double d_cosine);
  /// log sum_k exp(s_k / temperature) - s_0 / temperature over the given pairs; weight times its gradient is added.
  double cross_entropy(std::span<const CosinePair> pairs, double temperature, double weight);
  /// d_queries [N,E], d_passages [M,E] = the gradient with respect to the raw vectors; zero beyond the first d components.
  void gradient(std::span<double> d_queries, std::span<double> d_passages) const;

 private:
  size_t embedding_, dimensions_, queries_;
  std::vector<double> unit_, norms_, d_unit_;  // [N+M,d], [N+M], [N+M,d]
};

}  // namespace lodestone
