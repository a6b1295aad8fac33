// Is a checkpoint whole or absent after any crash, and is every damaged byte named?
#include "data/checkpoints/checkpoint.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>

#include "data/files/durable.h"
#include "tests/data/checkpoints/training_state.h"
#include "tests/support/temp_dir.h"

namespace lodestone {
namespace {

namespace fs = std::filesystem;
using test::load;
using test::manifest_of;
using test::save;
using test::TempDir;
using test::write_parts;
template <class T>
using State = test::TrainingState<T>;

/// "CODE what | where" of the refusal, or "" when the checkpoint verifies.
std::string damage(const fs::path& checkpoint) {
  try {
    verify_checkpoint(checkpoint);
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::checkpoint);
    return cat(error.code(), " ", error.what(), " | ", error.where());
  }
  return "";
}

void expect_has(const std::string& text, const std::string& part) { EXPECT_NE(text.find(part), std::string::npos) << "got: " << text; }

TEST(Checkpoint, SharesAreContiguousAndDifferByAtMostOne) {
  for (const int64_t n : {0, 1, 7, 100})
    for (const int64_t world : {1, 2, 3, 5}) {
      int64_t next = 0;
      for (int64_t rank = 0; rank < world; ++rank) {
        const Slice s = checkpoint_share(n, rank, world);
        EXPECT_EQ(s.begin, next);
        EXPECT_LE(s.count() - n / world, 1);
        next = s.end;
      }
      EXPECT_EQ(next, n);
    }
}

template <class T>
class CheckpointTyped : public testing::Test {};
using Types = testing::Types<float, double>;
TYPED_TEST_SUITE(CheckpointTyped, Types);

TYPED_TEST(CheckpointTyped, LoadsTheSameBitsWhateverTheNumberOfRanksWas) {
  for (const int64_t ranks : {1, 2, 3, 4, 7}) {
    const TempDir dir;
    State<TypeParam> state(static_cast<uint64_t>(ranks));
    save(dir.path(), 5, state, ranks);
    EXPECT_TRUE(load<TypeParam>(dir / "checkpoint-5") == state);
    EXPECT_EQ(verify_checkpoint(dir / "checkpoint-5").parts.size(), static_cast<size_t>(ranks));
  }
}

TEST(Checkpoint, GoesFromOneRankToThreeToTwo) {
  const TempDir dir;
  State<float> state(1);
  for (const auto& [step, ranks] : {std::pair<int64_t, int64_t>{1, 1}, {2, 3}, {3, 2}}) {
    save(dir.path(), step, state, ranks);
    State<float> loaded = load<float>(dir / checkpoint_name(step));
    ASSERT_TRUE(loaded == state);
    for (float& x : loaded.params) x *= 1.25f;
    state = loaded;
  }
}

TEST(Checkpoint, HasMoreRanksThanElements) {
  const TempDir dir;
  ParamLayout layout;
  layout.add("a", {2}, Decay::no);
  State<float> state(3, layout);
  save(dir.path(), 1, state, 4);
  State<float> loaded(4, layout);
  load_checkpoint(dir / "checkpoint-1", layout, loaded.vectors());
  EXPECT_TRUE(loaded == state);
}

TEST(Checkpoint, LoadsOneVectorAlone) {
  const TempDir dir;
  State<float> state(4);
  save(dir.path(), 1, state, 2);
  State<float> loaded(5);
  const std::vector<float> before = loaded.m;
  const std::vector<CheckpointVector> vectors = loaded.vectors();
  load_checkpoint(dir / "checkpoint-1", loaded.layout, std::span(vectors).first(1));
  EXPECT_EQ(loaded.params, state.params);
  EXPECT_EQ(loaded.m, before);
}

TEST(Checkpoint, KeepsManifestAndDocuments) {
  const TempDir dir;
  State<float> state(5);
  save(dir.path(), 12, state, 1);
  const CheckpointManifest m = read_manifest(dir / "checkpoint-12");
  EXPECT_EQ(m.step, 12);
  EXPECT_EQ(m.save_id, 1012u);
  EXPECT_EQ(m.fingerprints.at("config"), "abc");
  EXPECT_EQ(m.documents.at("config.yaml"), "steps: 10\n");
  EXPECT_EQ(test::read_text(dir / "checkpoint-12/trainer_state.json"), "{\"global_step\": 1}\n");
}

TEST(Checkpoint, NamesEveryFlippedByte) {
  const TempDir dir;
  ParamLayout layout;
  layout.add("a.weight", {2, 3}, Decay::yes);
  layout.add("b.bias", {5}, Decay::no);
  State<float> state(6, layout);
  save(dir.path(), 1, state, 2);
  const fs::path checkpoint = dir / "checkpoint-1";
  ASSERT_EQ(damage(checkpoint), "");
  size_t flips = 0;
  for (const auto& entry : fs::directory_iterator(checkpoint)) {
    const std::string good = test::read_text(entry.path()), name = entry.path().filename().string();
    for (size_t at = 0; at < good.size(); ++at) {
      std::string bad = good;
      bad[at] = static_cast<char>(bad[at] ^ (1 << (at % 8)));
      test::write_text(entry.path(), bad);
      const std::string text = damage(checkpoint);
      ASSERT_NE(text.find(name), std::string::npos) << name << " byte " << at << ": " << text;
      State<float> loaded(7, layout);
      EXPECT_THROW(load_checkpoint(checkpoint, layout, loaded.vectors()), Error) << name << " byte " << at;
      ++flips;
    }
    test::write_text(entry.path(), good);
  }
  EXPECT_GT(flips, 1000u);
  EXPECT_EQ(damage(checkpoint), "");
}

TEST(Checkpoint, NamesTheTensorOfAFlippedValue) {
  const TempDir dir;
  State<float> state(8);
  save(dir.path(), 1, state, 1);
  const fs::path part = dir / "checkpoint-1/part-00000.safetensors";
  std::string bytes = test::read_text(part);
  bytes.back() = static_cast<char>(bytes.back() ^ 1);  // the last element of the last tensor of the last vector
  test::write_text(part, bytes);
  expect_has(damage(dir / "checkpoint-1"), "tensor=adam_v/encoder.layer.1.output.LayerNorm.bias[0:8]");
}

TEST(Checkpoint, NamesMissingCutAndForeignFiles) {
  const TempDir dir;
  State<float> state(9), other(10);
  save(dir.path(), 1, state, 2);
  save(dir.path(), 2, other, 2);
  const fs::path c = dir / "checkpoint-2", part = c / "part-00001.safetensors";
  const std::string good = test::read_text(part);
  test::write_text(c / "stray.txt", "ignored");
  EXPECT_EQ(damage(c), "");
  test::write_text(part, good.substr(0, good.size() - 1));
  expect_has(damage(c), "F23");
  test::write_text(part, "");
  expect_has(damage(c), "F23");
  fs::remove(part);
  expect_has(damage(c), "F23 the file is missing | file=" + part.string());
  fs::copy_file(dir / "checkpoint-1/part-00001.safetensors", part);
  const std::string mixed = damage(c);
  EXPECT_TRUE(mixed.starts_with("F2")) << mixed;
  expect_has(mixed, "part-00001");
  test::write_text(part, good);
  EXPECT_EQ(damage(c), "");
  fs::remove(c / "config.yaml");
  expect_has(damage(c), "config.yaml");
}

TEST(Checkpoint, NamesPartsOfAnotherSaveOfTheSameStep) {
  const TempDir dir;
  State<float> state(11);
  save(dir.path(), 1, state, 2);
  write_parts(dir.path(), 2, 77, state, 2);
  fs::copy_file(dir / "checkpoint-1/part-00001.safetensors", dir / "checkpoint-2.tmp/part-00001.safetensors",
                fs::copy_options::overwrite_existing);
  try {
    publish_checkpoint(dir.path(), manifest_of(2, 77), state.layout, state.vectors(), 2);
    FAIL() << "a mixed checkpoint was published";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), "F24");
  }
  EXPECT_EQ(list_checkpoints(dir.path()), (std::vector<int64_t>{1}));
}

