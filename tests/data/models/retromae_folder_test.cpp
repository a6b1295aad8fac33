// B5: an export after RetroMAE has the encoder and the masked-language-model head, no decoder layer, and starts the next stage.
#include <gtest/gtest.h>

#include "core/nn/retromae.h"
#include "data/files/safetensors.h"
#include "tests/support/tiny_folder.h"
#include "tests/support/tiny_model.h"

namespace lodestone::test {
namespace {

class RetroMaeFolder : public ::testing::Test {
 protected:
  TinyFolder tiny;
  TempDir dir;
  ModelFolder model = read_model_folder(tiny.path());
  std::unique_ptr<Backend> backend = make_backend({.kind = BackendKind::reference});
  ParamStore trained{backend->memory(), retromae_layout(model.config), DType::f32};

  RetroMaeFolder() { randomize(trained); }
  std::filesystem::path exported() {
    write_model_folder(dir / "out", model, trained, tiny.path(), {}, IfExists::refuse);
    return dir / "out";
  }
  static std::vector<float> values(const ParamStore& params, const std::string& name) {
    const auto v = params.master(params.layout().find(name)).host<float>();
    return {v.begin(), v.end()};
  }
};

TEST_F(RetroMaeFolder, B5_TheExportHasNoDecoderLayer) {
  const SafetensorsReader reader(exported() / "model.safetensors");
  for (const Param& p : trained.layout().params()) {
    const bool decoder = p.name.starts_with("decoder."), head = p.name.starts_with("cls.");
    EXPECT_EQ(reader.find(head ? p.name : "bert." + p.name) != nullptr, !decoder) << p.name;
  }
  for (const StoredTensor& t : reader.tensors()) EXPECT_EQ(t.name.find("decoder"), std::string::npos) << t.name;
}

TEST_F(RetroMaeFolder, B5_TheNextStageStartsFromTheEncoder) {
  const ModelFolder next = read_model_folder(exported());
  ParamStore params(backend->memory(), embedder_layout(next.config), DType::f32);
  EXPECT_TRUE(load_weights(next, params).empty());
  for (const Param& p : params.layout().params()) EXPECT_EQ(values(params, p.name), values(trained, p.name)) << p.name;
}

TEST_F(RetroMaeFolder, PreTrainingGoesOnFromTheHeadWhereTheFolderHasOne) {
  const ModelFolder next = read_model_folder(exported());
  ParamStore params(backend->memory(), retromae_layout(next.config), DType::f32);
  for (const std::string& name : load_weights(next, params)) EXPECT_TRUE(name.starts_with("decoder.")) << name;
  for (const Param& p : params.layout().params())
    if (!p.name.starts_with("decoder.")) {
      EXPECT_EQ(values(params, p.name), values(trained, p.name)) << p.name;
    }
}

TEST_F(RetroMaeFolder, WithoutAHeadTheStartingValuesStayAndAreNamed) {
  ParamStore params(backend->memory(), retromae_layout(model.config), DType::f32);
  initialize_parameters(model.config, params, 8);
  const std::vector<float> before = values(params, "cls.predictions.transform.dense.weight");
  const std::vector<std::string> left = load_weights(model, params);
  EXPECT_EQ(std::count_if(left.begin(), left.end(), [](const std::string& name) { return name.starts_with("cls."); }), 5);
  EXPECT_EQ(std::count_if(left.begin(), left.end(), [](const std::string& name) { return name.starts_with("decoder."); }), 16);
  EXPECT_EQ(left.size(), 21u);
  EXPECT_EQ(values(params, "cls.predictions.transform.dense.weight"), before);
  EXPECT_EQ(values(params, "cls.predictions.transform.LayerNorm.weight"), std::vector<float>(16, 1.0f));
  EXPECT_NE(before, std::vector<float>(16 * 16));
}

}  // namespace
}  // namespace lodestone::test
