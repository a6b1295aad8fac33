// MatrixFile: every rank writes its rows, NumPy and HDF5 find what they expect, and nothing half-written stays.
#include <gtest/gtest.h>
#include <hdf5.h>

#include <cstring>
#include <fstream>
#include <iterator>

#include "data/plan/plan.h"
#include "launch/inference/matrix_file.h"
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

TEST(MatrixFile, NpyHeaderIsPaddedToAMultipleOf64AndNamesTheShape) {
  const std::string header = npy_header(12345, 384);
  EXPECT_EQ(header.size() % 64, 0u);
  EXPECT_EQ(header.substr(0, 8), std::string("\x93NUMPY\x01\x00", 8));
  EXPECT_EQ(static_cast<size_t>(static_cast<uint8_t>(header[8])) + 256u * static_cast<uint8_t>(header[9]) + 10, header.size());
  EXPECT_NE(header.find("{'descr': '<f4', 'fortran_order': False, 'shape': (12345, 384), }"), std::string::npos);
  EXPECT_EQ(header.back(), '\n');
}

/// Row r is (r, r + 0.25, -1); every rank writes its own.
void write_matrix(const std::filesystem::path& path, int64_t rows) {
  Communicator& comm = world_comm();
  MatrixFile file(path, rows, 3, comm);
  const RankRows part = rank_rows(rows, comm.rank(), comm.size());
  for (int64_t r = part.begin; r < part.end; ++r) {
    const std::vector<float> values{static_cast<float>(r), static_cast<float>(r) + 0.25f, -1.0f};
    file.write(r, values);
  }
  EXPECT_FALSE(std::filesystem::exists(path));
  file.publish();
  EXPECT_FALSE(std::filesystem::exists(path.string() + ".tmp"));
}

void expect_matrix(const std::vector<float>& values, int64_t rows) {
  ASSERT_EQ(values.size(), static_cast<size_t>(3 * rows));
  for (size_t r = 0; r < static_cast<size_t>(rows); ++r) {
    EXPECT_EQ(values[3 * r], static_cast<float>(r));
    EXPECT_EQ(values[3 * r + 1], static_cast<float>(r) + 0.25f);
    EXPECT_EQ(values[3 * r + 2], -1.0f);
  }
}

TEST(MatrixFile, RowsOfAllRanksStandInTheirPlacesOfAnNpyFile) {
  const TempDir mine;
  const std::filesystem::path path = std::filesystem::path(shared_folder(mine)) / "out.npy";
  const int64_t rows = 7;
  write_matrix(path, rows);
  std::ifstream in(path, std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  const std::string header = npy_header(rows, 3);
  ASSERT_EQ(bytes.size(), header.size() + static_cast<size_t>(rows * 3) * sizeof(float));
  EXPECT_EQ(bytes.substr(0, header.size()), header);
  std::vector<float> values(static_cast<size_t>(rows * 3));
  std::memcpy(values.data(), bytes.data() + header.size(), values.size() * sizeof(float));
  expect_matrix(values, rows);
  world_comm().barrier();
}

TEST(MatrixFile, RowsOfAllRanksStandInTheirPlacesOfAnHdf5File) {
  const TempDir mine;
  const std::filesystem::path path = std::filesystem::path(shared_folder(mine)) / "out.h5";
  const int64_t rows = 1000;
  write_matrix(path, rows);
  const hid_t file = H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
  ASSERT_GE(file, 0);
  const hid_t dataset = H5Dopen2(file, "embeddings", H5P_DEFAULT), space = H5Dget_space(dataset), type = H5Dget_type(dataset);
  hsize_t shape[2] = {0, 0};
  ASSERT_EQ(H5Sget_simple_extent_dims(space, shape, nullptr), 2);
  EXPECT_EQ(shape[0], static_cast<hsize_t>(rows));
  EXPECT_EQ(shape[1], 3u);
  EXPECT_GT(H5Tequal(type, H5T_IEEE_F32LE), 0);
  std::vector<float> values(static_cast<size_t>(rows * 3));
  EXPECT_GE(H5Dread(dataset, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()), 0);
  expect_matrix(values, rows);
  H5Tclose(type);
  H5Sclose(space);
  H5Dclose(dataset);
  H5Fclose(file);
  world_comm().barrier();
}

TEST(MatrixFile, HasOneWriterAtATime) {
  const TempDir mine;
  const std::filesystem::path path = std::filesystem::path(shared_folder(mine)) / "one.npy";
  {
    MatrixFile first(path, 7, 3, world_comm());
    if (world_comm().rank() == 0) {  // where a second job fails
      const auto alone = make_self_comm();
      try {
        MatrixFile second(path, 7, 3, *alone);
        ADD_FAILURE() << "two jobs write one file";
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), "F27");
      }
    }
    world_comm().barrier();
    first.publish();
  }
  EXPECT_TRUE(std::filesystem::exists(path));
  world_comm().barrier();
  if (world_comm().rank() == 0) std::filesystem::remove(path);
  world_comm().barrier();
  write_matrix(path, 5);  // and it is free again
  world_comm().barrier();
}

TEST(MatrixFile, NothingStaysWithoutPublishing) {
  const TempDir mine;
  const std::filesystem::path folder = shared_folder(mine);
  for (const char* name : {"out.npy", "out.h5"}) {
    { MatrixFile file(folder / name, 7, 3, world_comm()); }
    world_comm().barrier();
    EXPECT_TRUE(std::filesystem::is_empty(folder)) << name;
    world_comm().barrier();
  }
}

}  // namespace
}  // namespace lodestone::test
