// The watchdog ends the process with code 7 and names the operation; it leaves what ends in time alone.
#include "comm/watchdog.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <iostream>
#include <thread>

namespace lodestone {
namespace {

void sleep_ms(int ms) { std::this_thread::sleep_for(std::chrono::milliseconds(ms)); }

class WatchdogDeathTest : public ::testing::Test {
 protected:
  void SetUp() override { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
};

TEST_F(WatchdogDeathTest, NamesTheOperationThatHangs) {
  const auto hang = [] {
    Watchdog dog(0.1, "rank=1 host=node3");
    const auto phase = dog.watch({"all_reduce", 4096, 12});
    sleep_ms(30'000);
  };
  EXPECT_EXIT(hang(), ::testing::ExitedWithCode(7),
              "error: F06 all_reduce of 4096 bytes .collective 12. has not ended after [0-9]+ s: .*; rank=1 host=node3; do: ");
}

TEST_F(WatchdogDeathTest, WatchesTheOuterPhaseAgainWhenTheInnerOneEnds) {
  const auto hang = [] {
    Watchdog dog(0.2, "rank=0 host=a");
    const auto outer = dog.watch({"saving a checkpoint"});
    { const auto inner = dog.watch({"barrier"}); }
    sleep_ms(30'000);
  };
  EXPECT_EXIT(hang(), ::testing::ExitedWithCode(7), "error: F06 saving a checkpoint has not ended");
}

TEST_F(WatchdogDeathTest, ALowerLimitAppliesAtOnce) {
  const auto hang = [] {
    Watchdog dog(1000, "rank=0 host=a");
    const auto phase = dog.watch({"barrier"});
    dog.set_limit(0.1);
    sleep_ms(30'000);
  };
  EXPECT_EXIT(hang(), ::testing::ExitedWithCode(7), "barrier");
}

TEST_F(WatchdogDeathTest, SaysMoreBeforeTheEndAndKnowsWhy) {
  const auto hang = [] {
    Watchdog dog(0.1, "rank=0 host=a");
    dog.set_last_words(
        [](const Error& error) { std::cerr << "status: " << static_cast<int>(error.exit_code()) << ' ' << error.code() << '\n'; });
    const auto phase = dog.watch({"barrier"});
    sleep_ms(30'000);
  };
  EXPECT_EXIT(hang(), ::testing::ExitedWithCode(7), "status: 7 F06\nerror: F06 barrier has not ended");
}

TEST_F(WatchdogDeathTest, LastWordsThatHangKeepNobody) {
  const auto hang = [] {
    Watchdog dog(0.1, "rank=0 host=a");
    dog.set_last_words([](const Error&) { sleep_ms(30'000); });
    const auto phase = dog.watch({"barrier"});
    sleep_ms(10'000);
    _exit(1);
  };
  EXPECT_EXIT(hang(), ::testing::ExitedWithCode(7), "error: F06 barrier has not ended");
}

TEST(Watchdog, DoesNotCountTimeInWhichTheProcessWasSuspended) {
  const pid_t child = fork();
  if (child == 0) {
    Watchdog dog(1.0, "rank=0 host=a");
    const auto phase = dog.watch({"all_reduce", 8, 1});
    sleep_ms(200);
    raise(SIGSTOP);  // longer than the limit, until the parent wakes it
    sleep_ms(200);
    _exit(42);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, WUNTRACED), child);
  ASSERT_TRUE(WIFSTOPPED(status));
  sleep_ms(1500);
  kill(child, SIGCONT);
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 42);
}

TEST(Watchdog, LeavesAloneWhatEndsInTime) {
  Watchdog dog(1.0, "rank=0 host=a");
  for (int i = 0; i < 20; ++i) {  // longer than the limit together
    const auto phase = dog.watch({"all_reduce", 8, i});
    sleep_ms(60);
  }
  sleep_ms(1100);  // nothing watched
}

}  // namespace
}  // namespace lodestone