TEST(Checkpoint, UsesTheOlderOneAndSaysSo) {
  const TempDir dir;
  State<float> one(12), two(13);
  save(dir.path(), 1, one, 1);
  save(dir.path(), 20, two, 1);
  fs::resize_file(dir / "checkpoint-20/part-00000.safetensors", 100);
  std::vector<std::string> messages;
  const auto found = find_newest_verified(dir.path(), messages);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->manifest.step, 1);
  ASSERT_EQ(messages.size(), 1u);
  expect_has(messages[0], "step 20 is not used: F23");
  expect_has(messages[0], "part-00000.safetensors");
  EXPECT_TRUE(load<float>(found->path) == one);
  fs::resize_file(dir / "checkpoint-1/manifest.json", 10);
  EXPECT_THROW(find_newest_verified(dir.path(), messages), Error);
}

TEST(Checkpoint, FindsNothingInAnEmptyOrMissingFolder) {
  const TempDir dir;
  std::vector<std::string> messages;
  EXPECT_FALSE(find_newest_verified(dir.path(), messages));
  EXPECT_FALSE(find_newest_verified(dir / "missing", messages));
  EXPECT_TRUE(messages.empty());
}

TEST(Checkpoint, ACrashAtAnyPointOfASaveLeavesTheOldOne) {
  State<float> old_state(14), new_state(15);
  for (int crash = 0; crash <= 5; ++crash) {
    const TempDir dir;
    save(dir.path(), 1, old_state, 2);
    begin_checkpoint(dir.path(), 2);
    const auto part = [&](int64_t rank) {
      write_part(dir.path(), 2, 7, rank, new_state.layout, new_state.vectors(), checkpoint_share(new_state.layout.count(), rank, 2));
    };
    if (crash >= 1) part(0);
    if (crash >= 2) part(1);
    if (crash >= 3) test::write_text(dir / "checkpoint-2.tmp/config.yaml", "half");
    if (crash == 3) fs::resize_file(dir / "checkpoint-2.tmp/part-00001.safetensors", 50);
    if (crash >= 4) test::write_text(dir / "checkpoint-2.tmp/manifest.json", "{\"half\":");
    if (crash == 5) {  // the next start: what was left does not disturb a save of the same step
      write_parts(dir.path(), 2, 8, new_state, 2);
      publish_checkpoint(dir.path(), manifest_of(2, 8), new_state.layout, new_state.vectors(), 2);
    }
    std::vector<std::string> messages;
    EXPECT_TRUE(sweep_temporaries(dir.path()).empty());
    const auto found = find_newest_verified(dir.path(), messages);
    ASSERT_TRUE(found);
    EXPECT_TRUE(messages.empty());
    EXPECT_TRUE(load<float>(found->path) == (crash == 5 ? new_state : old_state));
    for (const auto& entry : fs::directory_iterator(dir.path())) EXPECT_FALSE(entry.path().string().ends_with(".tmp")) << entry.path();
  }
}

