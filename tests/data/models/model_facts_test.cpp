// Do the facts of a model say all that ranks and resumed runs must have alike?
#include "data/models/model_facts.h"

#include <gtest/gtest.h>

namespace lodestone {
namespace {

TEST(ModelFacts, NameHowNearVectorsAreAndWhatStandsAroundTexts) {
  ModelFolder folder;
  folder.config.normalize = false;
  const std::string cosine = model_facts(folder), whole = folder_facts(folder);
  folder.similarity = Similarity::dot;
  EXPECT_NE(model_facts(folder), cosine);
  folder.config.normalize = true;
  const std::string dot = model_facts(folder);
  folder.similarity = Similarity::cosine;
  EXPECT_EQ(model_facts(folder), dot) << "of normalised vectors they are one";
  folder.config.normalize = false;
  folder.prompts["query"] = "ask: ";
  EXPECT_EQ(model_facts(folder), cosine) << "training has its own";
  EXPECT_NE(folder_facts(folder), whole);
  folder.prompts.clear();
  folder.max_seq_length -= 1;
  EXPECT_NE(folder_facts(folder), whole);
}

}  // namespace
}  // namespace lodestone
