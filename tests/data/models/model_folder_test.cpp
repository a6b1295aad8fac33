// Do model folders come in as they are, go out complete, and get refused when they are not ours?
#include "data/models/model_folder.h"

#include <gtest/gtest.h>

#include "core/choice.h"
#include "data/files/safetensors.h"
#include "data/files/strict_json.h"
#include "data/models/model_export.h"
#include "tests/support/host_memory.h"
#include "tests/support/model_files.h"
#include "tests/support/temp_dir.h"

namespace lodestone {
namespace {

namespace fs = std::filesystem;
using test::TempDir;

/// A plain Hugging Face folder whose tensors are called prefix + name.
void write_plain_folder(const fs::path& folder, const ParamStore& params, const std::string& prefix,
                        const std::vector<NamedTensor>& extra = {}) {
  test::write_text(folder / "config.json", test::tiny_config_json);
  test::write_text(folder / "vocab.txt", test::tiny_vocab);
  std::vector<NamedTensor> tensors;
  for (const Param& p : params.layout().params())
    if (!p.name.starts_with("head.")) tensors.push_back({prefix + p.name, params.master(p)});
  tensors.insert(tensors.end(), extra.begin(), extra.end());
  write_safetensors(folder / "model.safetensors", tensors);
}

ParamStore make_params(const EmbedderConfig& config, uint64_t seed, DType compute = DType::f32) {
  ParamStore params(test::host_memory, test::tiny_layout(config), compute);
  test::fill_params(params, seed);
  return params;
}

void expect_equal(const ParamStore& a, const ParamStore& b) {
  const auto x = a.masters().host<float>(), y = b.masters().host<float>();
  EXPECT_TRUE(std::equal(x.begin(), x.end(), y.begin(), y.end()));
}

std::string refusal(const auto& call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::checkpoint);
    EXPECT_EQ(error.where().find('\n'), std::string::npos);
    return cat(error.what(), " | ", error.where(), " | ", error.remedy());
  }
  return "";
}

void expect_has(const std::string& text, const std::string& part) { EXPECT_NE(text.find(part), std::string::npos) << "got: " << text; }

TEST(ModelFolder, ReadsWeightsWithAndWithoutPrefix) {
  for (const char* prefix : {"", "bert.", "model."}) {
    const TempDir dir;
    const ParamStore source = make_params(test::tiny_config(), 1);
    std::vector<float> other(64, 1.0f);
    write_plain_folder(dir / "m", source, prefix, {{cat(prefix, "pooler.dense.weight"), Tensor(view(std::span(other))).reshape({8, 8})}});
    const ModelFolder folder = read_model_folder(dir / "m");
    EXPECT_FALSE(folder.has_modules);
    EXPECT_EQ(folder.config.pooling, Pooling::mean);
    EXPECT_EQ(folder.max_seq_length, 10);
    ParamStore loaded(test::host_memory, test::tiny_layout(folder.config), DType::f32);
    EXPECT_TRUE(load_weights(folder, loaded).empty());
    expect_equal(loaded, source);
  }
}

TEST(ModelFolder, ReadsOldLayerNormNamesAndIgnoresPretrainingHeads) {
  const TempDir dir;
  const ParamStore source = make_params(test::tiny_config(), 2);
  test::write_text(dir / "m/config.json", test::tiny_config_json);
  std::vector<NamedTensor> tensors;
  for (const Param& p : source.layout().params()) {
    std::string name = "bert." + p.name;
    if (const size_t at = name.find("LayerNorm.weight"); at != std::string::npos) name.replace(at, std::string::npos, "LayerNorm.gamma");
    if (const size_t at = name.find("LayerNorm.bias"); at != std::string::npos) name.replace(at, std::string::npos, "LayerNorm.beta");
    tensors.push_back({name, source.master(p)});
  }
  std::vector<float> other(12, 1.0f);
  tensors.push_back({"cls.predictions.bias", view(std::span(other))});
  write_safetensors(dir / "m/model.safetensors", tensors);
  const ModelFolder folder = read_model_folder(dir / "m");
  ParamStore loaded(test::host_memory, test::tiny_layout(folder.config), DType::f32);
  load_weights(folder, loaded);
  expect_equal(loaded, source);
}

