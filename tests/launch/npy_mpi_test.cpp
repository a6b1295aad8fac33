// NpyFile: every rank writes its rows, the file is what NumPy expects, and nothing half-written stays.
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <iterator>

#include "data/plan.h"
#include "launch/npy.h"
#include "tests/support/mpi_world.h"
#include "tests/support/temp_dir.h"

namespace lodestone::test {
namespace {

/// One folder, known to all ranks.
std::string shared_folder(const TempDir& mine) {
  std::string path = mine.path().string();
  broadcast(world_comm(), path, 0);
  return path;
}

TEST(NpyFile, HeaderIsPaddedToAMultipleOf64AndNamesTheShape) {
  const std::string header = npy_header(12345, 384);
  EXPECT_EQ(header.size() % 64, 0u);
  EXPECT_EQ(header.substr(0, 8), std::string("\x93NUMPY\x01\x00", 8));
  EXPECT_EQ(static_cast<size_t>(static_cast<uint8_t>(header[8])) + 256u * static_cast<uint8_t>(header[9]) + 10, header.size());
  EXPECT_NE(header.find("{'descr': '<f4', 'fortran_order': False, 'shape': (12345, 384), }"), std::string::npos);
  EXPECT_EQ(header.back(), '\n');
}

TEST(NpyFile, RowsOfAllRanksStandInTheirPlaces) {
  const TempDir mine;
  const std::filesystem::path folder = shared_folder(mine), path = folder / "out.npy";
  Communicator& comm = world_comm();
  const int64_t rows = 7, columns = 3;
  {
    NpyFile file(path, rows, columns, comm);
    const RankRows part = rank_rows(rows, comm.rank(), comm.size());
    for (int64_t r = part.begin; r < part.end; ++r) {
      const std::vector<float> values{static_cast<float>(r), static_cast<float>(r) + 0.25f, -1.0f};
      file.write(r, values);
    }
    EXPECT_FALSE(std::filesystem::exists(path));
    file.publish();
  }
  std::ifstream in(path, std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  const std::string header = npy_header(rows, columns);
  ASSERT_EQ(bytes.size(), header.size() + static_cast<size_t>(rows * columns) * sizeof(float));
  EXPECT_EQ(bytes.substr(0, header.size()), header);
  std::vector<float> values(static_cast<size_t>(rows * columns));
  std::memcpy(values.data(), bytes.data() + header.size(), values.size() * sizeof(float));
  for (size_t r = 0; r < 7; ++r) EXPECT_EQ(values[3 * r + 1], static_cast<float>(r) + 0.25f);
  EXPECT_FALSE(std::filesystem::exists(path.string() + ".tmp"));
  comm.barrier();
}

TEST(NpyFile, NothingStaysWithoutPublishing) {
  const TempDir mine;
  const std::filesystem::path folder = shared_folder(mine), path = folder / "out.npy";
  { NpyFile file(path, 7, 3, world_comm()); }
  world_comm().barrier();
  EXPECT_TRUE(std::filesystem::is_empty(folder));
  world_comm().barrier();
}

}  // namespace
}  // namespace lodestone::test
