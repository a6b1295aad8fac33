#include <gtest/gtest.h>

#include <fstream>

#include "core/error.h"
#include "launch/config/section.h"
#include "tests/support/temp_dir.h"

namespace lodestone {
namespace {

class Yaml : public ::testing::Test {
 protected:
  std::filesystem::path file(const std::string& name, const std::string& text) {
    std::ofstream(dir_ / name) << text;
    return dir_ / name;
  }
  ConfigNode load(const std::string& text, std::vector<std::string> overrides = {}) {
    const std::filesystem::path path = file("a.yaml", text);
    return load_config(std::span(&path, 1), overrides);
  }
  /// What reading `text` as {optim: {lr, steps, on}, loss: {dims, name}} says, or "" when it is accepted.
  std::string failure(const std::string& text, std::vector<std::string> overrides = {}) {
    try {
      const ConfigNode root = load(text, std::move(overrides));
      Section s(root);
      Section optim = s.section("optim"), loss = s.section("loss");
      double lr = 1;
      int64_t steps = 0;
      bool on = false;
      std::vector<int64_t> dims;
      size_t name = 0;
      static constexpr std::string_view names[] = {"info_nce", "cosent"};
      optim.read("lr", lr);
      optim.read("steps", steps);
      optim.read("on", on);
      optim.finish();
      loss.read("dims", dims);
      loss.read_choice("name", names, name);
      loss.finish();
      s.finish();
    } catch (const Error& e) {
      EXPECT_EQ(e.exit_code(), ExitCode::usage);
      return cat(e.what(), " | ", e.where(), " | ", e.remedy());
    }
    return "";
  }
  test::TempDir dir_;
};

TEST_F(Yaml, LaterFilesAndTheCommandLineWin) {
  const std::vector<std::filesystem::path> files = {file("a.yaml", "optim: {lr: 1e-5, steps: 10}\n"),
                                                    file("b.yaml", "optim:\n  lr: 2e-5\n")};
  const std::vector<std::string> overrides = {"optim.steps=30"};
  const ConfigNode root = load_config(files, overrides);
  Section s(root);
  Section optim = s.section("optim");
  double lr = 0;
  int64_t steps = 0;
  optim.read("lr", lr);
  optim.read("steps", steps);
  optim.finish();
  s.finish();
  EXPECT_EQ(lr, 2e-5);
  EXPECT_EQ(steps, 30);
  EXPECT_EQ(s.resolved(), "optim:\n  lr: 2e-05\n  steps: 30\n");
}

TEST_F(Yaml, PathsStartAtTheFileThatGivesThem) {
  const ConfigNode root = load("train: ../corpus\n");
  Section s(root);
  std::filesystem::path p;
  s.read("train", p);
  EXPECT_EQ(p, (dir_.path() / "../corpus").lexically_normal());
}

TEST_F(Yaml, TyposAreRefusedWithTheNearestKey) {
  const std::string text = failure("optim:\n  lr: 1\n  stepz: 3\n");
  EXPECT_NE(text.find("optim.stepz: unknown key"), std::string::npos) << text;
  EXPECT_NE(text.find("a.yaml line 3"), std::string::npos) << text;
  EXPECT_NE(text.find("did you mean optim.steps?"), std::string::npos) << text;
  EXPECT_NE(failure("loss: {name: info_nse}\n").find("did you mean info_nce?"), std::string::npos);
}

TEST_F(Yaml, RepeatedKeysAreRefused) { EXPECT_NE(failure("optim:\n  lr: 1\n  lr: 2\n").find("optim.lr: given twice"), std::string::npos); }

TEST_F(Yaml, MergeKeysAndSecondDocumentsAreRefused) {
  EXPECT_NE(failure("a: &x {lr: 1}\noptim:\n  <<: *x\n").find("merge keys"), std::string::npos);
  EXPECT_NE(failure("optim: {lr: 1}\n---\noptim: {lr: 2}\n").find("several documents"), std::string::npos);
}

TEST_F(Yaml, AnchorsAndAliasesAreRefusedWithTheirLine) {
  for (const char* text :
       {"optim:\n  lr: &a 1\n", "optim: {on: true}\nloss: &b {dims: [1]}\n", "optim: {on: true}\nloss: {dims: &c [1]}\n"}) {
    const std::string told = failure(text);
    EXPECT_NE(told.find("anchors, aliases and merge keys"), std::string::npos) << told;
    EXPECT_NE(told.find("a.yaml line 2"), std::string::npos) << told;
  }
}

TEST_F(Yaml, WhatIsWrongWithTheDocumentHasACodeOfItsOwn) {
  for (const char* text : {"optim:\n  lr: 1\n  lr: 2\n", "- 1\n", "a: {}\n---\nb: {}\n", "optim:\n\tlr: 1\n", "optim: {lr: &a 1}\n"}) {
    try {
      load(text);
      ADD_FAILURE() << text;
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), "F43") << text;
    }
  }
}

