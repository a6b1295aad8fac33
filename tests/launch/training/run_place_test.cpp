// May a folder hold a run, and may a run go on from a checkpoint of this configuration?
#include "launch/training/run_place.h"

#include <gtest/gtest.h>

#include <fstream>

#include "core/error.h"
#include "launch/config/config.h"
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

/// The keys of a small program: a.lr and a.new must match, a.lr_limit may change, the section m is there where it is given, as are the
/// rules and what each says.
std::vector<ConfigKey> keys_of(const std::string& yaml) {
  const TempDir dir;
  const fs::path file = dir / "now.yaml";
  std::ofstream(file) << yaml;
  const ConfigNode root = load_config(std::span(&file, 1), {});
  Section s(root);
  Section a = s.section("a");
  double lr = 0.1, fresh = 0.5;
  int64_t limit = 0, x = 1, repeat = 0;
  std::string names;
  a.read("lr", lr);
  a.read("lr_limit", limit, Resume::may_change);
  a.read("new", fresh);
  if (s.may_have("m")) s.section("m").read("x", x);
  if (s.may_have("rules")) {
    Section rules = s.section("rules");
    for (const std::string& name : rules.names()) {
      Section rule = rules.section(name);
      rule.read("match", names);
      if (rule.may_have("repeat")) rule.read("repeat", repeat);
    }
  }
  return s.read_keys();
}

std::string resumed(const std::string& saved, const std::string& now) {
  return refusal([&] { require_same_config(saved, keys_of(now), "checkpoint-5"); });
}

TEST(ResumedConfiguration, DiffersByAValue) {
  EXPECT_EQ(resumed("a:\n  lr: 0.1\n  lr_limit: 0\n  new: 0.5\n", "a: {lr: 1e-1}"), "none");
  EXPECT_EQ(resumed("a:\n  lr: 0.1\n  lr_limit: 0\n  new: 0.5\n", "a: {lr: 0.2}"),
            "4 F26 a.lr is 0.2, the checkpoint was trained with 0.1");
}

TEST(ResumedConfiguration, OfAnOlderProgramCountsWithTheDefaultsOfTheKeysThatItLacks) {
  EXPECT_EQ(resumed("a:\n  lr: 0.1\n", "a: {lr: 0.1}"), "none");
  EXPECT_EQ(resumed("a:\n  lr: 0.1\n", "a: {new: 0.50}"), "none");
  EXPECT_EQ(resumed("z:\n  y: 1\n", "a: {lr: 0.1}"), "4 F26 z.y is not given, the checkpoint was trained with 1");
  EXPECT_EQ(resumed("a:\n  lr: 0.1\n", "a: {new: 0.7}"),
            "4 F26 a.new is 0.7, the checkpoint, which lacks this key, was trained with its default, 0.5");
  EXPECT_EQ(resumed("", "{}"), "none") << "a whole section may be new";
  EXPECT_EQ(resumed("m:\n  w: 1\n", "m: {}"), "4 F26 m.w is not given, the checkpoint was trained with 1");
}

TEST(ResumedConfiguration, DiffersByASectionOrAKeyThatOnlyOneHas) {
  EXPECT_EQ(resumed("a:\n  lr: 0.1\n", "m: {x: 1}"), "4 F26 m.x is 1, the checkpoint was trained with none");
  EXPECT_EQ(resumed("m:\n  x: 1\n", "{}"), "4 F26 m.x is not given, the checkpoint was trained with 1");
  EXPECT_EQ(resumed("rules:\n  r:\n    match: q\n", "{}"), "4 F26 rules.r.match is not given, the checkpoint was trained with q");
  EXPECT_EQ(resumed("{}", "rules: {r: {match: q}}"), "4 F26 rules.r.match is q, the checkpoint was trained with none");
  const std::string rule = "rules:\n  r:\n    match: q\n";
  EXPECT_EQ(resumed(rule, "rules: {r: {match: q}}"), "none");
  EXPECT_EQ(resumed(rule, "rules: {r: {match: q, repeat: 0}}"), "4 F26 rules.r.repeat is 0, the checkpoint was trained with none");
  EXPECT_EQ(resumed(rule, "rules: {r: {match: q}, r2: {match: q}}"), "4 F26 rules.r2.match is q, the checkpoint was trained with none");
}