TEST(Checkpoint, RefusesAnotherModelNamingTheTensor) {
  const TempDir dir;
  State<float> state(16);
  save(dir.path(), 1, state, 1);
  EmbedderConfig wider = test::tiny_config();
  wider.encoder.feed_forward = 20;
  State<float> other(17, test::tiny_layout(wider));
  try {
    load_checkpoint(dir / "checkpoint-1", other.layout, other.vectors());
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), "F26");
    expect_has(error.where(), "tensor=encoder.layer.0.intermediate.dense.weight");
  }
  State<double> wide(18);
  EXPECT_THROW(load_checkpoint(dir / "checkpoint-1", wide.layout, wide.vectors()), Error);
}

TEST(Checkpoint, KeepsTheNewestAndNeverFewerThanTwoThatVerify) {
  const TempDir dir;
  State<float> state(19);
  std::map<int64_t, bool> verified;
  for (const int64_t step : {1, 2, 3, 4}) save(dir.path(), step, state, 1);
  EXPECT_TRUE(retain_checkpoints(dir.path(), 3, std::nullopt, verified).empty());
  EXPECT_EQ(list_checkpoints(dir.path()), (std::vector<int64_t>{4, 3, 2}));
  EXPECT_TRUE(retain_checkpoints(dir.path(), 1, std::nullopt, verified).empty());
  EXPECT_EQ(list_checkpoints(dir.path()), (std::vector<int64_t>{4, 3}));
  save(dir.path(), 5, state, 1);
  fs::resize_file(dir / "checkpoint-5/manifest.json", 3);
  verified.clear();
  retain_checkpoints(dir.path(), 2, std::nullopt, verified);
  EXPECT_EQ(list_checkpoints(dir.path()), (std::vector<int64_t>{5, 4, 3}));  // 5 is damaged: it does not count
  save(dir.path(), 6, state, 1);
  retain_checkpoints(dir.path(), 2, 3, verified);
  EXPECT_EQ(list_checkpoints(dir.path()), (std::vector<int64_t>{6, 5, 4, 3}));  // 3 is pinned
}

