// Do two jobs that write one file or folder stay apart, and is what a crash left found and nothing else?
#include "data/files/temporary.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/wait.h>

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
    for (const std::string& name : names_in(dir.path())) EXPECT_TRUE(name.starts_with("model.") && name.ends_with(".tmp")) << name;
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
  const std::set<std::string> others{"model",          "model.tmp",        "model.12.tmp", "model.12-x.tmp", "model.12-0.tmp.log",
                                     "model2.1-0.tmp", "model.1-0.old.tmp"};
  for (const std::string& name : others) std::ofstream(dir / name) << "mine";
  write_file_atomically(dir / "model", "new");
  EXPECT_EQ(names_in(dir.path()), others) << "only what is called as ours are";
  EXPECT_EQ(read_text_file(dir / "model", 100, ExitCode::data), "new");
}

TEST(Temporary, WhatALivingJobHasUnderWayStays) {
  const test::TempDir dir;
  std::ofstream(dir / "model.7-0.tmp") << "x";
  const Descriptor held(::open((dir / "model.7-0.tmp").c_str(), O_RDONLY | O_CLOEXEC));
  ASSERT_EQ(::flock(held.get(), LOCK_EX), 0);
  write_file_atomically(dir / "model", "new");
  EXPECT_EQ(names_in(dir.path()), (std::set<std::string>{"model", "model.7-0.tmp"}));
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

}  // namespace
}  // namespace lodestone
