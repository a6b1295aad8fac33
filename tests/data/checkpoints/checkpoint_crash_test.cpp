// Does a save survive being killed, or having its storage fail, at every one of its system calls?
#include <gtest/gtest.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <functional>
#include <set>

#include "data/files/durable.h"
#include "tests/data/checkpoints/training_state.h"
#include "tests/support/temp_dir.h"

namespace lodestone {
namespace {

namespace fs = std::filesystem;
using test::TempDir;
using State = test::TrainingState<float>;

struct Injection {
  int64_t at = 0;  // the how-manieth system call, from 1
  int error = 0;   // 0: kill the process before it; otherwise let it fail with this errno
};

struct Outcome {
  bool traced = true;    // false: this machine does not let a test trace its own child
  bool reached = false;  // false: the work ended before that system call
  int exit_status = -1;  // of a process that was not killed
};

bool touches_storage(uint64_t call) {
  switch (call) {
    case SYS_openat:
    case SYS_write:
    case SYS_fsync:
    case SYS_mkdir:
    case SYS_rename:
    case SYS_renameat2:
    case SYS_close:
    case SYS_pread64:
      return true;
    default:
      return false;
  }
}

/// Runs `work` in a child process and does the injection to it. The child's exit status is what `work` returns.
Outcome run_with(const Injection& injection, const std::function<int()>& work,
                 const std::function<void(pid_t, const user_regs_struct&)>& watch = {}) {
  const pid_t child = fork();
  if (child == 0) {
    if (ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) _exit(99);
    raise(SIGSTOP);
    _exit(work());
  }
  int status = 0;
  waitpid(child, &status, 0);
  if (!WIFSTOPPED(status)) return {.traced = false};
  ptrace(PTRACE_SETOPTIONS, child, nullptr, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL);
  bool entering = true, fail_this = false, reached = false;
  for (int64_t calls = 0;;) {
    ptrace(PTRACE_SYSCALL, child, nullptr, nullptr);
    waitpid(child, &status, 0);
    if (WIFEXITED(status)) return {.reached = reached, .exit_status = WEXITSTATUS(status)};
    if (WIFSIGNALED(status)) return {.reached = reached};
    if (!WIFSTOPPED(status) || WSTOPSIG(status) != (SIGTRAP | 0x80)) continue;
    user_regs_struct registers{};
    ptrace(PTRACE_GETREGS, child, nullptr, &registers);
    if (entering) {
      if (watch) watch(child, registers);
      const bool counts = injection.error == 0 || touches_storage(registers.orig_rax);
      if (counts && ++calls == injection.at) {
        reached = true;
        if (injection.error == 0) {
          kill(child, SIGKILL);
          waitpid(child, &status, 0);
          return {.reached = true};
        }
        fail_this = true;
        registers.orig_rax = ~0ull;  // no system call: the kernel does nothing
        ptrace(PTRACE_SETREGS, child, nullptr, &registers);
      }
    } else if (fail_this) {
      fail_this = false;
      registers.rax = static_cast<unsigned long long>(-static_cast<int64_t>(injection.error));
      ptrace(PTRACE_SETREGS, child, nullptr, &registers);
    }
    entering = !entering;
  }
}

/// What a child's system calls say about durability, in order.
class DurabilityWatch {
 public:
  /// Called before each system call of process `child`.
  void see(pid_t child, const user_regs_struct& registers) {
    const fs::path descriptor = cat("/proc/", child, "/fd/", registers.rdi);
    const auto file = [&] { return fs::read_symlink(descriptor).string(); };
    switch (registers.orig_rax) {
      case SYS_write:
        if (fs::is_regular_file(descriptor)) unsynced_.insert(file());  // a sanitizer writes to a pipe, a report goes to a terminal
        break;
      case SYS_fsync:
        unsynced_.erase(file());
        synced_after_rename.push_back(file());
        break;
      case SYS_renameat2:
        unsynced_at_rename = unsynced_;
        synced_before_rename = std::exchange(synced_after_rename, {});
        break;
      default:
        break;
    }
  }
  std::set<std::string> unsynced_at_rename;  // written and not brought to the device by then
  std::vector<std::string> synced_before_rename, synced_after_rename;

