// Does a run folder belong to one job at a time, and to the next one when that job is dead?
#include "data/checkpoints/run_lock.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/temp_dir.h"

namespace lodestone {
namespace {

using test::TempDir;

TEST(RunLock, RefusesASecondJobNamingTheHolder) {
  const TempDir dir;
  const RunLock first(dir.path(), "job-17");
  EXPECT_EQ(first.takeover(), "");
  try {
    const RunLock second(dir.path(), "job-18");
    FAIL() << "two jobs hold one run folder";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), "F27");
    EXPECT_EQ(error.exit_code(), ExitCode::storage);
    const std::string what = error.what();
    EXPECT_NE(what.find("job job-17"), std::string::npos) << what;
    EXPECT_NE(what.find(cat("pid ", getpid())), std::string::npos) << what;
  }
}

TEST(RunLock, IsFreeAgainAfterAnOrderlyEnd) {
  const TempDir dir;
  { const RunLock first(dir.path(), ""); }
  const RunLock second(dir.path(), "");
  EXPECT_EQ(second.takeover(), "");
}

TEST(RunLock, IsTakenOverFromAKilledProcess) {
  const TempDir dir;
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  const pid_t child = fork();
  if (child == 0) {
    const RunLock lock(dir.path(), "victim");
    (void)!write(ready[1], "x", 1);
    pause();
    _exit(0);
  }
  char byte;
  ASSERT_EQ(read(ready[0], &byte, 1), 1);
  EXPECT_THROW(RunLock(dir.path(), "second"), Error);
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  const RunLock next(dir.path(), "second");
  EXPECT_NE(next.takeover().find("victim"), std::string::npos) << next.takeover();
}

}  // namespace
}  // namespace lodestone