TEST(ModelFolder, WritesWhatItReadsBackExactly) {
  for (const Pooling pooling : values_of<Pooling>())
    for (const bool head : {false, true})
      for (const bool normalize : {false, true}) {
        const TempDir dir;
        EmbedderConfig config = test::tiny_config();
        config.pooling = pooling;
        config.normalize = normalize;
        if (head) config.head = HeadConfig{.out_features = 6, .bias = normalize, .squash = normalize ? Squash::identity : Squash::tanh};
        const ParamStore source = make_params(config, 3);
        write_plain_folder(dir / "start", source, "");
        ModelFolder folder = read_model_folder(dir / "start");
        folder.config = config;
        folder.max_seq_length = 7;
        folder.prompts = {{"query", "ask: \"x\" "}, {"document", ""}};
        folder.default_prompt = "query";
        write_model_folder(dir / "out", folder, source, dir / "start", {}, IfExists::refuse);
        const ModelFolder again = read_model_folder(dir / "out");
        EXPECT_TRUE(again.has_modules);
        EXPECT_EQ(again.config.pooling, pooling);
        EXPECT_EQ(again.config.normalize, normalize);
        EXPECT_EQ(again.config.head.has_value(), head);
        if (head) {
          EXPECT_EQ(again.config.head->out_features, 6);
          EXPECT_EQ(again.config.head->bias, normalize);
          EXPECT_EQ(again.config.head->squash, normalize ? Squash::identity : Squash::tanh);
        }
        EXPECT_EQ(again.max_seq_length, 7);
        EXPECT_EQ(again.prompts, folder.prompts);
        EXPECT_EQ(again.default_prompt, "query");
        ParamStore loaded(test::host_memory, test::tiny_layout(again.config), DType::f32);
        EXPECT_TRUE(load_weights(again, loaded).empty());
        expect_equal(loaded, source);
        EXPECT_EQ(test::read_text(dir / "out/vocab.txt"), test::tiny_vocab);
        for (const char* file :
             {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "README.md", "sentence_bert_config.json"})
          EXPECT_TRUE(fs::exists(dir / "out" / file)) << file;
        for (const auto& entry : fs::directory_iterator(dir.path())) EXPECT_NE(entry.path().extension(), ".tmp") << entry.path();
      }
}

TEST(ModelFolder, RoundsDoubleMastersToFloatOnExport) {
  const TempDir dir;
  const ParamStore narrow = make_params(test::tiny_config(), 4), wide = make_params(test::tiny_config(), 4, DType::f64);
  write_plain_folder(dir / "start", narrow, "");
  const ModelFolder folder = read_model_folder(dir / "start");
  write_model_folder(dir / "out", folder, wide, dir / "start", {}, IfExists::refuse);
  ParamStore loaded(test::host_memory, test::tiny_layout(folder.config), DType::f32);
  load_weights(read_model_folder(dir / "out"), loaded);
  expect_equal(loaded, narrow);
}

TEST(ModelFolder, KeepsThePoolerOfItsSource) {
  const TempDir dir;
  const ParamStore source = make_params(test::tiny_config(), 5);
  std::vector<float> weight(64), bias(8, 2.5f);
  for (size_t i = 0; i < 64; ++i) weight[i] = static_cast<float>(i);
  write_plain_folder(
      dir / "start", source, "bert.",
      {{"bert.pooler.dense.weight", Tensor(view(std::span(weight))).reshape({8, 8})}, {"bert.pooler.dense.bias", view(std::span(bias))}});
  const ModelFolder folder = read_model_folder(dir / "start");
  const Tokenizer tokenizer = Tokenizer::from_folder(dir / "start"),
                  other = Tokenizer::from_vocab(dir / "start/vocab.txt", {.lower_case = false});
  EXPECT_THROW(keep_model_source(folder, other, dir / "kept"), Error) << "the export would fail";
  EXPECT_FALSE(fs::exists(dir / "kept"));
  keep_model_source(folder, tokenizer, dir / "kept");
  fs::remove_all(dir / "start");
  const ModelFolder kept = read_model_folder(dir / "kept");
  write_model_folder(dir / "out", kept, source, dir / "kept", {}, IfExists::refuse);
  const PoolerWeights pooler = read_pooler(dir / "out", 8);
  EXPECT_EQ(pooler.weight, weight);
  EXPECT_EQ(pooler.bias, bias);
}

