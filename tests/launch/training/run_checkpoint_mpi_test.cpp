// What a snapshot holds and downloads, that a run restored from it is the one it was taken of, and what all ranks hear of a failure.
#include <gtest/gtest.h>

#include "launch/training/run_checkpoint.h"
#include "launch/training/step.h"
#include "tests/support/mpi_world.h"
#include "tests/support/tiny_run.h"

namespace lodestone {
namespace {

namespace fs = std::filesystem;

/// A folder of rank 0 that all ranks name.
class SharedDir {
 public:
  SharedDir() : path_(own_.path().string()) { broadcast(test::world_comm(), path_, 0); }
  ~SharedDir() { test::world_comm().barrier(); }
  SharedDir(const SharedDir&) = delete;
  SharedDir& operator=(const SharedDir&) = delete;
  fs::path path() const { return path_; }

 private:
  test::TempDir own_;
  std::string path_;
};

RunConfig config(const test::TinyRun& material, BackendKind backend, const char* zero) {
  return material.config(
      backend, cat("data: {train: ", material.corpus("triples"), ", query_max_len: 16, passage_max_len: 16}\noptim: {zero: ", zero, "}\n"));
}

void train_step(Run& run, int64_t step) {
  TrainingStep training(run);
  training.accumulate(step);
  EXPECT_TRUE(training.update(step).finite);
}

std::vector<float> values(Run& run, ConstTensor x) {
  const auto scope = run.arena.scope();
  const std::span<const float> on_host = fetch<float>(*run.backend, run.arena, x);
  return {on_host.begin(), on_host.end()};
}

class RunCheckpoint : public ::testing::Test {
 protected:
  test::TinyRun material_;
  SharedDir dir_;
};

TEST_F(RunCheckpoint, ASnapshotDownloadsTheShareOfItsRankAndRestoringDownloadsNothing) {
  for (const char* zero : {"false", "true"}) {
    SCOPED_TRACE(zero);
    lodestone::Run run(test::world(), config(material_, BackendKind::debug, zero), 0);
    train_step(run, 0);
    const Transfers before = run.backend->transfers();
    const RunSnapshot snapshot = take_snapshot(run, 1);
    const Transfers& after = run.backend->transfers();
    EXPECT_EQ(after.downloads - before.downloads, 3);
    EXPECT_EQ(after.copied_bytes - before.copied_bytes, 3 * 4 * snapshot.share.count());
    const Slice expected = run.cfg.optim.zero ? run.optimizer.own()
                                              : checkpoint_share(run.params().layout().count(), test::world().rank(), test::world().size());
    EXPECT_EQ(snapshot.share.begin, expected.begin);
    EXPECT_EQ(snapshot.share.end, expected.end);
    for (const CheckpointVector& v : snapshot.vectors) {
      EXPECT_EQ(v.held().begin, snapshot.share.begin) << v.name;
      EXPECT_EQ(v.held().end, snapshot.share.end) << v.name;
      EXPECT_EQ(v.values.device(), Device::cpu) << v.name;
    }
    ASSERT_EQ(write_snapshot(run.planes.group().host, dir_.path(), snapshot), "");

    lodestone::Run later(test::world(), config(material_, BackendKind::debug, zero), 1);
    const int64_t downloads = later.backend->transfers().downloads;
    restore_run(later, dir_.path() / checkpoint_name(1));
    EXPECT_EQ(later.backend->transfers().downloads, downloads);
    EXPECT_EQ(later.optimizer.steps(), 1);
    EXPECT_EQ(values(later, later.params().masters()), values(run, run.params().masters()));
    EXPECT_EQ(values(later, later.optimizer.first_moments()), values(run, run.optimizer.first_moments()));
    EXPECT_EQ(values(later, later.optimizer.second_moments()), values(run, run.optimizer.second_moments()));
  }
}

TEST_F(RunCheckpoint, ASnapshotOnTheCpuIsViews) {
  lodestone::Run run(test::world(), config(material_, BackendKind::cpu, "false"), 0);
  const RunSnapshot snapshot = take_snapshot(run, 0);
  EXPECT_TRUE(snapshot.downloaded.empty());
  EXPECT_EQ(snapshot.vectors.at(0).values.bytes(), run.params().masters().slice(snapshot.share).bytes());
  EXPECT_EQ(snapshot.vectors.at(1).values.bytes(), run.optimizer.first_moments().slice(snapshot.share).bytes());
}

TEST_F(RunCheckpoint, WhateverOneRankThrowsIsToldToAll) {
  lodestone::Run run(test::world(), config(material_, BackendKind::cpu, "false"), 0);
  Communicator& comm = run.planes.group().host;
  RunSnapshot snapshot = take_snapshot(run, 0);
  const auto expect_told = [&](const char* what, int rank) {
    std::string told = write_snapshot(comm, dir_.path(), snapshot), of_rank_0 = told;
    broadcast(comm, of_rank_0, 0);
    EXPECT_EQ(told, of_rank_0);
    EXPECT_NE(told.find(what), std::string::npos) << told;
    EXPECT_TRUE(told.ends_with(cat("rank=", rank))) << told;
    if (comm.rank() == 0) {
      EXPECT_TRUE(fs::is_empty(dir_.path())) << "nothing is left behind";
    }
  };
  snapshot.manifest.fingerprints["tokenizer"] = "\xff";  // JSON cannot say that, and throws an exception of its own
  expect_told("internal ", 0);
  if (comm.rank() == comm.size() - 1) snapshot.share.end += 1;
  expect_told("internal params holds elements", comm.size() - 1);
}

}  // namespace
}  // namespace lodestone
