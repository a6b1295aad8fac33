#include "launch/inference/scan.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

namespace lodestone {

namespace {

constexpr size_t lanes = 8;
constexpr size_t looked_at_once = 32;
constexpr size_t few = 256, many = 16;  // kept: so many, or so many times the best, before all are judged
constexpr float none = -std::numeric_limits<float>::infinity();

}  // namespace

double score_error(DType scanned, int64_t embedding) {
  constexpr double u = 0x1p-24, v = 0x1p-8;
  const double terms = static_cast<double>(embedding) * u, sum = terms / (1 - terms);
  return (scanned == DType::bf16 ? 2 * v + v * v + sum * (1 + v) * (1 + v) : sum) + u;
}

double exact_dot(std::span<const float> x, std::span<const float> y) {
  std::array<double, lanes> sums{};
  size_t e = 0;
  for (; e + lanes <= x.size(); e += lanes)
    for (size_t i = 0; i < lanes; ++i) sums[i] += static_cast<double>(x[e + i]) * static_cast<double>(y[e + i]);
  for (size_t i = 0; e < x.size(); ++e, ++i) sums[i] += static_cast<double>(x[e]) * static_cast<double>(y[e]);
  double sum = 0;
  for (const double s : sums) sum += s;
  return sum;
}

double exact_norm(std::span<const float> x) { return std::sqrt(exact_dot(x, x)); }

Scan::Scan(int64_t best, std::span<const double> errors, Judge judge) : best_(static_cast<size_t>(best)), judge_(std::move(judge)) {
  for (const double error : errors) queries_.push_back({.error = error, .floor = none, .room = std::max(4 * best_, few)});
}

void Scan::offer(size_t q, std::span<const float> scores, int64_t first, int64_t left_out) {
  Query& query = queries_[q];
  const auto look_at = [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) {
      const int64_t document = first + static_cast<int64_t>(i);
      if (scores[i] < query.floor || document == left_out) continue;
      query.kept.push_back({scores[i], document});
      if (query.kept.size() >= query.room) raise_floor(q);
    }
  };
  // Of a block of a fixed size it is known at once that none is good enough, which is so of nearly all.
  size_t begin = 0;
  for (; begin + looked_at_once <= scores.size(); begin += looked_at_once) {
    const float* const block = scores.data() + begin;
    int good = 0;
    for (size_t i = 0; i < looked_at_once; ++i) good |= static_cast<int>(block[i] >= query.floor);
    if (good != 0) look_at(begin, begin + looked_at_once);
  }
  look_at(begin, scores.size());
}

void Scan::raise_floor(size_t q) {
  Query& query = queries_[q];
  if (query.kept.size() <= best_) return;
  const auto raise_to = [&](double floor) { query.floor = std::max(query.floor, std::nextafter(static_cast<float>(floor), none)); };
  const auto kth = query.kept.begin() + static_cast<std::ptrdiff_t>(best_) - 1;
  std::nth_element(query.kept.begin(), kth, query.kept.end(), [](const Candidate& a, const Candidate& b) { return a.score > b.score; });
  raise_to(static_cast<double>(kth->score) - 2 * query.error);
  std::erase_if(query.kept, [&](const Candidate& c) { return c.score < query.floor; });
  if (query.kept.size() > std::max(many * best_, few)) raise_to(judge_(q, query.kept) - query.error);
  query.room = std::max(query.room, 2 * query.kept.size());
}

std::span<const Scan::Candidate> Scan::candidates(size_t q) {
  raise_floor(q);
  return queries_[q].kept;
}

}  // namespace lodestone
