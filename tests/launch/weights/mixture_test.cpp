// Is a mixture the weighted sum of its models' parameters, in a folder like the first one, and does it refuse models that do not fit?
#include "launch/weights/mixture.h"

#include <gtest/gtest.h>

#include <cmath>

#include "data/files/safetensors_writer.h"
#include "data/files/strict_json.h"
#include "data/models/model_export.h"
#include "launch/inference/embedder.h"
#include "launch/networks/verify_export.h"
#include "tests/data/checkpoints/training_state.h"
#include "tests/support/host_memory.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tiny_reranker_folder.h"

namespace lodestone {
namespace {

namespace fs = std::filesystem;
using test::TempDir;

EmbedderConfig with_head() {
  EmbedderConfig c = test::tiny_config();
  c.head = HeadConfig{.out_features = 6};
  return c;
}

/// Files of a starting model: configuration, tokenizer, and a pooler where a seed is given for one.
fs::path make_source(const fs::path& folder, const EmbedderConfig& config, std::optional<uint64_t> pooler = {},
                     const char* vocab = test::tiny_vocab) {
  test::write_text(folder / "given/config.json", test::tiny_config_json);
  test::write_text(folder / "given/vocab.txt", vocab);
  ModelFolder model = read_model_config(folder / "given/config.json");
  model.config = config;
  model.prompts = {{"query", "a: "}};
  make_model_source(model, Tokenizer::from_vocab(folder / "given/vocab.txt", {}), folder / "source");
  if (!pooler) return folder / "source";
  const int64_t hidden = config.encoder.hidden;
  ParamLayout layout;
  layout.add("pooler.dense.weight", {hidden, hidden}, Decay::yes);
  layout.add("pooler.dense.bias", {hidden}, Decay::no);
  ParamStore params(test::host_memory, layout, DType::f32);
  test::fill_params(params, *pooler);
  std::vector<NamedTensor> tensors;
  for (const Param& p : params.layout().params()) tensors.push_back({p.name, params.master(p)});
  write_safetensors(folder / "source/pooler.safetensors", tensors);
  return folder / "source";
}

/// A model folder of random weights, each -0 where a tenth of them would be.
fs::path make_model(const fs::path& folder, uint64_t seed, const EmbedderConfig& config = with_head(), std::optional<uint64_t> pooler = {},
                    const char* vocab = test::tiny_vocab) {
  const fs::path source = make_source(folder, config, pooler, vocab);
  const ModelFolder model = read_model_folder(source);
  ParamStore params(test::host_memory, embedder_layout(model.config), DType::f32);
  test::fill_params(params, seed);
  for (float& x : params.masters().host<float>())
    if (std::fabs(x) < 0.01f) x = -0.0f;
  write_model_folder(folder / "model", model, params, source, {}, IfExists::refuse);
  return folder / "model";
}

std::vector<float> values_of(const fs::path& folder) {
  const ModelFolder model = read_model_folder(folder);
  ParamStore params(test::host_memory, embedder_layout(model.config), DType::f32);
  load_weights(model, params);
  const auto values = params.masters().host<float>();
  return {values.begin(), values.end()};
}

Mixture mixture_of(const std::vector<fs::path>& inputs) {
  std::vector<FoundWeights> found;
  std::vector<std::string> messages;
  for (const fs::path& input : inputs) found.push_back(find_weights(input, {}, messages));
  return Mixture(std::move(found));
}

void write(const Mixture& mixture, const std::vector<double>& weights, const fs::path& path) {
  mixture.write(path, weights, {}, "{}\n");
  const auto backend = make_backend({.kind = BackendKind::cpu, .threads = 1});
  require_usable(path, mixture.tokenizer(), "", *backend);
}

Error refusal(const std::vector<fs::path>& inputs) {
  try {
    mixture_of(inputs);
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "accepted";
  return Error(ExitCode::internal, "", "");
}

constexpr const char* weight_files[] = {"model.safetensors", "2_Dense/model.safetensors"};

TEST(Mixture, WeightsOneAndZeroGiveTheFirstModelBitForBit) {
  const TempDir dir;
  const fs::path a = make_model(dir / "a", 1, with_head(), 5), b = make_model(dir / "b", 2, with_head(), 6);
  const Mixture mixture = mixture_of({a, b});
  write(mixture, {1, 0}, dir / "first");
  write(mixture, {0, 1}, dir / "second");
  for (const char* file : weight_files) {
    EXPECT_TRUE(test::read_text(a / file) == test::read_text(dir / "first" / file)) << file;
    EXPECT_TRUE(test::read_text(b / file) == test::read_text(dir / "second" / file)) << file;
  }
  for (const char* file : {"config.json", "modules.json", "1_Pooling/config.json", "2_Dense/config.json", "tokenizer.json", "vocab.txt",
                           "tokenizer_config.json", "config_sentence_transformers.json", "sentence_bert_config.json"})
    EXPECT_EQ(test::read_text(a / file), test::read_text(dir / "first" / file)) << file;
  EXPECT_EQ(test::read_text(dir / "first/merge.json"), "{}\n");
}

TEST(Mixture, IsTheArithmeticMeanOfEveryTensorThePoolerAmongThem) {
  const TempDir dir;
  const fs::path a = make_model(dir / "a", 1, with_head(), 5), b = make_model(dir / "b", 2, with_head(), 6);
  write(mixture_of({a, b}), {0.5, 0.5}, dir / "mean");
  size_t tensors = 0;
  for (const char* file : weight_files) {
    const SafetensorsReader first(a / file), second(b / file), mean(dir / "mean" / file);
    ASSERT_EQ(mean.tensors().size(), first.tensors().size());
    for (const StoredTensor& t : first.tensors()) {
      const auto read = [&](const SafetensorsReader& reader) {
        std::vector<float> values(static_cast<size_t>(t.count));
        reader.read(*reader.find(t.name), values);
        return values;
      };
      const std::vector<float> x = read(first), y = read(second), z = read(mean);
      for (size_t i = 0; i < x.size(); ++i) ASSERT_EQ(z[i], static_cast<float>((double{x[i]} + double{y[i]}) / 2)) << t.name;
      ++tensors;
    }
  }
  EXPECT_EQ(tensors, embedder_layout(with_head()).params().size() + 2);
}

TEST(Mixture, ThreeModelsAreSummedInF64InTheirOrder) {
  const TempDir dir;
  const std::vector<fs::path> models{make_model(dir / "a", 1), make_model(dir / "b", 2), make_model(dir / "c", 3)};
  write(mixture_of(models), {1.4, -0.7, 0.3}, dir / "mixed");
  const std::vector<float> a = values_of(models[0]), b = values_of(models[1]), c = values_of(models[2]), mixed = values_of(dir / "mixed");
  for (size_t i = 0; i < a.size(); ++i) {
    double sum = 1.4 * a[i];
    sum += -0.7 * b[i];
    sum += 0.3 * c[i];
    ASSERT_EQ(mixed[i], static_cast<float>(sum)) << i;
  }
}

TEST(Mixture, LeavesOutAPoolerThatNotAllHave) {
  const TempDir dir;
  const fs::path a = make_model(dir / "a", 1, with_head(), 5), b = make_model(dir / "b", 2);
  write(mixture_of({a, b}), {0.5, 0.5}, dir / "mean");
  EXPECT_EQ(SafetensorsReader(dir / "mean/model.safetensors").find("pooler.dense.weight"), nullptr);
  write(mixture_of({a, b}), {1, 0}, dir / "first");
  EXPECT_NE(SafetensorsReader(dir / "first/model.safetensors").find("pooler.dense.weight"), nullptr) << "the other one counts nothing";
}

TEST(Mixture, KeepsTheDtypeThatTheFirstModelHasEachTensorIn) {
  const TempDir dir;
  const fs::path a = make_model(dir / "a", 1), b = make_model(dir / "b", 2);
  const SafetensorsReader wide(a / "model.safetensors");
  std::vector<StoredTensor> narrow;
  for (const bool norms : {true, false})  // wider ones come first
    for (StoredTensor t : wide.tensors())
      if ((t.name.find("LayerNorm") != std::string::npos) == norms) {
        t.dtype = norms ? "F32" : "F16";
        narrow.push_back(t);
      }
  SafetensorsWriter writer(dir / "narrow", narrow);
  for (const StoredTensor& t : narrow) {
    std::vector<double> values(static_cast<size_t>(t.count));
    wide.read(*wide.find(t.name), values);
    writer.write(values);
  }
  writer.finish();
  fs::rename(dir / "narrow", a / "model.safetensors");
  write(mixture_of({a, b}), {0.5, 0.5}, dir / "mean");
  const SafetensorsReader mean(dir / "mean/model.safetensors");
  EXPECT_EQ(mean.find("embeddings.LayerNorm.weight")->dtype, "F32");
  EXPECT_EQ(mean.find("encoder.layer.1.output.dense.weight")->dtype, "F16");
  EXPECT_EQ(SafetensorsReader(dir / "mean/2_Dense/model.safetensors").find("linear.weight")->dtype, "F32");
  EXPECT_EQ(read_json_object(dir / "mean/config.json")["torch_dtype"], "float16");
  write(mixture_of({a, b}), {1, 0}, dir / "first");
  EXPECT_EQ(values_of(dir / "first"), values_of(a));
  write(mixture_of({b, a}), {0.5, 0.5}, dir / "f32");
  EXPECT_EQ(SafetensorsReader(dir / "f32/model.safetensors").find("encoder.layer.1.output.dense.weight")->dtype, "F32");
}

TEST(Mixture, ReadsCheckpointsAndTheNewestOnesOfARun) {
  const TempDir dir;
  make_source(dir / "run", with_head());
  test::TrainingState<float> states[] = {test::TrainingState<float>(1, embedder_layout(with_head())),
                                         test::TrainingState<float>(2, embedder_layout(with_head())),
                                         test::TrainingState<float>(3, embedder_layout(with_head()))};
  for (int64_t s = 0; s < 3; ++s) test::save(dir / "run", 10 * (s + 1), states[s], 2 + s);
  std::vector<std::string> messages;
  std::vector<FoundWeights> newest = find_newest_weights(dir / "run/", 2, messages);
  ASSERT_EQ(newest.size(), 2u);
  EXPECT_EQ(newest[0].what, "checkpoint of step 20") << "the older one comes first";
  EXPECT_EQ(newest[1].what, "checkpoint of step 30");
  write(Mixture(std::move(newest)), {0.5, 0.5}, dir / "soup");
  const std::vector<float> soup = values_of(dir / "soup");
  for (size_t i = 0; i < soup.size(); ++i)
    ASSERT_EQ(soup[i], static_cast<float>((double{states[1].params[i]} + double{states[2].params[i]}) / 2));
  EXPECT_THROW(find_newest_weights(dir / "run", 4, messages), Error);

  fs::resize_file(dir / "run/checkpoint-30/manifest.json", 10);
  EXPECT_EQ(find_newest_weights(dir / "run", 2, messages).back().what, "checkpoint of step 20");
  EXPECT_EQ(messages.size(), 1u);

  const fs::path folder = make_model(dir / "a", 4);
  write(mixture_of({folder, dir / "run/checkpoint-10"}), {0.25, 0.75}, dir / "mixed");
  const std::vector<float> own = values_of(folder), mixed = values_of(dir / "mixed");
  for (size_t i = 0; i < mixed.size(); ++i)
    ASSERT_EQ(mixed[i], static_cast<float>(0.25 * double{own[i]} + 0.75 * double{states[0].params[i]}));
}

TEST(Mixture, FillsParametersThatComputeAsTheFolderDoes) {
  const TempDir dir;
  const fs::path a = make_model(dir / "a", 1), b = make_model(dir / "b", 2);
  const Mixture mixture = mixture_of({a, b});
  const std::vector<double> weights{0.3, 0.7};
  write(mixture, weights, dir / "mixed");
  const auto backend = make_backend({.kind = BackendKind::debug});
  LoadedModel written(dir / "mixed", {}, *backend);
  LoadedModel live(
      *mixture.embedder(), [](ParamStore&) {}, {}, *backend);
  live.set_weights([&](ParamStore& host) { mixture.fill(weights, host); });
  const std::string_view texts[] = {"a word", "b c . word a"};
  std::vector<float> ours(12), theirs(12);
  live.embedder().embed(live.exec(), texts, "", ours);
  written.embedder().embed(written.exec(), texts, "", theirs);
  EXPECT_EQ(ours, theirs);
}

TEST(Mixture, OfRerankersIsAReranker) {
  const TempDir dir;
  const test::TinyRerankerFolder a, b;
  write(mixture_of({a.path(), b.path()}), {0.5, 0.5}, dir / "mean");
  EXPECT_EQ(test::read_text(dir / "mean/model.safetensors"), test::read_text(a.path() / "model.safetensors")) << "both are the same";
  EXPECT_TRUE(is_reranker_folder(dir / "mean"));
  const test::TinyFolder embedder;
  EXPECT_STREQ(refusal({a.path(), embedder.path()}).what(),
               cat("a reranker and an embedder: the first model, ", a.path().string(), ", is the reranker").c_str());
}

TEST(Mixture, NamesFileTensorAndShapesThatDiffer) {
  const TempDir dir;
  const fs::path a = make_model(dir / "a", 1);
  EmbedderConfig wider = with_head(), deeper = with_head(), headless = with_head(), cls = with_head();
  wider.encoder.feed_forward = 24;
  deeper.encoder.layers = 3;
  headless.head.reset();
  cls.pooling = Pooling::cls;
  const fs::path b = make_model(dir / "b", 2, wider);
  const Error shape = refusal({a, b});
  EXPECT_EQ(shape.code(), "F42");
  EXPECT_EQ(cat(shape.what()), cat("its shape is [24,8], that of ", a.string(), " is [16,8]"));
  EXPECT_EQ(shape.where(), cat("tensor=encoder.layer.0.intermediate.dense.weight file=", (b / "model.safetensors").string()));
  EXPECT_EQ(cat(refusal({a, make_model(dir / "c", 3, deeper)}).what()), cat(a.string(), " has no such tensor"));
  EXPECT_EQ(cat(refusal({a, make_model(dir / "d", 4, headless)}).what()), cat("this tensor is missing, and ", a.string(), " has it"));
  EXPECT_EQ(cat(refusal({a, make_model(dir / "e", 5, cls)}).what()),
            cat("the models compute differently: pooling: cls, and of ", a.string(), " pooling: mean"));
}

TEST(Mixture, RefusesAnotherTokenizerAndHeadsThatShapesDoNotShow) {
  const TempDir dir;
  const fs::path a = make_model(dir / "a", 1);
  std::string vocab = test::tiny_vocab;
  vocab.replace(vocab.find("word"), 4, "term");
  const Error other = refusal({a, make_model(dir / "b", 2, with_head(), {}, vocab.c_str())});
  EXPECT_NE(cat(other.what()).find("its tokenizer is not that of "), std::string::npos) << other.what();
  EXPECT_FALSE(other.remedy().empty());
  EmbedderConfig heads = with_head();
  heads.encoder.heads = 4;
  EXPECT_NE(cat(refusal({a, make_model(dir / "c", 3, heads)}).what()).find("num_attention_heads: 4"), std::string::npos);
}

TEST(Mixture, APlainFolderTakesPoolingFromTheFirst) {
  const TempDir dir;
  EmbedderConfig cls = test::tiny_config();
  cls.pooling = Pooling::cls;
  const fs::path a = make_model(dir / "a", 1, cls), b = make_model(dir / "b", 2, test::tiny_config());
  fs::remove(b / "modules.json");
  write(mixture_of({a, b}), {0.5, 0.5}, dir / "mean");
  EXPECT_EQ(read_model_folder(dir / "mean").config.pooling, Pooling::cls);
}

TEST(Mixture, LeavesNoFolderWhereASumIsNotFinite) {
  const TempDir dir;
  const fs::path a = make_model(dir / "a", 1), b = make_model(dir / "b", 2);
  const Mixture mixture = mixture_of({a, b});
  EXPECT_THROW(mixture.write(dir / "out", std::vector<double>{1e300, -1e300}, {}, ""), Error);
  EXPECT_FALSE(fs::exists(dir / "out"));
  fs::create_directories(dir / "taken");
  EXPECT_THROW(mixture.write(dir / "taken", std::vector<double>{1, 0}, {}, ""), Error);
}

}  // namespace
}  // namespace lodestone