TEST(ModelFolder, WritesTheKeysThatOldReadersNeed) {
  const TempDir dir;
  EmbedderConfig config = test::tiny_config();
  config.head = HeadConfig{.out_features = 6};
  const ParamStore source = make_params(config, 6);
  write_plain_folder(dir / "start", source, "");
  ModelFolder folder = read_model_folder(dir / "start");
  folder.config = config;
  write_model_folder(dir / "out", folder, source, dir / "start", {}, IfExists::refuse);
  const Json pooling = read_json_object(dir / "out/1_Pooling/config.json");
  EXPECT_EQ(pooling.at("word_embedding_dimension"), 8);
  EXPECT_EQ(pooling.at("pooling_mode_mean_tokens"), true);
  EXPECT_EQ(pooling.at("pooling_mode_cls_token"), false);
  const Json dense = read_json_object(dir / "out/2_Dense/config.json");
  EXPECT_EQ(dense.at("activation_function"), "torch.nn.modules.linear.Identity");
  const Json modules = Json::parse(test::read_text(dir / "out/modules.json"));
  ASSERT_EQ(modules.size(), 4u);
  EXPECT_EQ(modules[0].at("path"), "");
  EXPECT_EQ(modules[3].at("path"), "3_Normalize");
  EXPECT_EQ(modules[3].at("type"), "sentence_transformers.models.Normalize");
  const Json bert = read_json_object(dir / "out/config.json");
  EXPECT_EQ(bert.at("architectures"), Json::array({"BertModel"}));
  EXPECT_EQ(bert.at("pad_token_id"), 0);
}

// The published folders: Conan-embedding has a dense layer and does not normalise, BGE normalises and has no dense layer, GTE has
// pooling alone.
TEST(ModelFolder, ModulesAreThoseOfThePublishedModels) {
  struct Published {
    bool head, normalize;
    std::vector<std::string> modules;
  };
  for (const Published& p :
       {Published{true, false, {"Transformer", "Pooling", "Dense"}}, Published{false, true, {"Transformer", "Pooling", "Normalize"}},
        Published{false, false, {"Transformer", "Pooling"}}}) {
    const TempDir dir;
    EmbedderConfig config = test::tiny_config();
    config.normalize = p.normalize;
    if (p.head) config.head = HeadConfig{.out_features = 14};
    const ParamStore source = make_params(config, 6);
    write_plain_folder(dir / "start", source, "");
    ModelFolder folder = read_model_folder(dir / "start");
    folder.config = config;
    write_model_folder(dir / "out", folder, source, dir / "start", {}, IfExists::refuse);
    std::vector<std::string> modules;
    for (const auto& module : Json::parse(test::read_text(dir / "out/modules.json"))) {
      const std::string type = module.at("type");
      modules.push_back(type.substr(type.rfind('.') + 1));
    }
    EXPECT_EQ(modules, p.modules);
  }
}

TEST(ModelFolder, ReadsTheNewKeysOfSentenceTransformers) {
  const TempDir dir;
  const ParamStore source = make_params(test::tiny_config(), 7);
  write_plain_folder(dir / "m", source, "");
  test::write_text(dir / "m/modules.json",
                   R"([{"idx":0,"name":"0","path":"","type":"sentence_transformers.base.modules.transformer.Transformer"},
    {"idx":1,"name":"1","path":"1_Pooling","type":"sentence_transformers.sentence_transformer.modules.pooling.Pooling"}])");
  test::write_text(dir / "m/1_Pooling/config.json", R"({"embedding_dimension":8,"pooling_mode":"lasttoken","include_prompt":true})");
  test::write_text(dir / "m/tokenizer_config.json", R"({"model_max_length":1000000000000000019884624838656})");
  test::write_text(dir / "m/config_sentence_transformers.json",
                   R"({"prompts":{"query":null,"document":"d: "},"default_prompt_name":null})");
  const ModelFolder folder = read_model_folder(dir / "m");
  EXPECT_EQ(folder.config.pooling, Pooling::last_token);
  EXPECT_FALSE(folder.config.normalize);
  EXPECT_EQ(folder.max_seq_length, 10);
  EXPECT_EQ(folder.prompts.at("document"), "d: ");
  EXPECT_EQ(folder.prompts.at("query"), "");
}

