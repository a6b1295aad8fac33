#include "launch/evaluation/kmeans.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "launch/evaluation/numpy_random.h"

namespace lodestone {

namespace {

constexpr int64_t steps_without_gain = 10;
constexpr double least_share = 0.01;  // of the largest centre's rows: a centre with fewer moves

/// Copies of the rows `chosen`, one below the other.
std::vector<double> take(const Rows& rows, std::span<const int64_t> chosen) {
  std::vector<double> taken;
  taken.reserve(chosen.size() * static_cast<size_t>(rows.width));
  for (const int64_t i : chosen) taken.insert(taken.end(), rows.row(i).begin(), rows.row(i).end());
  return taken;
}

/// k-means++ with 2 + ln k candidates for each further centre, of which the one counts that leaves the least sum of squares (Arthur and
/// Vassilvitskii's greedy form). Centres [clusters,width].
std::vector<double> choose_centres(const Rows& rows, int64_t clusters, NumpyRandom& random) {
  const int64_t n = rows.count(), trials = 2 + static_cast<int64_t>(std::log(static_cast<double>(clusters)));
  std::vector<int64_t> chosen = random.choose(n, 1);
  std::vector<double> nearest(static_cast<size_t>(n)), sums(nearest.size()), with(nearest.size()), best(nearest.size());
  for (int64_t i = 0; i < n; ++i) nearest[static_cast<size_t>(i)] = squared_distance(rows.row(i), rows.row(chosen[0]));
  double all = std::accumulate(nearest.begin(), nearest.end(), 0.0);
  while (std::ssize(chosen) < clusters) {
    std::vector<double> places;
    for (int64_t t = 0; t < trials; ++t) places.push_back(random.uniform() * all);
    std::partial_sum(nearest.begin(), nearest.end(), sums.begin());
    double least = std::numeric_limits<double>::infinity();
    int64_t winner = 0;
    for (const double place : places) {
      const int64_t candidate = std::min(std::lower_bound(sums.begin(), sums.end(), place) - sums.begin(), n - 1);
      double sum = 0;
      for (int64_t i = 0; i < n; ++i) {
        const auto at = static_cast<size_t>(i);
        with[at] = std::min(nearest[at], squared_distance(rows.row(i), rows.row(candidate)));
        sum += with[at];
      }
      if (sum < least) {
        least = sum;
        winner = candidate;
        best.swap(with);
      }
    }
    chosen.push_back(winner);
    nearest.swap(best);
    all = least;
  }
  return take(rows, chosen);
}

/// The nearest centre of each row, the first of equal ones; returns the sum of squared distances.
double assign(const Rows& rows, const Rows& centres, int threads, std::span<int64_t> out) {
  std::vector<double> distance(out.size());
  const auto n = std::ssize(out);
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t i = 0; i < n; ++i) {
    double least = std::numeric_limits<double>::infinity();
    int64_t nearest = 0;
    for (int64_t c = 0; c < centres.count(); ++c)
      if (const double d = squared_distance(rows.row(i), centres.row(c)); d < least) {
        least = d;
        nearest = c;
      }
    out[static_cast<size_t>(i)] = nearest;
    distance[static_cast<size_t>(i)] = least;
  }
  return std::accumulate(distance.begin(), distance.end(), 0.0);
}

/// Centres and how many rows each has been moved by.
struct Centres {
  std::vector<double> values;  // [clusters,width]
  std::vector<double> counts;  // [clusters]
  int64_t width;
  Rows rows() const { return {values, width}; }
};

/// Moves each centre to the mean of all rows that it was ever nearest to, these among them.
void move_centres(Centres& centres, const Rows& batch, std::span<const int64_t> nearest) {
  const auto width = static_cast<size_t>(centres.width);
  std::vector<double> sums(centres.values.size()), counts(centres.counts.size());
  for (size_t c = 0; c < counts.size(); ++c)
    for (size_t e = 0; e < width; ++e) sums[c * width + e] = centres.values[c * width + e] * centres.counts[c];
  for (size_t i = 0; i < nearest.size(); ++i) {
    const auto c = static_cast<size_t>(nearest[i]);
    ++counts[c];
    for (size_t e = 0; e < width; ++e) sums[c * width + e] += batch.values[i * width + e];
  }
  for (size_t c = 0; c < counts.size(); ++c) {
    if (counts[c] == 0) continue;
    centres.counts[c] += counts[c];
    for (size_t e = 0; e < width; ++e) centres.values[c * width + e] = sums[c * width + e] / centres.counts[c];
  }
}

/// Puts centres with few rows on random rows of the batch, at most half as many as it has.
void move_empty_centres(Centres& centres, const Rows& batch, NumpyRandom& random) {
  const double most = *std::max_element(centres.counts.begin(), centres.counts.end());
  std::vector<size_t> order(centres.counts.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return centres.counts[a] < centres.counts[b]; });
  const auto few = static_cast<size_t>(
      std::partition_point(order.begin(), order.end(), [&](size_t c) { return centres.counts[c] < least_share * most; }) - order.begin());
  const size_t moved = std::min(few, static_cast<size_t>(batch.count() / 2));
  if (moved == 0) return;
  const double least_kept = centres.counts[order[moved]];
  std::sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(moved));
  const std::vector<int64_t> chosen = random.choose_distinct(batch.count(), static_cast<int64_t>(moved));
  for (size_t m = 0; m < moved; ++m) {
    std::ranges::copy(batch.row(chosen[m]), centres.values.begin() + static_cast<std::ptrdiff_t>(order[m]) * centres.width);
    centres.counts[order[m]] = least_kept;
  }
}

