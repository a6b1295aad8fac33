// gather_values: every rank's values in the order of ranks, bit for bit.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "comm/gather_values.h"
#include "tests/support/mpi_world.h"

namespace lodestone {
namespace {

using test::world_comm;

struct Record {
  int64_t rank, place;
  friend bool operator==(const Record&, const Record&) = default;
};

TEST(GatherValues, RanksMayHaveDifferentNumbersOfThemOrNone) {
  Communicator& comm = world_comm();
  std::vector<Record> own, expected;
  std::vector<uint8_t> bytes, all_bytes;
  for (int64_t rank = 0; rank < comm.size(); ++rank)
    for (int64_t k = 0; k < (rank + 2) % 3; ++k) {  // 2, 0, 1, 2
      expected.push_back({rank, k});
      all_bytes.push_back(static_cast<uint8_t>(250 + rank));
    }
  for (const Record& r : expected)
    if (r.rank == comm.rank()) {
      own.push_back(r);
      bytes.push_back(static_cast<uint8_t>(250 + r.rank));
    }
  EXPECT_EQ(gather_values(comm, std::span<const Record>(own)), expected);
  EXPECT_EQ(gather_values(comm, std::span<const uint8_t>(bytes)), all_bytes);
  EXPECT_EQ(gather_values(comm, std::span<const int64_t>()), std::vector<int64_t>());
}

TEST(GatherValues, ValuesTravelAsTheyAre) {
  Communicator& comm = world_comm();
  const double own = comm.rank() == 0 ? -0.0 : std::numeric_limits<double>::denorm_min() * comm.rank();
  const std::vector<double> all = gather_value(comm, own);
  ASSERT_EQ(std::ssize(all), comm.size());
  EXPECT_TRUE(std::signbit(all[0]));
  for (int rank = 1; rank < comm.size(); ++rank)
    EXPECT_EQ(all[static_cast<size_t>(rank)], std::numeric_limits<double>::denorm_min() * rank);
}

}  // namespace
}  // namespace lodestone