TEST(ResumedConfiguration, MayDifferInWhatTrainsNothing) {
  EXPECT_EQ(resumed("a:\n  lr: 0.1\n  lr_limit: 5\n", "a: {lr_limit: 7}"), "none");
  EXPECT_EQ(resumed("a:\n  lr: 0.1\n", "a: {lr_limit: 7}"), "none");
  EXPECT_EQ(resumed("a:\n  lr_limit: 5\n", "{}"), "none");
  EXPECT_EQ(resumed("rules:\n  r:\n    match: a\n    lr_limit: 5\n", "rules: {r: {match: a}}"),
            "4 F26 rules.r.lr_limit is not given, the checkpoint was trained with 5")
      << "another key of that name";
}

/// What resuming a run of two tasks says when these are given in addition, from a checkpoint of which a line was taken away.
std::string resumed_tasks(const std::vector<std::string>& changes, const std::string& without = "") {
  const TempDir dir;
  const fs::path file = dir / "run.yaml";
  std::ofstream(file) << "model: {folder: m}\ndata: {train: c}\ntasks: {one: {share: 1}, two: {loss: {name: gte}}}\n"
                         "train: {output_dir: r, steps: 10}\n";
  std::string saved = read_run_config(std::span(&file, 1), {}).resolved;
  if (!without.empty()) {
    EXPECT_NE(saved.find(without), std::string::npos) << without;
    saved.erase(saved.find(without), without.size());
  }
  return refusal([&] { require_same_config(saved, read_run_config(std::span(&file, 1), changes).keys, "checkpoint-5"); });
}

TEST(ResumedConfiguration, OfARunSaysByKeyWhatMayChange) {
  EXPECT_EQ(resumed_tasks({}), "none");
  EXPECT_EQ(resumed_tasks({"train.step_memory_mb=2000", "train.save_steps=7", "tasks.one.data.heldout=h", "tasks.two.ranks=2"}), "none");
  EXPECT_EQ(resumed_tasks({"optim.learning_rate=1e-3"}), "4 F26 optim.learning_rate is 0.001, the checkpoint was trained with 5e-05");
  EXPECT_EQ(resumed_tasks({"tasks.three.share=1"}).substr(0, 20), "4 F26 tasks.three.da");
}

TEST(ResumedConfiguration, OfARunMayLackAKeyThatHasItsDefaultNow) {
  for (const char* line :
       {"  step_memory_mb: 0\n", "  ref_grad_scale: false\n", "      pair_max_len: 0\n", "published:\n  devices: 0\n  rows: 0\n"})
    EXPECT_EQ(resumed_tasks({}, line), "none") << line;
  EXPECT_EQ(resumed_tasks({"train.step_memory_mb=2000"}, "  step_memory_mb: 0\n"), "none");
  EXPECT_EQ(resumed_tasks({"optim.ref_grad_scale=true"}, "  ref_grad_scale: false\n"),
            "4 F26 optim.ref_grad_scale is true, the checkpoint, which lacks this key, was trained with its default, false");
}

TEST(Exceptions, SayWhatTheyAreToAUser) {
  EXPECT_EQ(as_error(Error(ExitCode::data, "F30", "x")).code(), "F30");
  EXPECT_EQ(as_error(std::bad_alloc()).code(), "F14");
  EXPECT_EQ(as_error(std::out_of_range("map::at")).exit_code(), ExitCode::internal);
}

TEST(ResumedModel, NamesTheSettingThatDiffers) {
  const auto said = [](const std::string& saved, const std::string& now) {
    return refusal([&] { require_model_of(saved, now, "run/checkpoint-5"); });
  };
  const std::string model = "hidden_size: 32\nlayer_norm_eps: 1e-12\n";
  EXPECT_EQ(said(model, model), "none");
  EXPECT_EQ(said(model, "hidden_size: 32\nlayer_norm_eps: 0.001\n"),
            "4 F26 the model's layer_norm_eps is 0.001, the checkpoint was trained with 1e-12");
  EXPECT_EQ(said(model, model + "dense_bias: true\n"), "4 F26 the model's dense_bias is true, the checkpoint was trained with none");
  EXPECT_EQ(said(model, "hidden_size: 32\n"), "4 F26 the model's layer_norm_eps is none, the checkpoint was trained with 1e-12");
}

}  // namespace
}  // namespace lodestone
