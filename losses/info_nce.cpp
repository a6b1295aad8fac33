#include "losses/info_nce.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "comm/rows.h"

namespace lodestone {

namespace {

constexpr double smallest_norm = 1e-12;  // as Backend::l2_normalize_forward
constexpr int64_t least_tile_rows = 64;

/// Unit vectors [n,d] of the first d components of x [n,E], and their norms [n].
struct UnitRows {
  std::vector<double> rows, norms;
  int64_t dimensions;

  UnitRows(std::span<const double> x, int64_t embedding, int64_t d) : dimensions(d) {
    for (size_t begin = 0; begin < x.size(); begin += static_cast<size_t>(embedding)) {
      const auto prefix = x.subspan(begin, static_cast<size_t>(d));
      double squares = 0;
      for (const double v : prefix) squares += v * v;
      norms.push_back(std::max(std::sqrt(squares), smallest_norm));
      for (const double v : prefix) rows.push_back(v / norms.back());
    }
  }
  std::span<const double> row(size_t i) const {
    const auto d = static_cast<size_t>(dimensions);
    return {rows.data() + i * d, d};
  }
  /// dx = (dy - (dy . y) y) / norm for row i; components beyond d are left alone.
  void backward(size_t i, std::span<const double> dy, std::span<double> dx) const {
    const auto y = row(i);
    double along = 0;
    for (size_t e = 0; e < y.size(); ++e) along += dy[e] * y[e];
    for (size_t e = 0; e < y.size(); ++e) dx[e] = (dy[e] - along * y[e]) / norms[i];
  }
};

double dot(std::span<const double> a, std::span<const double> b) {
  double sum = 0;
  for (size_t e = 0; e < a.size(); ++e) sum += a[e] * b[e];
  return sum;
}

/// loss += lse - scale x[positive] and x[positive] -= weight, for every row of a tile: what softmax alone leaves out.
template <class T>
double positive_logits(Tensor tile, ConstTensor lse, double scale, int64_t first_column, int64_t stride) {
  const auto x = tile.host<T>();
  const auto log_sums = lse.host<T>();
  double loss = 0;
  for (int64_t i = 0; i < tile.dim(0); ++i)
    loss += static_cast<double>(log_sums[static_cast<size_t>(i)]) -
            scale * static_cast<double>(x[static_cast<size_t>(i * tile.dim(1) + first_column + i * stride)]);
  return loss;
}

template <class T>
void subtract_at_positives(Tensor tile, double weight, int64_t first_column, int64_t stride) {
  const auto x = tile.host<T>();
  for (int64_t i = 0; i < tile.dim(0); ++i)
    x[static_cast<size_t>(i * tile.dim(1) + first_column + i * stride)] -= static_cast<T>(weight);
}

/// Turns a tile of cosines into d loss / d cosine and returns the sum of its rows' losses, unweighted.
///   tile [R,M]; the positive of row i is column first_column + i * stride; row_weight is the weight of one row's loss.
double cross_entropy_rows(Exec& ex, Tensor tile, double scale, int64_t first_column, int64_t stride, double row_weight) {
  const auto scope = ex.arena.scope();
  const Tensor lse = ex.arena.tensor(tile.dtype(), {tile.dim(0)});
  ex.backend.log_sum_exp_rows(tile, scale, lse);
  const bool doubles = tile.dtype() == DType::f64;
  const double loss = doubles ? positive_logits<double>(tile, lse, scale, first_column, stride)
                              : positive_logits<float>(tile, lse, scale, first_column, stride);
  ex.backend.softmax_rows(tile, scale, lse, row_weight * scale);
  if (doubles)
    subtract_at_positives<double>(tile, row_weight * scale, first_column, stride);
  else
    subtract_at_positives<float>(tile, row_weight * scale, first_column, stride);
  return loss;
}

}  // namespace

double info_nce(const InfoNceInput& in, std::span<double> d_queries, std::span<double> d_passages) {
  const auto embedding = static_cast<size_t>(in.embedding), d = static_cast<size_t>(in.dimensions);
  const auto group = static_cast<size_t>(in.group);
  const UnitRows q(in.queries, in.embedding, in.dimensions), p(in.passages, in.embedding, in.dimensions);
  const size_t n = q.norms.size(), m = p.norms.size();
  LODE_CHECK(m == n * group, "info_nce: ", m, " passages for ", n, " queries of group ", group);

  std::vector<double> dq(n * d), dp(m * d), logits(m);
  double loss = 0;
  for (size_t i = 0; i < n; ++i) {
    const bool own = in.candidates == Candidates::own_group;
    const size_t begin = own ? i * group : 0, end = own ? begin + group : m, positive = i * group;
    double largest = -HUGE_VAL, sum = 0;
    for (size_t j = begin; j < end; ++j) largest = std::max(largest, logits[j] = dot(q.row(i), p.row(j)) / in.temperature);
    for (size_t j = begin; j < end; ++j) sum += std::exp(logits[j] - largest);
    const double lse = largest + std::log(sum);
    loss += (lse - logits[positive]) / static_cast<double>(n);
    for (size_t j = begin; j < end; ++j) {
      const double ds = (std::exp(logits[j] - lse) - (j == positive ? 1.0 : 0.0)) / (in.temperature * static_cast<double>(n));
      for (size_t e = 0; e < d; ++e) {
        dq[i * d + e] += ds * p.row(j)[e];
        dp[j * d + e] += ds * q.row(i)[e];
      }
    }
  }
  std::fill(d_queries.begin(), d_queries.end(), 0.0);
  std::fill(d_passages.begin(), d_passages.end(), 0.0);
  for (size_t i = 0; i < n; ++i) q.backward(i, std::span(dq).subspan(i * d, d), d_queries.subspan(i * embedding, embedding));
  for (size_t j = 0; j < m; ++j) p.backward(j, std::span(dp).subspan(j * d, d), d_passages.subspan(j * embedding, embedding));
  return loss;
}

double InfoNce::evaluate(Exec& ex, Communicator& group, ConstTensor emb, const Pairs& pairs, double weight, Tensor d_emb) {
  const int64_t queries = pairs.queries, passages = queries * pairs.group, texts = queries + passages, width = emb.dim(1);
  LODE_CHECK(emb.dim(0) == texts && d_emb.shape() == emb.shape(), "info_nce: emb ", emb.shape(), ", d_emb ", d_emb.shape(),
             " for ", queries, " queries of group ", pairs.group);
  const auto scope = ex.arena.scope();
  const Tensor unit = ex.arena.tensor(emb.dtype(), emb.shape()), d_unit = ex.arena.tensor(emb.dtype(), emb.shape());
  const Tensor norms = ex.arena.tensor(emb.dtype(), {texts});
  ex.backend.l2_normalize_forward(emb, unit, norms);
  ex.backend.fill_zero(d_unit);
  const Tensor q = unit.rows(0, queries), p = unit.rows(queries, texts);
  const Tensor d_q = d_unit.rows(0, queries), d_p = d_unit.rows(queries, texts);
  const double row_weight = weight / static_cast<double>(pairs.global_queries);

  double loss = 0;
  if (options_.candidates == Candidates::own_group) {
    loss = own_group(ex, q, p, pairs.group, row_weight, d_q, d_p);
  } else if (options_.candidates == Candidates::this_rank) {
    loss = shared_candidates(ex, q, p, 0, pairs.group, row_weight, d_q, d_p);
  } else {
    const std::span<int64_t> rows = ex.arena.array<int64_t>(group.size());
    std::transform(pairs.rank_queries.begin(), pairs.rank_queries.end(), rows.begin(),
                   [&](int64_t n) { return n * pairs.group; });
    const Tensor all = gather_rows(ex, group, p, rows);
    const Tensor d_all = ex.arena.tensor(emb.dtype(), {all.dim(0), width});
    ex.backend.fill_zero(d_all);
    loss = shared_candidates(ex, q, all, pairs.first_query, pairs.group, row_weight, d_q, d_all);
    scatter_rows(ex, group, d_all, rows, d_p);
  }
  ex.backend.fill_zero(d_emb);
  ex.backend.l2_normalize_backward(d_unit, unit, norms, d_emb);
  return loss * row_weight;
}

double InfoNce::shared_candidates(Exec& ex, ConstTensor queries, ConstTensor candidates, int64_t first, int64_t group,
                                  double row_weight, Tensor d_queries, Tensor d_candidates) const {
  const int64_t rows = queries.dim(0), columns = candidates.dim(0);
  const int64_t tile_rows = std::min(rows, std::max(options_.tile_elements / std::max(columns, int64_t{1}), least_tile_rows));
  double loss = 0;
  for (int64_t begin = 0; begin < rows; begin += tile_rows) {
    const int64_t end = std::min(rows, begin + tile_rows);
    const auto scope = ex.arena.scope();
    const Tensor tile = ex.arena.tensor(queries.dtype(), {end - begin, columns});
    const ConstTensor q = queries.rows(begin, end);
    ex.backend.gemm(Op::none, q, Op::transpose, candidates, 1, 0, tile);
    loss += cross_entropy_rows(ex, tile, 1 / options_.temperature, (first + begin) * group, group, row_weight);
    ex.backend.gemm(Op::none, tile, Op::none, candidates, 1, 0, d_queries.rows(begin, end));
    ex.backend.gemm(Op::transpose, tile, Op::none, q, 1, 1, d_candidates);
  }
  return loss;
}

double InfoNce::own_group(Exec& ex, ConstTensor queries, ConstTensor passages, int64_t group, double row_weight, Tensor d_queries,
                          Tensor d_passages) const {
  const auto scope = ex.arena.scope();
  const int64_t rows = queries.dim(0);
  const Tensor logits = ex.arena.tensor(queries.dtype(), {rows, group});
  for (int64_t i = 0; i < rows; ++i)
    ex.backend.gemm(Op::none, queries.rows(i, i + 1), Op::transpose, passages.rows(i * group, (i + 1) * group), 1, 0,
                    logits.rows(i, i + 1));
  const double loss = cross_entropy_rows(ex, logits, 1 / options_.temperature, 0, 0, row_weight);
  for (int64_t i = 0; i < rows; ++i) {
    const ConstTensor d_logit = logits.rows(i, i + 1);
    ex.backend.gemm(Op::none, d_logit, Op::none, passages.rows(i * group, (i + 1) * group), 1, 0, d_queries.rows(i, i + 1));
    ex.backend.gemm(Op::transpose, d_logit, Op::none, queries.rows(i, i + 1), 1, 0, d_passages.rows(i * group, (i + 1) * group));
  }
  return loss;
}

}  // namespace lodestone