/// Says when the inertia of the batches, smoothed, has stopped falling.
class Progressing {
 public:
  Progressing(int64_t batch, int64_t rows)
      : batch_(static_cast<double>(batch)), share_(std::min(1.0, 2 * batch_ / (static_cast<double>(rows) + 1))) {}
  bool ended(double inertia) {
    if (first_) {  // that of the start
      first_ = false;
      return false;
    }
    const double mean = inertia / batch_;
    smoothed_ = begun_ ? smoothed_ * (1 - share_) + mean * share_ : mean;
    begun_ = true;
    if (smoothed_ < least_) {
      least_ = smoothed_;
      waited_ = 0;
      return false;
    }
    return ++waited_ >= steps_without_gain;
  }

 private:
  double batch_, share_;
  bool first_ = true, begun_ = false;
  double smoothed_ = 0, least_ = std::numeric_limits<double>::infinity();
  int64_t waited_ = 0;
};

}  // namespace

std::vector<int64_t> mini_batch_kmeans(const Rows& rows, int64_t clusters, const KMeansSettings& settings) {
  const int64_t n = rows.count(), batch = std::min(settings.batch, n);
  LODE_CHECK(clusters >= 1 && clusters <= n, clusters, " clusters of ", n, " rows");
  int64_t start = 3 * batch;
  if (start < clusters) start = 3 * clusters;
  start = std::min(start, n);

  NumpyRandom random(settings.seed);
  random.integers(n, start);  // scikit-learn's rows to choose among several starts by
  Centres centres{{}, std::vector<double>(static_cast<size_t>(clusters)), rows.width};
  if (start < n) {
    const std::vector<double> first = take(rows, random.integers(n, start));
    centres.values = choose_centres({first, rows.width}, clusters, random);
  } else {
    centres.values = choose_centres(rows, clusters, random);
  }

  Progressing progress(batch, n);
  std::vector<int64_t> nearest(static_cast<size_t>(batch));
  int64_t since_moved = 0;
  for (int64_t step = 0; step < settings.most_epochs * n / batch; ++step) {
    const std::vector<double> values = take(rows, random.choose(n, batch));
    const Rows drawn{values, rows.width};
    since_moved += batch;
    const bool move =
        since_moved >= 10 * clusters || std::any_of(centres.counts.begin(), centres.counts.end(), [](double count) { return count == 0; });
    if (move) since_moved = 0;
    const double inertia = assign(drawn, centres.rows(), settings.threads, nearest);
    move_centres(centres, drawn, nearest);
    if (move) move_empty_centres(centres, drawn, random);
    if (progress.ended(inertia)) break;
  }
  std::vector<int64_t> out(static_cast<size_t>(n));
  assign(rows, centres.rows(), settings.threads, out);
  return out;
}

}  // namespace lodestone
