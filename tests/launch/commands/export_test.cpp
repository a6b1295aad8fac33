// Does `export` turn checkpoints, run folders and model folders into folders that embed like the live model?
#include "launch/commands/export.h"

#include <gtest/gtest.h>

#include "data/files/safetensors.h"
#include "data/files/strict_json.h"
#include "data/models/model_export.h"
#include "launch/networks/verify_export.h"
#include "tests/data/checkpoints/training_state.h"
#include "tests/support/host_memory.h"
#include "tests/support/temp_dir.h"

namespace lodestone {
namespace {

namespace fs = std::filesystem;
using test::TempDir;

EmbedderConfig config() {
  EmbedderConfig c = test::tiny_config();
  c.head = HeadConfig{.out_features = 6};
  return c;
}

/// A run folder with the starting model's files and the checkpoints of two steps.
struct TinyRun {
  explicit TinyRun(const fs::path& folder) : first(1, embedder_layout(config())), second(2, embedder_layout(config())) {
    test::write_text(folder / "config.json", test::tiny_config_json);
    test::write_text(folder / "vocab.txt", test::tiny_vocab);
    ModelFolder model = read_model_config(folder / "config.json");
    model.config = config();
    model.prompts = {{"query", "a: "}};
    make_model_source(model, Tokenizer::from_vocab(folder / "vocab.txt", {}), folder / "run/source");
    test::save(folder / "run", 10, first, 2);
    test::save(folder / "run", 20, second, 3);
  }
  test::TrainingState<float> first, second;
};

std::vector<float> exported_values(const fs::path& folder) {
  const ModelFolder model = read_model_folder(folder);
  ParamStore params(test::host_memory, embedder_layout(model.config), DType::f32);
  load_weights(model, params);
  const auto values = params.masters().host<float>();
  return {values.begin(), values.end()};
}

TEST(Export, WritesACheckpointOrTheNewestOfARun) {
  const TempDir dir;
  const TinyRun run(dir.path());
  const auto backend = make_backend({.kind = BackendKind::cpu, .threads = 1});
  const ExportResult old = export_model({dir / "run/checkpoint-10", dir / "old", {}}, *backend);
  EXPECT_EQ(old.what, "checkpoint of step 10");
  EXPECT_LE(old.largest_difference, 1e-6);
  EXPECT_EQ(exported_values(dir / "old"), run.first.params);
  EXPECT_EQ(export_model({dir / "run/", dir / "new/", {}}, *backend).what, "checkpoint of step 20");
  EXPECT_EQ(exported_values(dir / "new"), run.second.params);
  EXPECT_EQ(read_model_folder(dir / "new").prompts.at("query"), "a: ");
}

TEST(Export, PassesOverADamagedCheckpointAndSaysSo) {
  const TempDir dir;
  const TinyRun run(dir.path());
  fs::resize_file(dir / "run/checkpoint-20/manifest.json", 10);
  const auto backend = make_backend({.kind = BackendKind::cpu, .threads = 1});
  const ExportResult result = export_model({dir / "run", dir / "out", {}}, *backend);
  EXPECT_EQ(result.what, "checkpoint of step 10");
  ASSERT_EQ(result.messages.size(), 1u);
  EXPECT_THROW(export_model({dir / "run/checkpoint-20", dir / "out2", {}}, *backend), Error);
  EXPECT_FALSE(fs::exists(dir / "out2"));
}

TEST(Export, RewritesAModelFolder) {
  const TempDir dir;
  const TinyRun run(dir.path());
  const auto backend = make_backend({.kind = BackendKind::cpu, .threads = 1});
  export_model({dir / "run", dir / "one", {}}, *backend);
  EXPECT_EQ(export_model({dir / "one", dir / "two", {}}, *backend).what, "model folder");
  EXPECT_EQ(exported_values(dir / "two"), run.second.params);
  for (const char* file : {"model.safetensors", "config.json", "modules.json", "vocab.txt", "tokenizer.json", "2_Dense/model.safetensors",
                           "config_sentence_transformers.json"})
    EXPECT_EQ(test::read_text(dir / "one" / file), test::read_text(dir / "two" / file)) << file;
}

TEST(Export, BesideADeviceComparesOnTheHostAndWritesWhatTheHostWrites) {
  const TempDir dir;
  const TinyRun run(dir.path());
  const auto device = make_backend({.kind = BackendKind::debug});
  EXPECT_LE(export_model({dir / "run", dir / "trained", {}}, *device).largest_difference, 1e-6);
  EXPECT_EQ(exported_values(dir / "trained"), run.second.params);
  EXPECT_LE(export_model({dir / "trained", dir / "copy", {}}, *device).largest_difference, 1e-6);
  EXPECT_EQ(exported_values(dir / "copy"), run.second.params);
  EXPECT_EQ(device->transfers().uploads, 0) << "a run leaves a device no room for two more models";
}

TEST(Export, RefusesATokenizerThatTheWrittenFilesDoNotGive) {
  const TempDir dir;
  const TinyRun run(dir.path());
  const auto backend = make_backend({.kind = BackendKind::cpu, .threads = 1});
  export_model({dir / "run", dir / "model", {}}, *backend);
  const ModelFolder model = read_model_folder(dir / "model");
  ParamStore params(test::host_memory, embedder_layout(model.config), DType::f32);
  load_weights(model, params);
  const Tokenizer cased = Tokenizer::from_vocab(dir / "vocab.txt", {.lower_case = false});
  try {
    export_verified(dir / "out", LiveModel{model, params, cased}, dir / "model", {}, *backend);
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), "export");
    EXPECT_STREQ(error.what(), "the tokenizer of the written folder is another one to a program that reads it by AutoTokenizer");
  }
  EXPECT_FALSE(fs::exists(dir / "out"));
}

