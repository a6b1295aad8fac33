// Does a run folder belong to one job at a time, and to the next one when that job is dead?
#include "data/checkpoints/run_lock.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <memory>

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

/// A second job that looks while the first publishes its folder under another name: it must hold the lock of a folder that is there.
TEST(RunLock, NeverHoldsAFileThatHasLostItsName) {
  const TempDir dir;
  for (int turn = 0; turn < 200; ++turn) {
    const std::filesystem::path partial = dir / "partial", published = dir / cat("published", turn);
    auto first = std::make_unique<RunLock>(partial, "first");
    int ready[2];
    ASSERT_EQ(pipe(ready), 0);
    const pid_t child = fork();
    if (child == 0) {
      (void)!write(ready[1], "x", 1);
      for (;;) try {
          const RunLock second(partial, "second");
          _exit(std::filesystem::is_regular_file(partial / "lock") ? 0 : 1);
        } catch (const Error&) {
        }
    }
    char byte;
    ASSERT_EQ(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    close(ready[1]);
    std::filesystem::rename(partial, published);
    std::filesystem::remove(published / "lock");
    first.reset();
    int status = 0;
    waitpid(child, &status, 0);
    ASSERT_EQ(WEXITSTATUS(status), 0) << "turn " << turn;
    std::filesystem::remove_all(partial);
  }
}

TEST(RunLock, RefusesAFifoAtOnce) {
  const TempDir dir;
  ASSERT_EQ(mkfifo((dir / "lock").c_str(), 0600), 0);
  try {
    const RunLock lock(dir.path(), "");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), "F21");
  }
}

}  // namespace
}  // namespace lodestone
