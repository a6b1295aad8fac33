// Do the folders of cross-encoders come in as they are, go out as Hugging Face writes them, and start from plain encoders?
#include "data/models/reranker_folder.h"

#include <gtest/gtest.h>

#include "data/files/safetensors.h"
#include "data/files/strict_json.h"
#include "tests/support/host_memory.h"
#include "tests/support/model_files.h"
#include "tests/support/temp_dir.h"

namespace lodestone {
namespace {

namespace fs = std::filesystem;
using test::TempDir;

RerankerConfig tiny_reranker() { return {.encoder = test::tiny_config().encoder, .classifier_dropout = 0.25}; }

/// The names and shapes that BertForSequenceClassification gives its parameters, written out here independently of the layout.
ParamStore hugging_face_params(uint64_t seed, int64_t labels) {
  ParamLayout layout;
  const ParamLayout encoder = test::tiny_layout(test::tiny_config());
  for (const Param& p : encoder.params()) layout.add("bert." + p.name, p.shape, p.decay);
  layout.add("bert.pooler.dense.weight", {8, 8}, Decay::yes);
  layout.add("bert.pooler.dense.bias", {8}, Decay::no);
  layout.add("classifier.weight", {labels, 8}, Decay::yes);
  layout.add("classifier.bias", {labels}, Decay::no);
  ParamStore params(test::host_memory, std::move(layout), DType::f32);
  test::fill_params(params, seed);
  return params;
}

/// Writes a folder with the tensors whose names `keep` accepts, and tiny_config_json with `keys` in front.
void write_folder_of(const fs::path& folder, const ParamStore& params, const std::string& keys, auto keep) {
  test::write_text(folder / "config.json", "{" + keys + std::string(test::tiny_config_json).substr(1));
  test::write_text(folder / "vocab.txt", test::tiny_vocab);
  std::vector<NamedTensor> tensors;
  for (const Param& p : params.layout().params())
    if (keep(p.name)) tensors.push_back({p.name, params.master(p)});
  write_safetensors(folder / "model.safetensors", tensors);
}

constexpr const char* one_label = R"("architectures": ["BertForSequenceClassification"], "id2label": {"0": "LABEL_0"}, )";
constexpr const char* three_labels = R"("architectures": ["BertForSequenceClassification"], "id2label": {"0": "a", "1": "b", "2": "c"}, )";
const auto all = [](const std::string&) { return true; };

std::vector<float> values(const ParamStore& params, const std::string& name) {
  const auto v = params.master(params.layout().find(name)).host<float>();
  return {v.begin(), v.end()};
}

TEST(RerankerFolder, ReadsWhatHuggingFaceWrites) {
  const TempDir dir;
  const ParamStore source = hugging_face_params(1, 1);
  write_folder_of(dir / "m", source, one_label, all);
  ASSERT_TRUE(is_reranker_folder(dir / "m"));
  const RerankerFolder folder = read_reranker_folder(dir / "m");
  EXPECT_TRUE(folder.has_classifier);
  EXPECT_EQ(folder.config.classifier_dropout, 0.1);  // absent: that of the hidden layers
  EXPECT_EQ(folder.max_seq_length, 10);
  ParamStore params(test::host_memory, reranker_layout(folder.config), DType::f32);
  EXPECT_TRUE(load_weights(folder, params).empty());
  for (const Param& p : params.layout().params())
    EXPECT_EQ(values(params, p.name), values(source, p.name.starts_with("classifier.") ? p.name : "bert." + p.name)) << p.name;
}

TEST(RerankerFolder, OneLabelMayAlsoBeSaidByNumLabels) {
  const TempDir dir;
  write_folder_of(dir / "m", hugging_face_params(1, 1), R"("architectures": ["BertForSequenceClassification"], "num_labels": 1, )", all);
  EXPECT_TRUE(is_reranker_folder(dir / "m"));
  write_folder_of(dir / "n", hugging_face_params(1, 2), R"("architectures": ["BertForSequenceClassification"], )", all);
  EXPECT_FALSE(is_reranker_folder(dir / "n"));  // two is the default
  EXPECT_FALSE(is_reranker_folder(dir / "nothing"));
}

TEST(RerankerFolder, StartsFromAnEncoderWithOrWithoutPooler) {
  const TempDir dir;
  const ParamStore source = hugging_face_params(2, 3);
  write_folder_of(dir / "labels", source, three_labels, all);
  write_folder_of(dir / "pooler", source, "", [](const std::string& name) { return name.starts_with("bert."); });
  write_folder_of(dir / "plain", source, "",
                  [](const std::string& name) { return name.starts_with("bert.") && !name.starts_with("bert.pooler."); });
  for (const char* name : {"labels", "pooler", "plain"}) {
    const RerankerFolder folder = read_reranker_folder(dir / name);
    EXPECT_FALSE(folder.has_classifier);
    ParamStore params(test::host_memory, reranker_layout(folder.config), DType::f32);
    initialize_parameters(folder.config.body(), params, 5);
    const std::vector<float> pooler = values(params, "pooler.dense.weight"), classifier = values(params, "classifier.weight");
    const std::vector<std::string> left = load_weights(folder, params);
    const bool has_pooler = name != std::string("plain");
    EXPECT_EQ(left.size(), has_pooler ? 2u : 4u);
    EXPECT_EQ(values(params, "pooler.dense.weight"), has_pooler ? values(source, "bert.pooler.dense.weight") : pooler) << name;
    EXPECT_EQ(values(params, "classifier.weight"), classifier) << name;
    EXPECT_EQ(values(params, "embeddings.LayerNorm.bias"), values(source, "bert.embeddings.LayerNorm.bias")) << name;
  }
}

TEST(RerankerFolder, WritesWhatItReadsBackExactlyUnderHuggingFacesNames) {
  for (const DType dtype : {DType::f32, DType::f64}) {
    const TempDir dir;
    write_folder_of(dir / "start", hugging_face_params(3, 3), three_labels, all);
    RerankerFolder folder = read_reranker_folder(dir / "start");
    folder.config = tiny_reranker();
    ParamStore params(test::host_memory, reranker_layout(folder.config), dtype);
    test::fill_params(params, 4);
    write_reranker_folder(dir / "out", folder, params, dir / "start", {}, IfExists::refuse);
    ASSERT_TRUE(is_reranker_folder(dir / "out"));
    const RerankerFolder again = read_reranker_folder(dir / "out");
    EXPECT_EQ(again.config.classifier_dropout, 0.25);
    ParamStore loaded(test::host_memory, reranker_layout(again.config), dtype);
    EXPECT_TRUE(load_weights(again, loaded).empty());
    for (int64_t i = 0; i < loaded.layout().count(); ++i) {
      if (dtype == DType::f64)
        ASSERT_EQ(loaded.masters().host<double>()[static_cast<size_t>(i)],
                  static_cast<float>(params.masters().host<double>()[static_cast<size_t>(i)]));
      else
        ASSERT_EQ(loaded.masters().host<float>()[static_cast<size_t>(i)], params.masters().host<float>()[static_cast<size_t>(i)]);
    }
    const SafetensorsReader weights(dir / "out/model.safetensors");
    const ParamStore expected = hugging_face_params(1, 1);
    EXPECT_EQ(weights.tensors().size(), expected.layout().params().size());
    for (const Param& p : expected.layout().params()) EXPECT_NE(weights.find(p.name), nullptr) << p.name;
    const Json config = read_json_object(dir / "out/config.json");
    EXPECT_EQ(config.at("architectures"), Json::array({"BertForSequenceClassification"}));
    EXPECT_EQ(config.at("id2label").size(), 1u);
    EXPECT_EQ(config.at("label2id").at("LABEL_0"), 0);
    EXPECT_NE(test::read_text(dir / "out/README.md").find("CrossEncoder"), std::string::npos);
    EXPECT_FALSE(fs::exists(dir / "out/modules.json"));  // an embedder's
  }
}

TEST(RerankerFolder, ItsSourceIsEnoughForAnExport) {
  const TempDir dir;
  write_folder_of(dir / "start", hugging_face_params(3, 3), "", [](const std::string& name) { return name.starts_with("bert."); });
  RerankerFolder folder = read_reranker_folder(dir / "start");
  folder.max_seq_length -= 4;  // as a configuration may ask
  keep_reranker_source(folder, Tokenizer::from_folder(dir / "start"), dir / "source");
  EXPECT_TRUE(is_reranker_folder(dir / "source"));
  const RerankerFolder kept = read_reranker_folder(dir / "source");
  ParamStore params(test::host_memory, reranker_layout(kept.config), DType::f32);
  test::fill_params(params, 4);
  write_reranker_folder(dir / "out", kept, params, dir / "source", {}, IfExists::refuse);
  EXPECT_EQ(read_reranker_folder(dir / "out").max_seq_length, folder.max_seq_length);
}

TEST(RerankerFolder, RefusesWhatIsIncompleteOrMeansSomethingElse) {
  const TempDir dir;
  const ParamStore source = hugging_face_params(1, 1);
  write_folder_of(dir / "m", source, one_label, [](const std::string& name) { return name != "classifier.bias"; });
  const RerankerFolder folder = read_reranker_folder(dir / "m");
  ParamStore params(test::host_memory, reranker_layout(folder.config), DType::f32);
  EXPECT_THROW(load_weights(folder, params), Error);
  write_folder_of(dir / "n", source, one_label, [](const std::string& name) { return name != "bert.pooler.dense.bias"; });
  EXPECT_THROW(load_weights(read_reranker_folder(dir / "n"), params), Error);
  test::write_text(dir / "m/config_sentence_transformers.json",
                   R"({"model_type": "CrossEncoder", "prompts": {"q": "ask: "}, "default_prompt_name": "q"})");
  EXPECT_THROW(read_reranker_folder(dir / "m"), Error);
  write_folder_of(dir / "p", source, R"("classifier_dropout": 1.5, )", all);
  EXPECT_THROW(read_reranker_folder(dir / "p"), Error);
}

}  // namespace
}  // namespace lodestone
