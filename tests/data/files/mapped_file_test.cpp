// Does a reader survive that the file it has mapped is cut short, and does nothing else survive?
#include "data/files/mapped_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <fstream>
#include <numeric>
#include <string>

#include "data/files/durable.h"
#include "tests/support/temp_dir.h"

namespace lodestone {
namespace {

constexpr size_t size = size_t{5} << 12;  // five pages

class MappedFiles : public ::testing::Test {
 protected:
  MappedFile map(const std::string& name) {
    std::ofstream(dir_ / name, std::ios::binary) << std::string(size, 'x');
    const Descriptor descriptor(open((dir_ / name).c_str(), O_RDONLY));
    return MappedFile(descriptor.get(), size);
  }
  void cut(const std::string& name, off_t to) { ASSERT_EQ(truncate((dir_ / name).c_str(), to), 0); }
  static int64_t count(const MappedFile& file, char c) { return std::count(file.data(), file.data() + size, static_cast<std::byte>(c)); }

  test::TempDir dir_;
  SignalStack stack_;
};

TEST_F(MappedFiles, PagesThatTheFileHasLostReadAsZerosAndAreReported) {
  const MappedFile file = map("a"), other = map("b");
  ASSERT_TRUE(file.valid());
  EXPECT_EQ(count(file, 'x'), static_cast<int64_t>(size));
  cut("a", 4097);
  EXPECT_EQ(file.data()[0], std::byte{'x'});
  EXPECT_FALSE(file.cut()) << "nothing lost was read";
  EXPECT_EQ(count(file, 'x'), 4097);
  EXPECT_TRUE(file.cut());
  EXPECT_EQ(count(other, 'x'), static_cast<int64_t>(size));
  EXPECT_FALSE(other.cut());
}

TEST_F(MappedFiles, AFileThatGrowsAgainStaysReportedAsCut) {
  const MappedFile file = map("a");
  cut("a", 0);
  EXPECT_EQ(count(file, '\0'), static_cast<int64_t>(size));
  cut("a", size);
  EXPECT_TRUE(file.cut());
}

TEST_F(MappedFiles, ALaterMappingKnowsNothingOfAnEarlierOnesLoss) {
  {
    MappedFile file = map("a");
    cut("a", 0);
    EXPECT_EQ(count(file, 'x'), 0);
    const MappedFile moved = std::move(file);
    EXPECT_TRUE(moved.cut());
    EXPECT_FALSE(file.valid());  // NOLINT(bugprone-use-after-move): what a moved-from mapping says is part of the interface
  }
  const MappedFile file = map("c");
  EXPECT_FALSE(file.cut());
  EXPECT_EQ(count(file, 'x'), static_cast<int64_t>(size));
}

TEST_F(MappedFiles, WhatTheSystemCannotMapIsNotValid) {
  EXPECT_FALSE(MappedFile(-1, size).valid());
  EXPECT_FALSE(MappedFile().valid());
  EXPECT_FALSE(MappedFile().cut());
}

using MappedFilesDeathTest = MappedFiles;

TEST_F(MappedFilesDeathTest, ABusErrorElsewhereStillEndsTheProcess) {
  const MappedFile file = map("a");
  std::ofstream(dir_ / "foreign", std::ios::binary) << std::string(size, 'x');
  const Descriptor descriptor(open((dir_ / "foreign").c_str(), O_RDONLY));
  const auto* bytes = static_cast<const volatile char*>(mmap(nullptr, size, PROT_READ, MAP_SHARED, descriptor.get(), 0));
  cut("foreign", 0);
  EXPECT_DEATH((void)bytes[size - 1], "");  // by the signal, or by a sanitizer's report of it
}

}  // namespace
}  // namespace lodestone