TEST_F(Yaml, WhatFollowsTheDocumentIsRefusedAtOnce) {
  for (const char* text :
       {"{optim: {lr: 1}},\n", "optim: {lr: 1}\n---\n,\n", ",", ", optim: {lr: 1}\n", "{optim: {lr: 1}}\n]\n", "[]}", "}"}) {
    const std::string told = failure(text);
    EXPECT_NE(told.find("a.yaml"), std::string::npos) << text << " | " << told;
  }
  const std::string told = failure("{optim:\n  {lr: 1}},\n");
  EXPECT_NE(told.find("a ',' stands where the document has ended"), std::string::npos) << told;
  EXPECT_NE(told.find("a.yaml line 2"), std::string::npos) << told;
  EXPECT_NE(failure("optim: {}\n", {"loss={dims: [1]},"}), "");
}

TEST_F(Yaml, BytesThatAreNoTextAreRefusedWithTheirPlace) {
  const std::string latin = failure("optim:\n  lr: 1\nloss: {name: \"caf\xe9\"}\n");
  EXPECT_NE(latin.find("not valid UTF-8"), std::string::npos) << latin;
  EXPECT_NE(latin.find("a.yaml line 3 offset=32"), std::string::npos) << latin;
  EXPECT_NE(failure("\xff\xfeo\x01").find("not valid UTF-8"), std::string::npos);
  EXPECT_NE(failure(std::string("optim: {lr: 1}\n\0", 16)).find("NUL byte"), std::string::npos);
  EXPECT_NE(failure("loss: {name: \"a\\0b\"}\n").find("the character NUL"), std::string::npos);
  EXPECT_NE(failure("\"o\\0\": {lr: 1}\n").find("the character NUL"), std::string::npos);
  EXPECT_NE(failure("optim: {}\n", {"loss.name=caf\xe9"}).find("not valid UTF-8"), std::string::npos);
  EXPECT_EQ(failure("# gr\xc3\xbc\xc3\x9f\noptim: {lr: 1}\n"), "");
}

TEST_F(Yaml, TagsAreRefusedWithTheirLine) {
  for (const char* text : {"optim:\n  !!python/object {lr: 1}\n", "optim:\n  lr: !!float 1\n", "loss: {name: cosent,\n dims: !mine [1]}\n",
                           "loss: {name: cosent,\n dims: !!null }\n", "optim: {lr: 1}\n!!str loss: {name: cosent}\n"}) {
    const std::string told = failure(text);
    EXPECT_NE(told.find("tags are not supported"), std::string::npos) << text << " | " << told;
    EXPECT_NE(told.find("a.yaml line 2"), std::string::npos) << told;
  }
  EXPECT_EQ(failure("optim: {lr: 1}\nloss: {name: \"cosent\"}\n"), "");
}