TEST(Checkpoint, LeavesFilesOfOthersAlone) {
  const TempDir dir;
  State<float> state(23);
  std::map<int64_t, bool> verified;
  for (const int64_t step : {1, 2, 3, 4}) save(dir.path(), step, state, 1);
  const std::vector<std::string> foreign = {"checkpoint--1/notes", "checkpoint-0/notes", "checkpoint-02/notes", "checkpoint-best.tmp/notes",
                                            "checkpoint--1.tmp/notes"};
  for (const std::string& name : foreign) {
    fs::create_directories((dir / name).parent_path());
    test::write_text(dir / name, "x");
  }
  test::write_text(dir / "checkpoint-9.tmp", "x");  // a file: ours are folders
  fs::create_directories(dir / "checkpoint-7.tmp");
  fs::create_directories(dir / "checkpoint-1.deleting.tmp");
  EXPECT_TRUE(sweep_temporaries(dir.path()).empty());
  EXPECT_TRUE(retain_checkpoints(dir.path(), 2, std::nullopt, verified).empty());
  EXPECT_FALSE(fs::exists(dir / "checkpoint-7.tmp"));
  EXPECT_FALSE(fs::exists(dir / "checkpoint-1.deleting.tmp"));
  EXPECT_FALSE(fs::exists(dir / "checkpoint-1"));
  EXPECT_FALSE(fs::exists(dir / "checkpoint-2"));
  EXPECT_TRUE(fs::exists(dir / "checkpoint-9.tmp"));
  for (const std::string& name : foreign) EXPECT_TRUE(fs::exists(dir / name)) << name;
}

TEST(Checkpoint, AFullDiskLeavesTheOldOnesAndNoTemporaryFile) {
  const TempDir dir;
  State<float> state(20);
  save(dir.path(), 1, state, 1);
  begin_checkpoint(dir.path(), 2);
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);  // a write beyond the limit then fails as on a full disk
  const rlimit tight{2000, before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &tight);
  std::string code;
  try {
    write_part(dir.path(), 2, 7, 0, state.layout, state.vectors(), {0, state.layout.count()});
  } catch (const Error& error) {
    code = error.code();
    EXPECT_EQ(error.exit_code(), ExitCode::storage);
  }
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, old_handler);
  EXPECT_EQ(code, "F19");
  EXPECT_TRUE(fs::is_empty(dir / "checkpoint-2.tmp"));
  abandon_checkpoint(dir.path(), 2);
  EXPECT_EQ(std::distance(fs::directory_iterator(dir.path()), {}), 1);
  EXPECT_TRUE(load<float>(dir / "checkpoint-1") == state);
}

TEST(Checkpoint, FindsAnUnwritableFolderBeforeTheFirstStep) {
  const TempDir dir;
  EXPECT_NO_THROW(check_writable(dir / "new/run"));
  EXPECT_TRUE(fs::is_empty(dir / "new/run"));
  test::write_text(dir / "file", "x");
  try {
    check_writable(dir / "file");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), "F21");
    EXPECT_EQ(error.exit_code(), ExitCode::storage);
  }
}

}  // namespace
}  // namespace lodestone
