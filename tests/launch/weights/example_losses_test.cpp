// Are losses and weights those of LM-Cocktail?
#include "launch/weights/example_losses.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/support/golden_file.h"
#include "tests/support/temp_dir.h"
#include "tests/support/text_file.h"
#include "tests/support/tiny_folder.h"

namespace lodestone {
namespace {

using test::TempDir;

TEST(ExampleLosses, AreThoseOfLmCocktail) {
  std::ifstream in(test::golden_file("merge.json"));
  const auto golden = nlohmann::json::parse(in);
  ASSERT_EQ(golden["cases"].size(), 3u);
  for (const auto& c : golden["cases"]) {
    std::vector<double> losses;
    for (size_t m = 0; m < c["queries"].size(); ++m) {
      const auto queries = c["queries"][m].get<std::vector<float>>(), passages = c["passages"][m].get<std::vector<float>>();  // f32 numbers
      losses.push_back(cocktail_loss(queries, passages, c["group"], c["embedding"], c["batch"]));
      const double expected = c["losses"][m];
      EXPECT_NEAR(losses.back(), expected, 1e-13 * (1 + expected) * 20);  // f64 on both sides, logits of up to 1 / 0.05
    }
    const std::vector<double> weights = softmax_weights(losses, c["temperature"]);
    for (size_t m = 0; m < weights.size(); ++m)
      EXPECT_NEAR(weights[m], c["weights"][m].get<double>(), 1e-6);  // computed in f32 there, of losses up to 20
  }
}

TEST(ExampleLosses, ByHand) {
  // Of the first query two of the four passages have cosine 1, its own first one among them; of the second all have 0.
  const std::vector<float> queries{2, 0, 0, 0, 3, 0}, passages{5, 0, 0, 0, 0, 1, 0, 0, 4, 1, 0, 0};
  const double all = std::log(2 * std::exp(20.0) + 2) - 20, second = std::log(4.0);
  EXPECT_NEAR(cocktail_loss(queries, passages, 2, 3, 8), (all + second) / 2, 1e-12);
  EXPECT_NEAR(cocktail_loss(queries, passages, 2, 3, 1), (std::log1p(std::exp(-20.0)) + std::log(2.0)) / 2, 1e-12) << "one row a batch";
}

TEST(ExampleLosses, WeightsAreASoftmaxOfTheNegativeLosses) {
  const double losses[] = {1, 1 + std::log(3.0), 1e6};
  const std::vector<double> weights = softmax_weights(losses, 1);
  EXPECT_NEAR(weights[0], 0.75, 1e-15);
  EXPECT_NEAR(weights[1], 0.25, 1e-15);
  EXPECT_EQ(weights[2], 0);
  EXPECT_NEAR(softmax_weights(std::span(losses).first(2), 2)[0], 1 / (1 + std::exp(-std::log(3.0) / 2)), 1e-15);
  const double diverged[] = {1, NAN};
  EXPECT_THROW(softmax_weights(diverged, 5), Error);
}

TEST(ExampleLosses, OfAModelAreThoseOfItsVectorsWithTheirPrompts) {
  const test::TinyFolder folder;
  const auto backend = make_backend({.kind = BackendKind::cpu, .threads = 1});
  LoadedModel model(folder.path(), {}, *backend);
  const Examples examples{.queries = {"red", "cat"}, .passages = {"red stone", "moon", "dog cat", "river"}, .group = 2};
  const auto vectors = [&](const std::vector<std::string_view>& texts) {
    std::vector<float> out(texts.size() * 16);
    model.embedder().embed(model.exec(), texts, "", out);
    return out;
  };
  const std::vector<float> queries = vectors({"blue red", "blue cat"}), passages = vectors({"red stone", "moon", "dog cat", "river"});
  const double expected = cocktail_loss(queries, passages, 2, 16, 2);
  EXPECT_NEAR(example_loss(model, examples, {.query = "blue ", .passage = ""}, 2), expected,
              1e-5);  // vectors in f32 from other chunks, times 20
  EXPECT_GT(std::fabs(example_loss(model, examples, {}, 2) - expected), 1e-3) << "the prompt counts";
}

TEST(ExampleLosses, ReadTheFirstNegativesAndRefuseRowsWithFewer) {
  const TempDir dir;
  const auto file = test::write_text(dir / "e.jsonl",
                                     "{\"query\": \"a\", \"pos\": [\"p\", \"other\"], \"neg\": [\"x\", \"y\", \"z\"]}\n"
                                     "{\"query\": \"b\", \"pos\": [\"r\"], \"neg\": [\"s\", \"t\"]}\n");
  const Examples examples = read_examples(file, {}, 2);
  EXPECT_EQ(examples.queries, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(examples.passages, (std::vector<std::string>{"p", "x", "y", "r", "s", "t"}));
  EXPECT_EQ(examples.group, 3);
  EXPECT_EQ(read_examples(file, {}, 0).passages, (std::vector<std::string>{"p", "r"}));
  try {
    (void)read_examples(file, {}, 3);
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_NE(error.where().find("line=2"), std::string::npos) << error.where();
    EXPECT_NE(error.remedy().find("--negatives"), std::string::npos);
  }
}

}  // namespace
}  // namespace lodestone
