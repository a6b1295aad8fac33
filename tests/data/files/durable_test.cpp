// Which files are opened, and what is said when none can be?
#include "data/files/durable.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <vector>

#include "tests/support/temp_dir.h"

namespace lodestone {
namespace {

using test::TempDir;

/// "CODE exit what" of what `act` throws, or "".
template <class Act>
std::string failure(Act act) {
  try {
    act();
  } catch (const Error& error) {
    return cat(error.code(), ' ', static_cast<int>(error.exit_code()), ' ', error.what());
  }
  return "";
}

TEST(Durable, OpensNothingButRegularFilesAndWaitsForNone) {
  const TempDir dir;
  ASSERT_EQ(mkfifo((dir / "fifo").c_str(), 0600), 0);
  std::filesystem::create_symlink("fifo", dir / "link");
  for (const char* name : {"fifo", "link", "."})
    EXPECT_EQ(failure([&] { InputFile(dir / name, ExitCode::data); }), "missing 3 this is not a regular file") << name;
  EXPECT_EQ(failure([&] { InputFile("/dev/null", ExitCode::data); }), "missing 3 this is not a regular file");
  write_new_file(dir / "file", "text");
  EXPECT_EQ(read_text_file(dir / "file", 10, ExitCode::data), "text");
}

TEST(Durable, ANameThatNothingCanHaveIsAUsersError) {
  const TempDir dir;
  std::filesystem::create_symlink("loop", dir / "loop");
  EXPECT_EQ(failure([&] { path_exists(dir / "loop"); }).substr(0, 9), "missing 2");
  EXPECT_EQ(failure([&] { path_exists(dir / std::string(300, 'a')); }).substr(0, 9), "missing 2");
}

TEST(Durable, DescriptorsThatAreUsedUpAreNamedWithTheirLimit) {
  const TempDir dir;
  write_new_file(dir / "file", "text");
  struct rlimit before {};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  const struct rlimit few { 64, before.rlim_max };
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
  std::vector<Descriptor> held;
  while (held.empty() || held.back()) held.emplace_back(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const std::vector<std::string> told = {failure([&] { InputFile(dir / "file", ExitCode::data); }),
                                         failure([&] { write_new_file(dir / "new", "x"); }), failure([&] { sync_folder(dir.path()); }),
                                         failure([&] { check_writable(dir.path()); })};
  held.clear();
  setrlimit(RLIMIT_NOFILE, &before);
  for (const std::string& line : told) EXPECT_EQ(line, "F15 9 no descriptors are left: the limit is 64");
}

}  // namespace
}  // namespace lodestone