 private:
  std::set<std::string> unsynced_;
};

TEST(CheckpointDurability, EverythingIsOnTheDeviceBeforeAndAfterTheRename) {
  const TempDir dir;
  State state(5);
  const fs::path run = fs::canonical(dir.path());
  DurabilityWatch watch;
  const Outcome outcome = run_with(
      {},
      [&] {
        test::save(run, 3, state, 2);
        return 0;
      },
      [&](pid_t child, const user_regs_struct& r) { watch.see(child, r); });
  if (!outcome.traced) GTEST_SKIP() << "this machine does not let a test trace its own child";
  ASSERT_EQ(outcome.exit_status, 0);
  EXPECT_TRUE(watch.unsynced_at_rename.empty())
      << *watch.unsynced_at_rename.begin() << " was not brought to the device before it was published";
  const auto& before = watch.synced_before_rename;
  for (const char* name : {"part-00000.safetensors", "part-00001.safetensors", "manifest.json", "config.yaml", "trainer_state.json", ""}) {
    const std::string path = (run / "checkpoint-3.tmp" / name).lexically_normal().string();
    EXPECT_TRUE(std::find(before.begin(), before.end(), path.ends_with('/') ? path.substr(0, path.size() - 1) : path) != before.end())
        << path;
  }
  EXPECT_TRUE(std::find(watch.synced_after_rename.begin(), watch.synced_after_rename.end(), run.string()) !=
              watch.synced_after_rename.end())
      << "the run folder holds the new name";
}

/// Few and small tensors: a save is then mostly system calls that matter.
ParamLayout small_layout() {
  ParamLayout layout;
  layout.add("a.weight", {2, 3}, Decay::yes);
  layout.add("b.bias", {5}, Decay::no);
  return layout;
}

/// Steps 1 and 2 are saved; the work saves step 3 with two parts and then keeps two.
class SaveUnderFire {
 public:
  SaveUnderFire() {
    test::save(dir_.path(), 1, first_, 2);
    test::save(dir_.path(), 2, second_, 1);
  }

  /// As a rank does it: an error abandons the save. Returns the exit code of the error, or 0.
  int save_third() {
    try {
      test::save(dir_.path(), 3, third_, 2);
      std::map<int64_t, bool> verified;
      retain_checkpoints(dir_.path(), 2, std::nullopt, verified);
      return 0;
    } catch (const Error& error) {
      abandon_checkpoint(dir_.path(), 3);
      return static_cast<int>(error.exit_code());
    }
  }

  /// The newest or the one before it loads with its own values; what a crash left can be swept; the next save works.
  void expect_recovers(const Injection& injection) {
    const std::string what = cat("call ", injection.at, " error ", injection.error);
    std::vector<std::string> messages;
    const auto found = find_newest_verified(dir_.path(), messages);
    ASSERT_TRUE(found) << what;
    EXPECT_TRUE(messages.empty()) << what << ": " << messages[0];
    ASSERT_TRUE(found->manifest.step == 2 || found->manifest.step == 3) << what;
    EXPECT_TRUE(test::load<float>(found->path, small_layout()) == (found->manifest.step == 3 ? third_ : second_)) << what;
    EXPECT_GE(list_checkpoints(dir_.path()).size(), 2u) << what;
    EXPECT_TRUE(sweep_temporaries(dir_.path()).empty()) << what;
    for (const auto& entry : fs::directory_iterator(dir_.path()))
      EXPECT_FALSE(entry.path().string().ends_with(".tmp")) << what << ": " << entry.path();
    EXPECT_EQ(save_third(), 0) << what;
    EXPECT_TRUE(test::load<float>(dir_ / "checkpoint-3", small_layout()) == third_) << what;
  }

 private:
  TempDir dir_;
  State first_{1, small_layout()}, second_{2, small_layout()}, third_{3, small_layout()};
};

TEST(SlowCheckpointCrash, SurvivesAKillAtEverySystemCall) {
  int64_t points = 0;
  for (Injection injection{.at = 1, .error = 0};; ++injection.at) {
    SaveUnderFire run;
    const Outcome outcome = run_with(injection, [&] { return run.save_third(); });
    if (!outcome.traced) GTEST_SKIP() << "this machine does not let a test trace its own child";
    run.expect_recovers(injection);
    if (!outcome.reached) break;
    ++points;
    ASSERT_LT(points, 5000);
  }
  EXPECT_GT(points, 30);
  std::cout << "killed at " << points << " system calls\n";
}

TEST(SlowCheckpointCrash, SurvivesFailingStorageAtEverySystemCall) {
  int64_t points = 0, refused = 0;
  for (const int error : {ENOSPC, EIO, EDQUOT, EINTR})
    for (Injection injection{.at = 1, .error = error};; ++injection.at) {
      SaveUnderFire run;
      const Outcome outcome = run_with(injection, [&] { return run.save_third(); });
      if (!outcome.traced) GTEST_SKIP() << "this machine does not let a test trace its own child";
      EXPECT_TRUE(outcome.exit_status == 0 || outcome.exit_status == static_cast<int>(ExitCode::storage) ||
                  outcome.exit_status == static_cast<int>(ExitCode::checkpoint))
          << "call " << injection.at << " error " << error << " ended with " << outcome.exit_status;
      run.expect_recovers(injection);
      if (!outcome.reached) break;
      ++points;
      refused += outcome.exit_status != 0 ? 1 : 0;
      ASSERT_LT(points, 5000);
    }
  EXPECT_GT(refused, 20);
  std::cout << points << " failures injected, " << refused << " saves refused\n";
}

}  // namespace
}  // namespace lodestone