TEST(Export, MakesATokenizerJsonThatSaysSomethingElseThanTheFolderAnew) {
  const TempDir dir;
  const TinyRun run(dir.path());
  const auto backend = make_backend({.kind = BackendKind::cpu, .threads = 1});
  export_model({dir / "run", dir / "model", {}}, *backend);
  Json json = read_json_object(dir / "model/tokenizer.json");
  json["normalizer"]["lowercase"] = false;
  test::write_text(dir / "model/tokenizer.json", json.dump());
  test::write_text(dir / "model/tokenizer_config.json", "{}");  // for Hugging Face: a BertTokenizer in lower case
  export_model({dir / "model", dir / "out", {}}, *backend);
  EXPECT_EQ(read_json_object(dir / "out/tokenizer.json")["normalizer"]["lowercase"], true);
}

TEST(Export, WarnsOfAVocabularyThatWasCut) {
  const TempDir dir;
  const TinyRun run(dir.path());
  const auto backend = make_backend({.kind = BackendKind::cpu, .threads = 1});
  EXPECT_TRUE(export_model({dir / "run", dir / "model", {}}, *backend).messages.empty());
  const std::string lines = test::read_text(dir / "model/vocab.txt");
  test::write_text(dir / "model/vocab.txt", lines.substr(0, lines.rfind('\n', lines.size() - 2) + 1));
  fs::remove(dir / "model/tokenizer.json");
  EXPECT_EQ(export_model({dir / "model", dir / "out", {}}, *backend).messages.size(), 1u);
}

TEST(Export, RefusesWhatItCannotExport) {
  const TempDir dir;
  const TinyRun run(dir.path());
  const auto backend = make_backend({.kind = BackendKind::cpu, .threads = 1});
  EXPECT_THROW(export_model({dir / "nothing", dir / "out", {}}, *backend), Error);
  fs::create_directories(dir / "taken");
  EXPECT_THROW(export_model({dir / "run", dir / "taken", {}}, *backend), Error);
  fs::rename(dir / "run/source", dir / "elsewhere");
  EXPECT_THROW(export_model({dir / "run", dir / "out", {}}, *backend), Error);
  EXPECT_EQ(export_model({dir / "run", dir / "out", dir / "elsewhere"}, *backend).what, "checkpoint of step 20");
}

}  // namespace
}  // namespace lodestone
