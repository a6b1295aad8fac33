// Does a run start from what the model folder has, and say which part of the model is new?
#include "launch/networks/network.h"

#include <gtest/gtest.h>

#include <fstream>

#include "core/choice.h"
#include "data/files/strict_json.h"
#include "tests/support/host_memory.h"
#include "tests/support/tiny_folder.h"

namespace lodestone {
namespace {

namespace fs = std::filesystem;
using test::TempDir;
using test::TinyFolder;

/// What a configuration with model.folder and model.head opens.
struct Opened {
  Opened(const fs::path& folder, int64_t head, int64_t seed = 42) : backend(make_backend({.kind = BackendKind::reference})) {
    config.model.folder = folder;
    config.model.head = head;
    config.train.seed = seed;
    config.train.precision = DType::f32;
    config.tasks.resize(1);
    config.tasks[0].data.query_max_len = config.tasks[0].data.passage_max_len = 16;
    network = open_network(config, Weights::values, *backend);
  }
  std::vector<float> values(const std::string& name) const {
    const auto span = network->params().master(network->params().layout().find(name)).host<float>();
    return {span.begin(), span.end()};
  }
  RunConfig config;
  std::unique_ptr<Backend> backend;
  std::unique_ptr<Network> network;
};

/// The folder that transformers writes of the same encoder: no modules.
void make_plain(const fs::path& from, const fs::path& to) {
  fs::create_directories(to);
  for (const char* file : {"config.json", "model.safetensors", "vocab.txt", "tokenizer_config.json"}) fs::copy_file(from / file, to / file);
}

/// The folder with a dense layer of 6 outputs behind pooling, and a tanh behind that.
void make_dense(const fs::path& from, const fs::path& to) {
  ModelFolder model = read_model_folder(from);
  model.config.head = HeadConfig{.out_features = 6, .squash = Squash::tanh};
  model.new_head = true;
  ParamStore params(test::host_memory, embedder_layout(model.config), DType::f32);
  initialize_parameters(model.config, params, 99);
  EXPECT_EQ(load_weights(model, params), (std::vector<std::string>{"head.weight", "head.bias"}));
  write_model_folder(to, model, params, from, {}, IfExists::refuse);
}

TEST(Network, AnExportTakesTextsAsLongAsItsBaseDoesUnlessAskedOtherwise) {
  const TinyFolder tiny;  // 32 positions
  const TempDir dir;
  constexpr int64_t base = 20;
  fs::copy(tiny.path(), dir / "base", fs::copy_options::recursive);
  std::ofstream(dir / "base" / "sentence_bert_config.json") << "{\"max_seq_length\": 20}";
  const auto exported = [&](int64_t trained, int64_t asked) {
    const auto backend = make_backend({.kind = BackendKind::reference});
    RunConfig config;
    config.model.folder = dir / "base";
    config.model.max_seq_length = asked;
    config.train.precision = DType::f32;
    config.tasks.resize(1);
    config.tasks[0].data.query_max_len = trained;
    config.tasks[0].data.passage_max_len = 4;
    return open_network(config, Weights::values, *backend)->exported_length();
  };
  EXPECT_EQ(exported(base - 3, 0), base);
  EXPECT_EQ(exported(base + 2, 0), base + 2) << "training used more";
  EXPECT_EQ(exported(base - 3, base - 1), base - 1);
  EXPECT_THROW(exported(4, 100000), Error);
}

/// A run's model by model.dropout and model.attention_dropout (-1: not given).
struct Dropped {
  Dropped(const fs::path& folder, ObjectiveKind objective, double both, double attention)
      : backend(make_backend({.kind = BackendKind::reference})) {
    config.objective.kind = objective;
    config.model.folder = folder;
    config.model.dropout = both;
    config.model.attention_dropout = attention;
    config.train.precision = DType::f32;
    config.tasks.resize(1);
    config.tasks[0].data.query_max_len = config.tasks[0].data.passage_max_len = 8;
    network = open_network(config, Weights::values, *backend);
  }
  /// The exported config.json, which Hugging Face's models read.
  OrderedJson exported() const {
    const TempDir dir;
    const Tokenizer tokenizer = open_tokenizer(config, network->encoder_config());
    network->keep_source(tokenizer, dir / "source");
    network->write(dir / "model", dir / "source", {}, tokenizer, *backend);
    return OrderedJson::parse(std::ifstream(dir / "model" / "config.json"));
  }
  RunConfig config;
  std::unique_ptr<Backend> backend;
  std::unique_ptr<Network> network;
};

/// The folder with other dropouts in its config.json.
void set_dropouts(const fs::path& folder, double hidden, double attention) {
  OrderedJson json = OrderedJson::parse(std::ifstream(folder / "config.json"));
  json["hidden_dropout_prob"] = hidden;
  json["attention_probs_dropout_prob"] = attention;
  std::ofstream(folder / "config.json") << json;
}

TEST(Network, DropoutIsTheFoldersUnlessItIsGivenForBothOrForAttentionAlone) {
  const TinyFolder tiny;
  set_dropouts(tiny.path(), 0.3, 0.4);
  const struct {
    double both, attention, hidden_expected, attention_expected;
  } cases[] = {{-1, -1, 0.3, 0.4}, {0.2, -1, 0.2, 0.2}, {-1, 0, 0.3, 0}, {-1, 0.5, 0.3, 0.5}, {0.2, 0, 0.2, 0}, {0, 0.5, 0, 0.5}};
  for (const auto& c : cases)
    for (const ObjectiveKind objective : values_of<ObjectiveKind>()) {
      SCOPED_TRACE(cat(name_of(objective), ", dropout ", c.both, ", attention_dropout ", c.attention));
      const Dropped run(tiny.path(), objective, c.both, c.attention);
      EXPECT_EQ(run.network->encoder_config().hidden_dropout, c.hidden_expected);
      EXPECT_EQ(run.network->encoder_config().attention_dropout, c.attention_expected);
    }
}

TEST(Network, AnExportNamesBothDropoutsAsHuggingFaceDoes) {
  const TinyFolder tiny;
  for (const ObjectiveKind objective : values_of<ObjectiveKind>()) {
    OrderedJson json = Dropped(tiny.path(), objective, 0.2, 0.05).exported();
    EXPECT_EQ(json["hidden_dropout_prob"], 0.2);
    EXPECT_EQ(json["attention_probs_dropout_prob"], 0.05);
    // Of a reranker's classifier null: as hidden_dropout_prob.
    EXPECT_EQ(json.contains("classifier_dropout"), objective == ObjectiveKind::reranker);
    EXPECT_TRUE(json["classifier_dropout"].is_null());
  }
}

TEST(Network, ATokenizerBeyondTheTableIsRefusedAsEverywhere) {
  const TinyFolder tiny;
  RunConfig config;
  config.model.folder = tiny.path();
  EncoderConfig encoder;
  encoder.vocab = 13;  // the vocabulary has 14
  try {
    open_tokenizer(config, encoder);
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::checkpoint);
    EXPECT_EQ(error.code(), "F42");
    EXPECT_STREQ(error.what(), "the tokenizer has 14 tokens, the model only 13");
  }
}

TEST(Network, AFolderWithoutADenseLayerGetsANewOneDrawnFromTheSeed) {
  const TinyFolder tiny;
  const TempDir dir;
  make_plain(tiny.path(), dir / "plain");
  for (const fs::path& folder : {fs::path(dir / "plain"), tiny.path()}) {
    const Opened without(folder, 0), with(folder, 6), again(folder, 6), other(folder, 6, 43);
    EXPECT_EQ(without.network->head(), "mean pooling, embedding 16");
    EXPECT_EQ(with.network->head(), "mean pooling, dense 6, new");
    EXPECT_EQ(with.network->embedding(), 6);
    const std::string name = "encoder.layer.1.output.dense.weight";
    EXPECT_EQ(with.values(name), without.values(name)) << "the encoder is the folder's";
    EXPECT_EQ(other.values(name), without.values(name));
    const std::vector<float> weight = with.values("head.weight");
    EXPECT_EQ(weight.size(), 6u * 16u);
    EXPECT_EQ(std::count(weight.begin(), weight.end(), 0.0f), 0);
    EXPECT_EQ(weight, again.values("head.weight"));
    EXPECT_NE(weight, other.values("head.weight"));
    EXPECT_EQ(with.values("head.bias"), std::vector<float>(6, 0.0f));
  }
}

TEST(Network, AFoldersOwnDenseLayerIsTrainedOn) {
  const TinyFolder tiny;
  const TempDir dir;
  make_dense(tiny.path(), dir / "dense");
  const ModelFolder stored = read_model_folder(dir / "dense");
  ParamStore params(test::host_memory, embedder_layout(stored.config), DType::f32);
  EXPECT_TRUE(load_weights(stored, params).empty());
  const auto expected = params.master(params.layout().find("head.weight")).host<float>();
  for (const int64_t head : {0, 6}) {
    const Opened opened(dir / "dense", head);
    EXPECT_EQ(opened.network->head(), "mean pooling, dense 6");
    EXPECT_EQ(opened.values("head.weight"), std::vector<float>(expected.begin(), expected.end()));
    EXPECT_EQ(open_model_folder(opened.config, Weights::values).config.head->squash, Squash::tanh) << "with its activation";
  }
}

TEST(Network, ADenseLayerOfAnotherWidthIsRefusedWithBothWidths) {
  const TinyFolder tiny;
  const TempDir dir;
  make_dense(tiny.path(), dir / "dense");
  try {
    const Opened opened(dir / "dense", 7);
    ADD_FAILURE() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::usage);
    EXPECT_STREQ(error.what(), "model.head is 7, the dense layer of model.folder has 6 outputs");
    EXPECT_EQ(error.remedy(), "set model.head to 6 (or 0) to train it on, or give a folder without a Dense module for a new one of 7");
  }
}

TEST(Network, ShapesAloneDoNotCallAHeadNewThatTheFolderMayHave) {
  const TinyFolder tiny;
  RunConfig config;
  config.tasks.resize(1);
  config.tasks[0].data.query_max_len = config.tasks[0].data.passage_max_len = 16;
  config.model.head = 6;
  config.model.config = tiny.path() / "config.json";
  EXPECT_TRUE(open_model_folder(config, Weights::shapes).new_head) << "random weights";
  config.model.folder = "not/looked/at";
  EXPECT_FALSE(open_model_folder(config, Weights::shapes).new_head);
}

TEST(Network, APassagePromptIsWrittenUnderTheNameThatSentenceTransformersTakesFirst) {
  const TinyFolder tiny;
  Opened opened(tiny.path(), 0);
  opened.config.tasks[0].data.query_prompt = "red: ";
  opened.config.tasks[0].data.passage_prompt = "blue: ";
  const std::map<std::string, std::string> expected = {{"query", "red: "}, {"document", "blue: "}, {"passage", "blue: "}};
  EXPECT_EQ(open_model_folder(opened.config, Weights::values).prompts, expected);
}

}  // namespace
}  // namespace lodestone
