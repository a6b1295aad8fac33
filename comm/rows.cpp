#include "comm/rows.h"

namespace lodestone {

namespace {

/// Elements of every rank, in the arena.
std::span<const int64_t> element_counts(Exec& ex, std::span<const int64_t> rows, int64_t width) {
  const std::span<int64_t> counts = ex.arena.array<int64_t>(static_cast<int64_t>(rows.size()));
  for (size_t r = 0; r < rows.size(); ++r) counts[r] = rows[r] * width;
  return counts;
}

int64_t sum(std::span<const int64_t> rows) {
  int64_t total = 0;
  for (const int64_t n : rows) total += n;
  return total;
}

}  // namespace

Tensor gather_rows(Exec& ex, Communicator& comm, ConstTensor local, std::span<const int64_t> rows) {
  LODE_CHECK(
      local.shape().rank() == 2 && static_cast<int>(rows.size()) == comm.size() && rows[static_cast<size_t>(comm.rank())] == local.dim(0),
      "gather_rows: local rows ", local.shape(), " do not match the row counts of ", rows.size(), " ranks");
  const Tensor all = ex.arena.tensor(local.dtype(), {sum(rows), local.dim(1)});
  const auto scope = ex.arena.scope();
  comm.all_gather(local, all, element_counts(ex, rows, local.dim(1))).wait();
  return all;
}

void scatter_rows(Exec& ex, Communicator& comm, ConstTensor d_all, std::span<const int64_t> rows, Tensor work, Tensor d_local) {
  LODE_CHECK(d_all.shape().rank() == 2 && d_local.shape().rank() == 2 && d_all.dim(1) == d_local.dim(1) && d_all.dim(0) == sum(rows) &&
                 static_cast<int>(rows.size()) == comm.size() && rows[static_cast<size_t>(comm.rank())] == d_local.dim(0),
             "scatter_rows: all rows ", d_all.shape(), " and local rows ", d_local.shape(), " do not match the row counts of ", rows.size(),
             " ranks");
  LODE_CHECK(work.shape() == d_local.shape() && work.dtype() == d_local.dtype(), "scatter_rows: work ", work.shape(), " for ",
             d_local.shape());
  const auto scope = ex.arena.scope();
  comm.reduce_scatter(d_all, work, element_counts(ex, rows, d_all.dim(1))).wait();
  ex.backend.axpy(1.0, work, d_local);
}

}  // namespace lodestone