TEST(ModelFolder, RefusesOtherModelsInOneLineThatNamesWhatWorks) {
  const std::pair<const char*, const char*> cases[] = {{R"("model_type": "bert")", R"("model_type": "xlm-roberta")"},
                                                       {R"("model_type": "bert",)", ""},
                                                       {R"("hidden_act": "gelu")", R"("hidden_act": "gelu_new")"},
                                                       {R"("pad_token_id": 0)", R"("position_embedding_type": "relative_key")"},
                                                       {R"("pad_token_id": 0)", R"("auto_map": {})"},
                                                       {R"("pad_token_id": 0)", R"("is_decoder": true)"},
                                                       {R"("num_attention_heads": 2)", R"("num_attention_heads": 3)"},
                                                       {R"("hidden_size": 8,)", ""},
                                                       {R"("vocab_size": 12)", R"("vocab_size": "12")"},
                                                       {R"("vocab_size": 12)", R"("vocab_size": 0)"},
                                                       {R"("hidden_dropout_prob": 0.1)", R"("hidden_dropout_prob": 1)"},
                                                       {R"("layer_norm_eps": 1e-12)", R"("layer_norm_eps": -1)"}};
  for (const auto& [from, to] : cases) {
    const TempDir dir;
    std::string json = test::tiny_config_json;
    const size_t at = json.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    json.replace(at, std::string_view(from).size(), to);
    test::write_text(dir / "config.json", json);
    const std::string text = refusal([&] { read_model_folder(dir.path()); });
    expect_has(text, "config.json");
    EXPECT_EQ(text.find('\n'), std::string::npos);
  }
  const TempDir dir;
  test::write_text(dir / "config.json", R"({"model_type": "xlm-roberta"})");
  const std::string text = refusal([&] { read_model_folder(dir.path()); });
  expect_has(text, "model_type \"xlm-roberta\" is not supported");
  expect_has(text, "models of type bert work");
}

TEST(ModelFolder, RefusesLengthsThatHaveNoRoomForAText) {
  for (const char* name : {"sentence_bert_config.json", "tokenizer_config.json"}) {
    const TempDir dir;
    test::write_text(dir / "config.json", test::tiny_config_json);
    const char* const key = name[0] == 's' ? "max_seq_length" : "model_max_length";
    const auto with = [&](int64_t tokens) {
      test::write_text(dir / name, cat("{\"", key, "\": ", tokens, "}"));
      return refusal([&] { read_model_folder(dir.path()); });
    };
    expect_has(with(2), cat(key, "\" is 2, which leaves no room for a text"));
    EXPECT_EQ(with(3), "");
    EXPECT_EQ(with(0), "") << "as good as not given";
  }
}

TEST(ModelFolder, LowerCasesOnlyWhereItsTokenizerDoes) {
  const TempDir dir;
  test::write_text(dir / "config.json", test::tiny_config_json);
  test::write_text(dir / "vocab.txt", test::tiny_vocab);
  test::write_text(dir / "sentence_bert_config.json", R"({"do_lower_case": true})");
  const auto read = [&] { (void)read_model_folder(dir.path()); };
  EXPECT_EQ(refusal(read), "") << "BertTokenizer's default";
  test::write_text(dir / "tokenizer_config.json", R"({"do_lower_case": false})");
  expect_has(refusal(read), "do_lower_case is set, but the tokenizer keeps capitals");
}

TEST(ModelFolder, RefusesPoolingsAndModulesThatDoNotExistHere) {
  const auto with = [](const std::string& modules, const std::string& pooling) {
    const TempDir dir;
    test::write_text(dir / "config.json", test::tiny_config_json);
    test::write_text(dir / "modules.json", modules);
    test::write_text(dir / "1_Pooling/config.json", pooling);
    return refusal([&] { read_model_folder(dir.path()); });
  };
  const auto module = [](const std::string& kind, const std::string& path) {
    return cat(R"({"path":")", path, R"(","type":"sentence_transformers.models.)", kind, "\"}");
  };
  const std::string good = cat("[", module("Transformer", ""), ",", module("Pooling", "1_Pooling"), "]");
  const std::string mean = R"({"word_embedding_dimension":8,"pooling_mode_mean_tokens":true})";
  EXPECT_EQ(with(good, mean), "");
  expect_has(with(good, R"({"word_embedding_dimension":8,"pooling_mode_max_tokens":true})"), "\"max\" is not supported");
  expect_has(with(good, R"({"pooling_mode_mean_tokens":true,"pooling_mode_cls_token":true})"), "side by side");
  expect_has(with(good, R"({"word_embedding_dimension":9,"pooling_mode_mean_tokens":true})"), "hidden_size is 8");
  expect_has(with(good, R"({"pooling_mode":"mean","include_prompt":false})"), "include_prompt");
  expect_has(with(cat("[", module("Transformer", ""), "]"), mean), "Pooling module is missing");
  expect_has(with(cat("[", module("Transformer", ""), ",", module("Pooling", "1_Pooling"), ",", module("LSTM", "2_LSTM"), "]"), mean),
             "module LSTM");
  expect_has(with(cat("[", module("Transformer", ""), ",", module("Pooling", "../1_Pooling"), "]"), mean), "leaves the folder");
  expect_has(with(R"([{"path":"","type":"custom_code.Transformer"}])", mean), "program code of its own");
}

