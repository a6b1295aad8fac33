// Does cuDNN have the plans that the recipes and the demo ask for, on GPUs of three generations? A run meets buckets of many shapes; these
// are of chunks full of texts as long as their recipe lets them be. SlowCudnnPlans, which tests/full.sh runs, has every length and size.
#include <gtest/gtest.h>

#include <set>
#include <vector>

#include "core/rng.h"
#include "launch/networks/network.h"
#include "tests/cuda/plans/described_plans.h"

namespace lodestone::cuda {
namespace {

using enum AttentionWay;

/// What attention sees of a model and its longest texts.
struct Shape {
  int64_t heads = 0, head_size = 0, longest = 0;
  auto operator<=>(const Shape&) const = default;
};

constexpr const char* recipes[] = {"conan-pretrain", "conan-finetune", "conan-vanilla", "bge-retromae", "bge-pretrain",
                                   "bge-finetune",   "bge-reranker",   "gte-pretrain",  "gte-finetune", "llm-embedder"};
constexpr int64_t chunk_tokens = 8192;  // what train.chunk_tokens: auto takes on a GPU with room for them

/// Of every task, its queries and its passages, or its pairs.
std::set<Shape> shapes_of(const std::vector<std::string>& names, const std::vector<std::string>& overrides = {}) {
  const std::filesystem::path configs = std::filesystem::path(LODE_TEST_DATA).parent_path() / "configs";
  std::vector<std::filesystem::path> files;
  for (const std::string& name : names) files.push_back(configs / (name + ".yaml"));
  const RunConfig config = read_run_config(files, overrides);
  const EncoderConfig encoder = open_model_folder(config, Weights::shapes).config.encoder;
  std::set<Shape> shapes;
  const auto add = [&](int64_t longest) { shapes.insert({encoder.heads, encoder.hidden / encoder.heads, longest}); };
  for (const TaskConfig& task : config.tasks) switch (config.objective.kind) {
      case ObjectiveKind::reranker:
        add(pair_lengths(task.data).longest_pair());
        break;
      case ObjectiveKind::embedding:
        add(task.data.passage_max_len);
        [[fallthrough]];
      case ObjectiveKind::retromae:
        add(task.data.query_max_len);
        break;
    }
  return shapes;
}

std::set<Shape> shapes_of_recipes() {
  std::set<Shape> all;
  for (const char* const recipe : recipes) all.merge(shapes_of({recipe}));
  return all;
}

/// The demo's, and those of the recipes that are small enough for two cores.
std::set<Shape> shapes_of_small_runs() {
  std::set<Shape> all = shapes_of({"demo-scratch"});
  all.merge(shapes_of({"demo"}, {"model.config=" LODE_TEST_DATA "/../configs/shapes/minilm-l6-en.json"}));
  for (const char* const recipe : recipes) all.merge(shapes_of({recipe, std::string(recipe) + "-small"}));
  return all;
}

/// A chunk full of texts of the shape's longest.
AttentionBucket full(AttentionWay way, const Shape& shape, uint32_t dropout = 0, int64_t tokens = chunk_tokens) {
  const int64_t texts = tokens / shape.longest;
  std::vector<int64_t> offsets(static_cast<size_t>(texts) + 1);
  std::vector<int32_t> ids(static_cast<size_t>(texts * shape.longest));
  DeviceTexts chunk;
  chunk.offsets = view(std::span<const int64_t>(offsets));
  chunk.ids = view(std::span<const int32_t>(ids));
  chunk.longest = shape.longest;
  return bucket_of(way, chunk, shape.heads, shape.head_size, dropout);
}

constexpr const char* refused_on_ampere = "not supported for bprop thd on SM8X";

TEST_F(CudnnPlans, OfRecipesAndTheDemoAreThereOnHopper) {
  std::set<Shape> all = shapes_of_recipes();
  all.merge(shapes_of_small_runs());
  EXPECT_EQ(all.size(), 10u) << "each of them takes a second here and below";
  for (const Shape& shape : all) {
    expect_forward(test::h200, full(forward, shape));
    expect_backward(test::h200, full(backward, shape));
  }
}

TEST_F(CudnnPlans, OfRecipesAreThereOnBlackwell) {
  for (const Shape& shape : shapes_of_recipes()) {
    expect_forward(test::b200, full(forward, shape));
    expect_backward_without_squares(test::b200, full(backward, shape));
  }
}

TEST_F(CudnnPlans, OfRecipesGoForwardOnlyOnAmpere) {
  for (const Shape& shape : shapes_of_recipes()) {
    expect_forward(test::a100, full(forward, shape));
    expect_refused(test::a100, full(backward, shape), refused_on_ampere);
  }
}

TEST_F(CudnnPlans, DropoutIsThereOnHopperWithinTheSameWorkspaceAndRefusedBackwardOnBlackwell) {
  const uint32_t dropped = dropout_threshold(0.1);
  for (const Shape& shape : {Shape{12, 32, 128}, Shape{12, 64, 128}, Shape{16, 64, 512}}) {
    expect_forward(test::h200, full(forward, shape, dropped));
    expect_backward(test::h200, full(backward, shape, dropped));
    expect_refused(test::b200, full(backward, shape, dropped), "Deterministic algorithm is not supported on blackwell");
  }
}

class SlowCudnnPlans : public CudnnPlans {};

// Of the sizes that train.chunk_tokens: auto may take.
TEST_F(SlowCudnnPlans, OfEveryLengthAndSizeOfChunk) {
  std::set<Shape> longest = shapes_of_recipes();
  longest.merge(shapes_of_small_runs());
  std::set<AttentionBucket> buckets;
  for (const Shape& most : longest)
    for (int64_t length = 64; length <= most.longest; length += 64)
      for (const int64_t tokens : {1024, 2048, 4096, 8192})
        for (const AttentionWay way : {forward, backward})
          for (const uint32_t dropped : {0u, dropout_threshold(0.1)})
            buckets.insert(full(way, {most.heads, most.head_size, length}, dropped, tokens));
  for (const AttentionBucket& b : buckets) {
    const bool drops = b.dropout > 0;  // which nobody else may, without a backward that is there and deterministic
    if (b.way == backward) {
      expect_backward(test::h200, b);
      if (!drops) expect_backward_without_squares(test::b200, b);
    } else {
      expect_forward(test::h200, b);
      if (!drops) expect_forward(test::b200, b);
      if (!drops) expect_forward(test::a100, b);
    }
  }
}

}  // namespace
}  // namespace lodestone::cuda
