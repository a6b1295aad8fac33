// Does `export` turn the checkpoint or the folder of a reranker into a folder that scores like the live model?
#include <gtest/gtest.h>

#include "launch/commands/export.h"
#include "launch/inference/scorer.h"
#include "tests/data/checkpoints/training_state.h"
#include "tests/support/tiny_reranker_folder.h"

namespace lodestone {
namespace {

using test::TempDir;

TEST(ExportReranker, RewritesAFolderAndACheckpoint) {
  const TempDir dir;
  const test::TinyRerankerFolder start;
  const auto backend = make_backend({.kind = BackendKind::cpu, .threads = 1});
  const ExportResult copy = export_model({start.path(), dir / "copy", {}}, *backend);
  EXPECT_EQ(copy.what, "model folder");
  EXPECT_LE(copy.largest_difference, 1e-6);
  for (const char* file : {"model.safetensors", "config.json", "tokenizer.json"})
    EXPECT_EQ(test::read_text(start.path() / file), test::read_text(dir / "copy" / file)) << file;

  const RerankerFolder model = read_reranker_folder(start.path());
  test::TrainingState<float> state(2, reranker_layout(model.config));
  keep_reranker_source(model, Tokenizer::from_folder(start.path()), dir / "run/source");
  test::save(dir / "run", 20, state, 3);
  EXPECT_EQ(export_model({dir / "run", dir / "trained", {}}, *backend).what, "checkpoint of step 20");
  const RerankerFolder trained = read_reranker_folder(dir / "trained");
  ParamStore params(backend->memory(), reranker_layout(trained.config), DType::f32);
  EXPECT_TRUE(load_weights(trained, params).empty());
  const auto values = params.masters().host<float>();
  EXPECT_EQ((std::vector<float>(values.begin(), values.end())), state.params);
}

TEST(ExportReranker, BesideADeviceComparesOnTheHost) {
  const TempDir dir;
  const test::TinyRerankerFolder start;
  const auto device = make_backend({.kind = BackendKind::debug});
  EXPECT_LE(export_model({start.path(), dir / "copy", {}}, *device).largest_difference, 1e-6);
  EXPECT_EQ(device->transfers().uploads, 0) << "a run leaves a device no room for two more models";
  EXPECT_EQ(test::read_text(start.path() / "model.safetensors"), test::read_text(dir / "copy/model.safetensors"));
}

}  // namespace
}  // namespace lodestone
