// gather_rows and scatter_rows are transposes of each other: <gather(x), y> = <x, scatter(y)> summed over ranks.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "comm/rows.h"
#include "tests/support/mpi_world.h"

namespace lodestone {
namespace {

using test::world_comm;

/// The only operation of a backend that scatter_rows needs is axpy, which the plain-loop backend has.
struct Fixture {
  std::unique_ptr<Backend> backend = make_backend({.kind = BackendKind::reference});
  Arena arena{backend->memory(), size_t{64} << 20};
  Exec ex{.backend = *backend, .arena = arena, .compute = DType::f64};
};

std::vector<std::vector<int64_t>> row_layouts(int ranks) {
  std::vector<std::vector<int64_t>> layouts;
  std::vector<int64_t> even, uneven, with_none, one;
  for (int r = 0; r < ranks; ++r) {
    even.push_back(4);
    uneven.push_back(5 - (r > 0));
    with_none.push_back(r % 2 == 0 ? 3 : 0);
    one.push_back(r == ranks - 1 ? 1 : 0);
  }
  return {even, uneven, with_none, one};
}

double value(int64_t i, int rank, int64_t salt) { return std::sin(static_cast<double>(i * 13 + int64_t{rank} * 101 + salt)); }

TEST(Rows, GatherAndScatterAreTransposes) {
  Communicator& comm = world_comm();
  Fixture f;
  for (const std::vector<int64_t>& rows : row_layouts(comm.size()))
    for (const int64_t width : {1, 3, 384}) {
      const auto scope = f.arena.scope();
      const int64_t mine = rows[static_cast<size_t>(comm.rank())];
      int64_t total = 0;
      for (const int64_t n : rows) total += n;
      const Tensor x = f.arena.tensor(DType::f64, {mine, width}), y = f.arena.tensor(DType::f64, {total, width});
      const Tensor d = f.arena.tensor(DType::f64, {mine, width}), work = f.arena.tensor(DType::f64, {mine, width});
      for (int64_t i = 0; i < x.count(); ++i) x.host<double>()[static_cast<size_t>(i)] = value(i, comm.rank(), 1);
      for (int64_t i = 0; i < y.count(); ++i) y.host<double>()[static_cast<size_t>(i)] = value(i, comm.rank(), 2);
      for (double& v : d.host<double>()) v = 0.25;  // scatter adds

      const Tensor all = gather_rows(f.ex, comm, x, rows);
      scatter_rows(f.ex, comm, y, rows, work, d);

      std::vector<double> products{0, 0};
      for (int64_t i = 0; i < all.count(); ++i)
        products[0] += all.host<double>()[static_cast<size_t>(i)] * y.host<double>()[static_cast<size_t>(i)];
      for (int64_t i = 0; i < x.count(); ++i)
        products[1] += x.host<double>()[static_cast<size_t>(i)] * (d.host<double>()[static_cast<size_t>(i)] - 0.25);
      all_reduce(comm, std::span(products), Reduce::sum);
      EXPECT_NEAR(products[0], products[1], 1e-12 * std::max(1.0, static_cast<double>(total * width)));
    }
}

TEST(Rows, GatheredRowsAreOrderedByRankAndLiveInTheCallersScope) {
  Communicator& comm = world_comm();
  Fixture f;
  for (const std::vector<int64_t>& rows : row_layouts(comm.size())) {
    const auto scope = f.arena.scope();
    const Tensor local = f.arena.tensor(DType::f32, {rows[static_cast<size_t>(comm.rank())], 2});
    for (float& v : local.host<float>()) v = static_cast<float>(comm.rank());
    const Tensor all = gather_rows(f.ex, comm, local, rows);
    const Tensor later = f.arena.tensor(DType::f32, {1000});  // must not overwrite `all`
    for (float& v : later.host<float>()) v = -1;
    size_t at = 0;
    for (int r = 0; r < comm.size(); ++r)
      for (int64_t i = 0; i < rows[static_cast<size_t>(r)] * 2; ++i) ASSERT_EQ(all.host<float>()[at++], static_cast<float>(r));
  }
}

TEST(Rows, SmallValuesOfEveryRankComeIntoTheHostPartOfTheArena) {
  Communicator& comm = world_comm();
  Fixture f;
  const auto scope = f.arena.scope();
  for (const std::vector<int64_t>& rows : row_layouts(comm.size())) {
    std::vector<uint64_t> own, expected;
    for (int r = 0; r < comm.size(); ++r)
      for (int64_t i = 0; i < rows[static_cast<size_t>(r)]; ++i) {
        expected.push_back((uint64_t{1} << 63) + static_cast<uint64_t>(100 * r + i));
        if (r == comm.rank()) own.push_back(expected.back());
      }
    const size_t before = f.arena.used_bytes();
    const auto all = gather_in_arena(f.arena, comm, std::span<const uint64_t>(own), std::span<const int64_t>(rows));
    EXPECT_EQ(std::vector<uint64_t>(all.begin(), all.end()), expected);
    EXPECT_EQ(f.arena.used_bytes() - before, Arena::taken_bytes<uint64_t>(std::ssize(expected)));
  }
}

TEST(Rows, CountsThatDoNotMatchAreRefused) {
  Communicator& comm = world_comm();
  Fixture f;
  const Tensor local = f.arena.tensor(DType::f64, {3, 2});
  EXPECT_THROW(gather_rows(f.ex, comm, local, std::vector<int64_t>(static_cast<size_t>(comm.size()), 2)), Error);
  EXPECT_THROW(gather_rows(f.ex, comm, local, std::vector<int64_t>(static_cast<size_t>(comm.size()) + 1, 3)), Error);
}

}  // namespace
}  // namespace lodestone