TEST(ModelFolder, NamesTheTensorThatDoesNotFit) {
  const TempDir dir;
  EmbedderConfig deeper = test::tiny_config();
  deeper.encoder.layers = 3;
  write_plain_folder(dir / "deep", make_params(deeper, 8), "");
  ParamStore two = make_params(test::tiny_config(), 9);
  expect_has(refusal([&] { load_weights(read_model_folder(dir / "deep"), two); }), "tensor=encoder.layer.2.");
  write_plain_folder(dir / "m", two, "bert.");
  ParamStore three = make_params(deeper, 8);
  expect_has(refusal([&] { load_weights(read_model_folder(dir / "m"), three); }), "tensor=bert.encoder.layer.2.");
  EmbedderConfig wider = test::tiny_config();
  wider.encoder.vocab = 13;
  ParamStore more = make_params(wider, 8);
  expect_has(refusal([&] { load_weights(read_model_folder(dir / "m"), more); }), "its shape is [12,8], the configuration needs [13,8]");
}

TEST(ModelFolder, LeavesANewHeadToTheCaller) {
  const TempDir dir;
  write_plain_folder(dir / "m", make_params(test::tiny_config(), 10), "");
  EmbedderConfig config = test::tiny_config();
  config.head = HeadConfig{.out_features = 6};
  ParamStore params = make_params(config, 11);
  EXPECT_EQ(load_weights(read_model_folder(dir / "m"), params), (std::vector<std::string>{"head.weight", "head.bias"}));
}

TEST(ModelFolder, SaysWhyThereAreNoWeights) {
  const TempDir dir;
  test::write_text(dir / "config.json", test::tiny_config_json);
  test::write_text(dir / "pytorch_model.bin", "x");
  ParamStore params = make_params(test::tiny_config(), 12);
  expect_has(refusal([&] { load_weights(read_model_folder(dir.path()), params); }), "safe_serialization");
}

TEST(ModelFolder, KeepsAnExistingFolderUnlessToldToReplaceIt) {
  const TempDir dir;
  const ParamStore source = make_params(test::tiny_config(), 13);
  write_plain_folder(dir / "start", source, "");
  const ModelFolder folder = read_model_folder(dir / "start");
  test::write_text(dir / "out/precious", "x");
  EXPECT_THROW(write_model_folder(dir / "out", folder, source, dir / "start", {}, IfExists::refuse), Error);
  EXPECT_TRUE(fs::exists(dir / "out/precious"));
  write_model_folder(dir / "out/", folder, source, dir / "start", {}, IfExists::replace);
  EXPECT_FALSE(fs::exists(dir / "out/precious"));
  EXPECT_TRUE(fs::exists(dir / "out/config.json"));
  EXPECT_EQ(std::distance(fs::directory_iterator(dir.path()), {}), 2);  // start and out: nothing temporary is left
}

TEST(ModelFolder, LeavesNothingBehindWhenAnExportFails) {
  const TempDir dir;
  const ParamStore source = make_params(test::tiny_config(), 14);
  write_plain_folder(dir / "start", source, "");
  const ModelFolder folder = read_model_folder(dir / "start");
  fs::remove(dir / "start/vocab.txt");
  EXPECT_THROW(write_model_folder(dir / "out", folder, source, dir / "start", {}, IfExists::refuse), Error);
  EXPECT_EQ(std::distance(fs::directory_iterator(dir.path()), {}), 1);
}

TEST(ModelFolder, StartsFromAConfigurationAndAVocabulary) {
  const TempDir dir;
  test::write_text(dir / "c.json", test::tiny_config_json);
  test::write_text(dir / "v.txt", test::tiny_vocab);
  ModelFolder model = read_model_config(dir / "c.json");
  model.config.pooling = Pooling::cls;
  const Tokenizer good = Tokenizer::from_vocab(dir / "v.txt", {});
  make_model_source(model, good, dir / "source");
  const ModelFolder kept = read_model_folder(dir / "source");
  EXPECT_EQ(kept.config.pooling, Pooling::cls);
  EXPECT_EQ(test::read_text(dir / "source/vocab.txt"), test::tiny_vocab);
  const Json tokenizer = read_json_object(dir / "source/tokenizer.json");
  EXPECT_EQ(tokenizer.at("model").at("vocab").at("word"), 11);
  EXPECT_EQ(tokenizer.at("post_processor").at("single").at(0).at("SpecialToken").at("id"), "[CLS]");
}

}  // namespace
}  // namespace lodestone
