#include "launch/config.h"

#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <sstream>

#include "core/error.h"
#include "tests/support/temp_dir.h"

namespace lodestone {
namespace {

const char* const smallest = "model: {folder: m}\ndata: {train: c}\ntrain: {output_dir: r, steps: 10}\n";

RunConfig read(const std::string& text, std::vector<std::string> overrides = {}) {
  const test::TempDir dir;
  const std::filesystem::path path = dir / "run.yaml";
  std::ofstream(path) << text;
  return read_run_config(std::span(&path, 1), overrides);
}

std::string failure(std::vector<std::string> overrides) {
  try {
    read(smallest, std::move(overrides));
  } catch (const Error& e) {
    EXPECT_EQ(e.exit_code(), ExitCode::usage);
    EXPECT_FALSE(e.remedy().empty());
    return e.what();
  }
  return "";
}

TEST(Config, TheSmallestConfigurationHasDefaults) {
  const RunConfig c = read(smallest);
  EXPECT_EQ(c.train.global_batch, 128);
  EXPECT_EQ(c.train.precision, DType::bf16);
  ASSERT_EQ(c.tasks.size(), 1u);
  EXPECT_TRUE(std::holds_alternative<InfoNceOptions>(c.tasks[0].loss.terms[0].options));
  EXPECT_EQ(c.tasks[0].global_batch, 128);
  EXPECT_EQ(c.train.threads, 0);
}

TEST(Config, TheResolvedConfigurationReadsBackAsItself) {
  const RunConfig first = read(smallest, {"optim.learning_rate=2e-5", "data.query_prompt=query: ", "loss.mrl_dims=[64, 128]"});
  EXPECT_EQ(read(first.resolved).resolved, first.resolved);
}

TEST(Config, TheReadmeListsEveryKeyWithItsDefault) {
  std::ifstream in(std::string(LODE_TEST_DATA) + "/../configs/README.md");
  std::map<std::string, std::string> listed;   // key -> default
  for (std::string line; std::getline(in, line);) {
    if (!line.starts_with("|") && !listed.empty()) break;   // the first table has the keys that always exist
    if (!line.starts_with("| `")) continue;
    const size_t end = line.find('`', 3), next = line.find('|', end), last = line.find('|', next + 1);
    std::string value = line.substr(next + 1, last - next - 1);
    std::erase_if(value, [](char c) { return c == '`' || c == ' '; });
    listed[line.substr(3, end - 3)] = value;
  }
  std::istringstream resolved(read(smallest).resolved);
  std::string section;
  size_t keys = 0;
  for (std::string line; std::getline(resolved, line);) {
    const size_t colon = line.find(':');
    if (line[0] != ' ') {
      section = line.substr(0, colon);
      continue;
    }
    ++keys;
    const std::string key = cat(section, ".", line.substr(2, colon - 2));
    ASSERT_TRUE(listed.contains(key)) << key;
    std::string value = line.substr(colon + 2);
    const bool given_here = key == "model.folder" || key == "data.train" || key == "train.output_dir" || key == "train.steps";
    if (!given_here) {
      EXPECT_EQ(listed[key], value == "\"\"" ? "" : value) << key;
    }
  }
  EXPECT_EQ(keys, listed.size());
}

TEST(Config, StabilisedDistillationMasksFalseNegativesAmongOtherQueriesPassages) {
  const auto options = [](const std::vector<std::string>& more) {
    std::vector<std::string> overrides{"loss.name=stabilised_distillation", "data.train_group_size=3"};
    overrides.insert(overrides.end(), more.begin(), more.end());
    return std::get<StabilisedOptions>(read(smallest, overrides).tasks[0].loss.terms[0].options);
  };
  EXPECT_EQ(options({}).duplicates, Duplicates::kept);
  EXPECT_EQ(options({"loss.mask_false_negatives=true"}).duplicates, Duplicates::masked);
  EXPECT_THROW(options({"loss.mask_false_negatives=true", "loss.use_inbatch_neg=false"}), Error);
}

TEST(Config, FalseNegativesAreMaskedInGteAndCbbOnRequest) {
  const auto duplicates = [](const char* name, const char* mask) {
    const LossOptions options = read(smallest, {cat("loss.name=", name), "data.train_group_size=3", cat("loss.mask_false_negatives=", mask)}).tasks[0].loss.terms[0].options;
    return std::holds_alternative<GteOptions>(options) ? std::get<GteOptions>(options).duplicates : std::get<CbbOptions>(options).duplicates;
  };
  for (const char* name : {"gte", "cbb"}) {
    EXPECT_EQ(duplicates(name, "false"), Duplicates::kept) << name;
    EXPECT_EQ(duplicates(name, "true"), Duplicates::masked) << name;
  }
}

TEST(Config, RunsThatCannotLearnAreRefused) {
  EXPECT_EQ(failure({"objective.name=reranker"}), "data: a reranker compares a query's positive with its negatives, but train_group_size is 1");
  EXPECT_EQ(failure({"objective.name=reranker", "data.train_group_size=2"}), "");
  const std::string own = "loss: a query's own passages are compared with each other (", one = "), but data.train_group_size of task retrieval is 1";
  EXPECT_EQ(failure({"loss.name=kl_divergence"}), own + "KL distillation, temperature 0.05" + one);
  EXPECT_EQ(failure({"loss.name=margin_mse"}), own + "margin MSE" + one);
  EXPECT_EQ(failure({"loss.name=sum", "loss.terms.a.name=info_nce", "loss.terms.b.name=margin_mse"}), own + "margin MSE" + one);
  for (const char* loss : {"kl_divergence", "margin_mse"}) EXPECT_EQ(failure({cat("loss.name=", loss), "data.train_group_size=2"}), "") << loss;
  // Stabilised distillation in a group of 1 is a contrastive loss, as long as other queries' passages are candidates.
  EXPECT_EQ(failure({"loss.name=stabilised_distillation"}), "");
  EXPECT_NE(failure({"loss.name=stabilised_distillation", "loss.use_inbatch_neg=false"}), "");
  EXPECT_NE(failure({"loss.name=cbb"}), "");
  EXPECT_EQ(failure({"loss.name=cosent"}), "");
  // The section loss is what tasks start from: it is judged as each task has it.
  const std::string tasks = "model: {folder: m}\nloss: {name: kl_divergence}\ntrain: {output_dir: r, steps: 10}\ntasks: {qa: {data: {train: c, train_group_size: 3}}}\n";
  EXPECT_NO_THROW(read(tasks));
  EXPECT_THROW(read(tasks, {"tasks.qa.data.train_group_size=1"}), Error);
}

TEST(Config, ImpossibleValuesAreRefused) {
  for (const char* bad : {"train.global_batch=1", "train.global_batch=-8", "train.precision=fp8", "train.threads=0", "train.threads=many", "optim.learning_rate=0",
                          "optim.learning_rate=-1e-5", "optim.adam_beta1=1", "optim.adam_beta2=-0.1", "optim.adam_epsilon=0", "optim.warmup_ratio=1.5",
                          "optim.lr_scheduler_type=step", "loss.temperature=0", "data.train_group_size=0", "data.query_max_len=2", "data.small_sources=drop", "data.batching=shuffled",
                          "train.steps=0", "train.num_train_epochs=2", "model.pooling=max", "model.dropout=1", "model.normalize=perhaps", "train.chunk_tokens=0",
                          "loss.use_inbatch_neg=false", "train.logging_steps=0", "train.save_total_limit=0", "train.seed=-1", "train.stepz=3"})
    EXPECT_NE(failure({bad}), "") << bad;
}

}  // namespace
}  // namespace lodestone
