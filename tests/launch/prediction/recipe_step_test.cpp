// Are steps of a configuration counted as a GPU would do them?
#include "launch/prediction/recipe_step.h"

#include <gtest/gtest.h>

#include "core/null/counting_backend.h"
#include "launch/networks/network.h"
#include "launch/training/chunk_fit.h"

namespace lodestone {
namespace {

RunConfig recipe(const char* name, std::vector<std::string> overrides = {}) {
  const std::filesystem::path files[] = {std::filesystem::path(LODE_TEST_DATA).parent_path() / "configs" / name};
  return read_run_config(files, overrides);
}

// 4,096 of 16,384 pairs against four times as many texts: 2^28 scores, which are 8 tiles on a GPU and 64 of 64 rows on a host. A tile is
// some 20 launches beside its products.
TEST(RecipeStep, ScoresAreInTilesOfAGpu) {
  const PredictedStep step = predict_recipe(recipe("gte-pretrain.yaml"), gpu_ceilings_of("h200"), 4).front();
  const int64_t launches = step.prediction.of(WorkKind::scores).launches;
  EXPECT_GT(launches, 8 * 15);
  EXPECT_LT(launches, 64 * 15);
}

// What is not left for activations is what a step takes beside them, and a 32nd.
TEST(RecipeStep, RoomIsLeftForATileOfAGpu) {
  const RunConfig config = recipe("gte-pretrain.yaml", {"train.chunk_tokens=128"});
  CountingBackend backend;
  const std::unique_ptr<Network> network = open_network(config, Weights::shapes, backend);
  Arena arena(backend.memory());
  const Exec ex{backend, arena, Key(), config.train.precision};
  constexpr size_t room = size_t{8} << 30;
  const auto kept = static_cast<size_t>(automatic_keep_mb(config, *network, ex, 4, room)) << 20;
  // Rows of 768 numbers: all queries, all positives and their gradients, twice; this rank's embeddings, unit vectors and their gradients.
  constexpr size_t rows = 4 * 2 * 16384 + 4 * 2 * 4096;
  EXPECT_GT(room - room / 32 - kept, (size_t{4} << 25) + 4 * 768 * rows / 2);
}

}  // namespace
}  // namespace lodestone
