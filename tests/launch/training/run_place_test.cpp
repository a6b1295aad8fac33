// May a folder hold a run, and may a run go on from a checkpoint of this configuration?
#include "launch/training/run_place.h"

#include <gtest/gtest.h>

#include <fstream>

#include "core/error.h"
#include "launch/console/log.h"
#include "tests/support/temp_dir.h"

namespace lodestone {
namespace {

namespace fs = std::filesystem;
using test::TempDir;

template <class Work>
std::string refusal(const Work& work) {
  try {
    work();
  } catch (const Error& error) {
    return cat(static_cast<int>(error.exit_code()), ' ', error.code(), ' ', error.what());
  }
  return "none";
}

void touch(const fs::path& file) {
  fs::create_directories(file.parent_path());
  std::ofstream(file) << "x";
}

/// What require_run_place() says of a folder with these files.
std::string place(std::initializer_list<const char*> files) {
  const TempDir dir;
  for (const char* file : files) touch(dir / file);
  return refusal([&] { require_run_place(dir.path()); });
}

TEST(RunPlace, MayBeMissingEmptyOrHoldALaunchersLogs) {
  const TempDir dir;
  EXPECT_EQ(refusal([&] { require_run_place(dir / "none"); }), "none");
  EXPECT_EQ(place({}), "none");
  EXPECT_EQ(place({"lodestone-7.log", "slurm-7.out", "job.err", ".nfs0001"}), "none");
}

TEST(RunPlace, MayHoldWhatAKilledStartLeaves) {
  EXPECT_EQ(place({"write-test.tmp"}), "none");
  EXPECT_EQ(place({"write-test-renamed.tmp", "run.log"}), "none");
  EXPECT_EQ(place({"lock"}), "none");
  EXPECT_EQ(place({"lock", "config.yaml.tmp.7"}), "none");
}

TEST(RunPlace, MayHoldARunOrACopyOfOne) {
  EXPECT_EQ(place({"lock", "config.yaml", "metrics.jsonl", "status.json", "checkpoint-5/manifest.json"}), "none");
  EXPECT_EQ(place({"config.yaml", "checkpoint-5/manifest.json"}), "none");
  EXPECT_EQ(place({"config.yaml", "metrics.jsonl", "status.json"}), "none");
}

TEST(RunPlace, IsNotAFolderOfOtherThings) {
  EXPECT_EQ(place({"config.yaml"}), "2 exists the folder is not empty and no run folder: it holds config.yaml");
  EXPECT_EQ(place({"vocab.txt", "run.log"}), "2 exists the folder is not empty and no run folder: it holds vocab.txt");
  EXPECT_EQ(place({"checkpoint-5/mine"}), "2 exists the folder is not empty and no run folder: it holds checkpoint-5");
  EXPECT_EQ(place({"metrics.jsonl"}), "2 exists the folder is not empty and no run folder: it holds metrics.jsonl");
}

TEST(RunPlace, IsNotAFinishedRun) {
  EXPECT_EQ(place({"lock", "config.yaml", "model/config.json"}), "2 F26 this run is finished: its folder holds a model");
}

std::string resumed(const std::string& saved, const std::string& now) {
  return refusal([&] { require_same_config(saved, now, "checkpoint-5"); });
}

TEST(ResumedConfiguration, DiffersByAValue) {
  EXPECT_EQ(resumed("a:\n  b: 1\n", "a:\n  b: 1\n"), "none");
  EXPECT_EQ(resumed("a:\n  b: 1\n", "a:\n  b: 2\n"), "4 F26 a.b is 2, the checkpoint was trained with 1");
}

TEST(ResumedConfiguration, DiffersByAKeyThatOnlyOneHas) {
  EXPECT_EQ(resumed("a:\n  b: 1\n", "a:\n  b: 1\n  c: 2\n"), "4 F26 a.c is 2, the checkpoint was trained with none");
  EXPECT_EQ(resumed("a:\n  b: 1\n  c: 2\n", "a:\n  b: 1\n"), "4 F26 a.c is not given, the checkpoint was trained with 2");
  EXPECT_EQ(resumed("data:\n  rules:\n    x:\n      match: q\nz: 1\n", "z: 1\n"),
            "4 F26 data.rules.x.match is not given, the checkpoint was trained with q");
}

TEST(ResumedConfiguration, MayDifferInWhatTrainsNothing) {
  EXPECT_EQ(resumed("train:\n  threads: 1\n  save_steps: 5\n", "train:\n  threads: 2\n"), "none");
  EXPECT_EQ(resumed("published:\n  rows: 1\n", "z: 1\n"), "4 F26 z is 1, the checkpoint was trained with none");
  EXPECT_EQ(resumed("published:\n  rows: 1\nz: 1\n", "z: 1\n"), "none");
}

TEST(Exceptions, SayWhatTheyAreToAUser) {
  EXPECT_EQ(as_error(Error(ExitCode::data, "F30", "x")).code(), "F30");
  EXPECT_EQ(as_error(std::bad_alloc()).code(), "F14");
  EXPECT_EQ(as_error(std::out_of_range("map::at")).exit_code(), ExitCode::internal);
}

}  // namespace
}  // namespace lodestone