TEST_F(Yaml, AKeyIsFoundWithItsPlaceWhateverItsDepth) {
  const ConfigNode root = load("data:\n  rules:\n    x: {repeat: 2}\n");
  Section s(root);
  EXPECT_TRUE(s.given("data.rules.x.repeat"));
  EXPECT_FALSE(s.given("data.rules.y.repeat"));
  EXPECT_FALSE(s.given("data.rules.x.repeat.z"));
  int64_t repeat = 0, absent = 7;
  Section data = s.section("data"), rules = data.section("rules"), x = rules.section("x");
  x.read("repeat", repeat);
  x.read("max_rows", absent);
  const auto origins = s.origins();
  EXPECT_NE(origins.at("data.rules.x.repeat").find("a.yaml line 3"), std::string::npos);
  EXPECT_FALSE(origins.contains("data.rules.x.max_rows"));
  try {
    s.refuse("data.rules.x.repeat", "is bad", "change it");
  } catch (const Error& e) {
    EXPECT_EQ(std::string(e.what()), "data.rules.x.repeat: is bad");
    EXPECT_NE(e.where().find("a.yaml line 3"), std::string::npos);
  }
}

TEST_F(Yaml, AKeyIsRecordedWithItsDefaultAndWhetherItMayBeLeftOut) {
  const ConfigNode root = load("lr: 2.0\ntasks: {a: {share: 2}}\n");
  Section s(root);
  double lr = 0.10;
  int64_t share = 1, rank = 3;
  std::vector<int64_t> dims = {8, 16};
  s.read("lr", lr);
  s.read("dims", dims, Resume::may_change);
  ASSERT_TRUE(s.may_have("tasks"));
  Section tasks = s.section("tasks");
  ASSERT_EQ(tasks.names(), std::vector<std::string>{"a"});
  Section a = tasks.section("a");
  ASSERT_TRUE(a.may_have("share"));
  a.read("share", share);
  a.section("data").read("rank", rank);
  const std::vector<ConfigKey>& keys = s.read_keys();
  ASSERT_EQ(keys.size(), 4u);
  const auto describe = [](const ConfigKey& k) {
    return cat(k.path, '=', k.value, " default ", k.standard.value_or("none"), " within '", k.within,
               k.resume == Resume::may_change ? "' *" : "'");
  };
  EXPECT_EQ(describe(keys[0]), "lr=2 default 0.1 within ''");
  EXPECT_EQ(describe(keys[1]), "dims=[8, 16] default [8, 16] within '' *");
  EXPECT_EQ(describe(keys[2]), "tasks.a.share=2 default none within 'tasks.a'");
  EXPECT_EQ(describe(keys[3]), "tasks.a.data.rank=3 default 3 within 'tasks.a'");
}

TEST_F(Yaml, NumbersAreDecimalAndFinite) {
  EXPECT_NE(failure("optim: {steps: 010}\n").find("octal"), std::string::npos);
  EXPECT_NE(failure("optim: {steps: 1.5}\n").find("not an integer"), std::string::npos);
  EXPECT_NE(failure("optim: {lr: .nan}\n").find("not a finite number"), std::string::npos);
  EXPECT_NE(failure("optim: {lr: 1e999}\n").find("not a finite number"), std::string::npos);
  EXPECT_NE(failure("optim: {on: yes}\n").find("not a truth value"), std::string::npos);
  EXPECT_NE(failure("loss: {dims: [1, x]}\n").find("not an integer"), std::string::npos);
  EXPECT_NE(failure("optim: 3\n").find("needs a map of keys"), std::string::npos);
  EXPECT_EQ(failure("optim: {lr: 1e-5, steps: 10, on: true}\nloss: {dims: [8, 16], name: cosent}\n"), "");
}

TEST_F(Yaml, BrokenFilesAreRefusedWithTheirLine) {
  EXPECT_NE(failure("optim:\n\tlr: 1\n").find("line 2"), std::string::npos);
  EXPECT_NE(failure("- 1\n- 2\n").find("not a map"), std::string::npos);
  EXPECT_NE(failure(std::string(100000, '[')).find("not valid YAML"), std::string::npos);
  EXPECT_NE(failure("optim: {}\n", {"optim.lr"}).find("key.path=value"), std::string::npos);
  const std::filesystem::path missing = dir_ / "missing.yaml";
  EXPECT_THROW(load_config(std::span(&missing, 1), {}), Error);
}

TEST_F(Yaml, AFileOfMoreThanOneMebibyteIsRefused) { EXPECT_NE(failure(std::string((1 << 20) + 1, '#')).find("1 MiB"), std::string::npos); }

}  // namespace
}  // namespace lodestone
