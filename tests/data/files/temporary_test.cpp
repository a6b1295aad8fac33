// Do two jobs that write one file or folder stay apart, and is what a crash left found and nothing else?
#include "data/files/temporary.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cerrno>
#include <cstddef>
#include <fstream>
#include <set>

#include "tests/support/temp_dir.h"

namespace lodestone {
namespace {

namespace fs = std::filesystem;
using Kind = Temporary::Kind;

std::set<std::string> names_in(const fs::path& dir) {
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(dir)) names.insert(entry.path().filename().string());
  return names;
}

TEST(Temporary, OfOneTargetThereAreAsManyAsThereAreWriters) {
  const test::TempDir dir;
  {
    const Temporary a(dir / "model", Kind::folder), b(dir / "model", Kind::folder), c(dir / "model", Kind::file);
    EXPECT_EQ(names_in(dir.path()).size(), 3u) << "none took another for abandoned";
    for (const std::string& name : names_in(dir.path()))
      EXPECT_TRUE(name.starts_with("model.") && name.ends_with(".lodestone.tmp")) << name;
  }
  EXPECT_TRUE(names_in(dir.path()).empty());
}

TEST(Temporary, WhatAKilledWriterLeftIsRemovedByTheNext) {
  const test::TempDir dir;
  const pid_t child = fork();
  if (child == 0) {
    const Temporary folder(dir / "model", Kind::folder), file(dir / "model", Kind::file);
    std::ofstream(folder.path() / "half") << "x";
    _exit(0);  // no destructor runs
  }
  ASSERT_EQ(waitpid(child, nullptr, 0), child);
  EXPECT_EQ(names_in(dir.path()).size(), 2u);
  const std::set<std::string> others{"model",
                                     "model.tmp",
                                     "model.2026-11.tmp",
                                     "model.12.lodestone.tmp",
                                     "model.12-x.lodestone.tmp",
                                     "model.12-0.lodestone.tmp.log",
                                     "model2.1-0.lodestone.tmp",
                                     "model2.1-0.lodestone.old"};
  for (const std::string& name : others) std::ofstream(dir / name) << "mine";
  write_file_atomically(dir / "model", "new");
  EXPECT_EQ(names_in(dir.path()), others) << "only what is called as ours are";
  EXPECT_EQ(read_text_file(dir / "model", 100, ExitCode::data), "new");
}

TEST(Temporary, WhatALivingJobHasUnderWayStays) {
  const test::TempDir dir;
  std::ofstream(dir / "model.7-0.lodestone.tmp") << "x";
  const Descriptor held(::open((dir / "model.7-0.lodestone.tmp").c_str(), O_RDONLY | O_CLOEXEC));
  ASSERT_EQ(::flock(held.get(), LOCK_EX), 0);
  write_file_atomically(dir / "model", "new");
  EXPECT_EQ(names_in(dir.path()), (std::set<std::string>{"model", "model.7-0.lodestone.tmp"}));
}

TEST(Temporary, WritersThatBeginAtOnceNeverTakeEachOthersForAbandoned) {
  const test::TempDir dir;
  const auto write_often = [&] {
    for (int i = 0; i < 100; ++i) {
      const Temporary folder(dir / "model", Kind::folder);
      write_new_file(folder.path() / "name", "x");
      write_file_atomically(dir / "file", "whole");
      if (read_text_file(folder.path() / "name", 100, ExitCode::data) != "x") return 1;
      if (read_text_file(dir / "file", 100, ExitCode::data) != "whole") return 1;
    }
    return 0;
  };
  std::vector<pid_t> writers;
  for (int w = 0; w < 4; ++w) {
    writers.push_back(fork());
    if (writers.back() != 0) continue;
    int code = 2;
    try {
      code = write_often();
    } catch (const Error& error) {
      std::fprintf(stderr, "%s %s %s\n", error.code().c_str(), error.what(), error.where().c_str());
    }
    _exit(code);
  }
  for (const pid_t writer : writers) {
    int status = 0;
    ASSERT_EQ(waitpid(writer, &status, 0), writer);
    EXPECT_EQ(status, 0);
  }
  EXPECT_EQ(names_in(dir.path()), std::set<std::string>{"file"});
}

TEST(Temporary, FoldersAreExchangedUnderNamesOfTheirOwn) {
  const test::TempDir dir;
  for (const char* text : {"old", "new"}) {
    Temporary folder(dir / "model", Kind::folder);
    write_new_file(folder.path() / "name", text);
    publish_folder(folder.path(), dir / "model", IfExists::replace);
    folder.release();
  }
  EXPECT_EQ(names_in(dir.path()), std::set<std::string>{"model"});
  EXPECT_EQ(read_text_file(dir / "model" / "name", 100, ExitCode::data), "new");
}

/// Lets renameat2 fail for the rest of this process, as on a file system that cannot exchange two names.
bool lose_exchange() {
  sock_filter program[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
                           BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_renameat2, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
                           BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  const sock_fprog filter{.len = std::size(program), .filter = program};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

TEST(Temporary, WhereFoldersCannotBeExchangedTheOldOneMakesRoomWhateverACrashLeft) {
  const test::TempDir dir;
  fs::create_directory(dir / "model");
  const pid_t child = fork();
  if (child == 0) {
    if (!lose_exchange()) _exit(99);
    Temporary folder(dir / "model", Kind::folder);
    write_new_file(folder.path() / "name", "new");
    fs::create_directories(fs::path(folder.path()).replace_extension(".old") / "of a crash");
    int code = 0;
    try {
      publish_folder(folder.path(), dir / "model", IfExists::replace);
      folder.release();
    } catch (const Error& error) {
      std::fprintf(stderr, "%s\n", error.what());
      code = 1;
    }
    _exit(code);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  if (WEXITSTATUS(status) == 99) GTEST_SKIP() << "this machine filters no system calls";
  EXPECT_EQ(status, 0);
  EXPECT_EQ(names_in(dir.path()), std::set<std::string>{"model"});
  EXPECT_EQ(read_text_file(dir / "model" / "name", 100, ExitCode::data), "new");
}

TEST(Temporary, AReplacedFolderThatACrashLeftGoesOnceItHasASuccessor) {
  const test::TempDir dir;
  fs::create_directories(dir / "model.7-0.lodestone.old" / "weights");
  { const Temporary next(dir / "model", Kind::folder); }
  EXPECT_EQ(names_in(dir.path()), std::set<std::string>{"model.7-0.lodestone.old"}) << "nothing else is left of the model";
  fs::create_directory(dir / "model");
  { const Temporary next(dir / "model", Kind::folder); }
  EXPECT_EQ(names_in(dir.path()), std::set<std::string>{"model"});
}

TEST(Temporary, AFolderThatCannotBeReplacedIsPutBack) {
  const test::TempDir dir;
  fs::create_directories(dir / "new" / "old");
  write_new_file(dir / "new" / "old" / "name", "old");
  EXPECT_THROW(publish_folder(dir / "new", dir / "new" / "old", IfExists::replace), Error) << "a folder does not go into itself";
  EXPECT_EQ(read_text_file(dir / "new" / "old" / "name", 100, ExitCode::data), "old");
  EXPECT_EQ(names_in(dir.path()), std::set<std::string>{"new"});
}

}  // namespace
}  // namespace lodestone
