// Do the recipes say what was published, and is every mistake in them refused?
#include <gtest/gtest.h>

#include <algorithm>

#include "core/nn/reranker.h"
#include "core/nn/retromae.h"
#include "launch/networks/network.h"

namespace lodestone {
namespace {

const std::filesystem::path configs = std::filesystem::path(LODE_TEST_DATA).parent_path() / "configs";

RunConfig recipe(const std::string& name, std::vector<std::string> overrides = {}) {
  const std::filesystem::path files[] = {configs / (name + ".yaml")};
  return read_run_config(files, overrides);
}

/// The same made small enough for two cores, by the overlay that is merged behind it.
RunConfig small_recipe(const std::string& name) {
  const std::filesystem::path files[] = {configs / (name + ".yaml"), configs / (name + "-small.yaml")};
  return read_run_config(files, {});
}

/// Figures of the papers, model cards and released code; 0 where nothing was published.
struct Published {
  const char* name;
  int64_t devices, rows, batch, group;
  int64_t query_len, passage_len;
  double lr, warmup, decay, temperature;
  int64_t layers, hidden, vocab;
  double epochs;
  int64_t steps;
};

constexpr Published published[] = {
    {"conan-pretrain", 64, 400'000'000, 512, 1, 512, 512, 1e-5, 0.05, 0.001, 0.01, 24, 1024, 21128, 1, 0},
    {"conan-finetune", 16, 2'300'000, 4, 9, 512, 512, 1e-5, 0.05, 0.001, 0.01, 24, 1024, 21128, 1, 0},
    {"conan-vanilla", 16, 2'300'000, 128, 2, 64, 512, 1e-5, 0.05, 0.001, 0.01, 24, 1024, 21128, 3, 0},
    {"bge-retromae", 24, 0, 720, 1, 512, 0, 2e-5, 0.1, 0.01, 0, 24, 1024, 21128, 2, 0},
    {"bge-pretrain", 48, 100'000'000, 19200, 1, 512, 512, 1e-5, 0.1, 0.01, 0.01, 24, 1024, 21128, 1, 0},
    {"bge-finetune", 0, 838'465, 1024, 2, 512, 512, 1e-5, 0.1, 0, 0.02, 24, 1024, 21128, 5, 0},
    {"bge-reranker", 0, 788'491, 32, 16, 256, 256, 6e-5, 0, 0.01, 0, 12, 768, 21128, 5, 0},
    {"gte-pretrain", 4, 788'000'000, 16384, 1, 128, 128, 2e-4, 0.05, 0.01, 0.01, 12, 768, 30522, 0, 50000},
    {"gte-finetune", 4, 3'000'000, 128, 16, 512, 512, 2e-5, 0.05, 0.01, 0.01, 12, 768, 30522, 1, 0},
    {"llm-embedder", 8, 1'333'911, 800, 8, 256, 256, 5e-6, 0.2, 0.01, 0.01, 12, 768, 30522, 0, 10000},
};

/// Tasks behind the first of a recipe, and those whose weight or prompts differ.
struct PublishedTask {
  const char *recipe, *task, *loss;
  int64_t batch, group, query_len, passage_len;
  double temperature, weight;
};

constexpr PublishedTask published_tasks[] = {
    {"conan-finetune", "retrieval", "CBB", 4, 9, 512, 512, 0.01, 1},
    {"conan-finetune", "sts", "CoSENT", 32, 1, 512, 512, 0.05, 0.8},
    {"conan-vanilla", "retrieval", "InfoNCE", 128, 2, 64, 512, 0.01, 1},
    {"conan-vanilla", "sts", "CoSENT", 128, 1, 512, 512, 0.05, 0.04},
    {"conan-vanilla", "classification", "InfoNCE", 128, 11, 512, 512, 0.05, 0.2},
    {"llm-embedder", "qa", "stabilised distillation", 800, 8, 256, 256, 0.01, 1},
    {"llm-embedder", "icl", "stabilised distillation", 800, 8, 256, 256, 0.01, 1},
    {"llm-embedder", "chat", "stabilised distillation", 800, 8, 256, 256, 0.01, 1},
    {"llm-embedder", "lrlm", "stabilised distillation", 800, 8, 256, 256, 0.01, 1},
    {"llm-embedder", "convsearch", "InfoNCE", 800, 8, 256, 256, 0.01, 1},
    {"llm-embedder", "tool", "InfoNCE", 800, 8, 256, 256, 0.01, 1},
};

const TaskConfig& task_of(const RunConfig& c, const std::string& name) {
  return *std::find_if(c.tasks.begin(), c.tasks.end(), [&](const TaskConfig& t) { return t.name == name; });
}

double temperature_of(const LossConfig& loss) {
  return std::visit(
      [](const auto& o) -> double {
        if constexpr (requires { o.temperature; })
          return o.temperature;
        else
          return 0;
      },
      loss.terms.front().options);
}

TEST(Recipes, SayWhatWasPublished) {
  for (const Published& p : published) {
    SCOPED_TRACE(p.name);
    const RunConfig c = recipe(p.name);
    const TaskConfig& first = c.tasks.front();
    EXPECT_EQ(c.published.devices, p.devices);
    EXPECT_EQ(c.published.rows, p.rows);
    EXPECT_EQ(first.global_batch, p.batch);
    EXPECT_EQ(first.data.train_group_size, p.group);
    EXPECT_EQ(first.data.query_max_len, p.query_len);
    if (p.passage_len > 0) {
      EXPECT_EQ(first.data.passage_max_len, p.passage_len);
    }
    EXPECT_EQ(c.optim.learning_rate, p.lr);
    EXPECT_EQ(c.optim.warmup_ratio, p.warmup);
    EXPECT_EQ(c.optim.weight_decay, p.decay);
    if (p.temperature > 0) {
      EXPECT_EQ(temperature_of(first.loss), p.temperature);
    }
    EXPECT_EQ(c.train.num_train_epochs, p.epochs);
    EXPECT_EQ(c.train.steps, p.steps);
    const EncoderConfig shape = open_model_folder(c, Weights::shapes).config.encoder;
    EXPECT_EQ(shape.layers, p.layers);
    EXPECT_EQ(shape.hidden, p.hidden);
    EXPECT_EQ(shape.vocab, p.vocab);
  }
}

TEST(Recipes, SayOfEachTaskWhatWasPublished) {
  for (const PublishedTask& p : published_tasks) {
    SCOPED_TRACE(cat(p.recipe, " ", p.task));
    const RunConfig c = recipe(p.recipe);
    EXPECT_EQ(std::ssize(c.tasks), std::count_if(std::begin(published_tasks), std::end(published_tasks),
                                                 [&](const auto& o) { return std::string_view(o.recipe) == p.recipe; }));
    const TaskConfig& t = task_of(c, p.task);
    EXPECT_NE(describe(t.loss).find(p.loss), std::string::npos) << describe(t.loss);
    EXPECT_EQ(t.global_batch, p.batch);
    EXPECT_EQ(t.data.train_group_size, p.group);
    EXPECT_EQ(t.data.query_max_len, p.query_len);
    EXPECT_EQ(t.data.passage_max_len, p.passage_len);
    EXPECT_EQ(temperature_of(t.loss), p.temperature);
    EXPECT_EQ(t.weight, p.weight);
  }
}

// The first stage's folder is where the second one starts; the optimizer is new because a run folder is.
TEST(Recipes, LaterStagesStartFromTheModelOfTheEarlierOne) {
  for (const auto& [earlier, later] : {std::pair{"conan-pretrain", "conan-finetune"},
                                       {"conan-pretrain", "conan-vanilla"},
                                       {"bge-retromae", "bge-pretrain"},
                                       {"bge-pretrain", "bge-finetune"},
                                       {"gte-pretrain", "gte-finetune"}}) {
    const RunConfig first = recipe(earlier), second = recipe(later);
    EXPECT_EQ(second.model.folder.lexically_normal(), (first.train.output_dir / "model").lexically_normal()) << later;
    EXPECT_NE(second.train.output_dir, first.train.output_dir);
  }
}

TEST(Recipes, VanillaConanFollowsPiccolo2) {
  const RunConfig c = recipe("conan-vanilla");
  EXPECT_NE(c.schedule.mix, TaskMix::joint);
  EXPECT_EQ(c.optim.freeze, (std::vector<std::string>{"embeddings.position_embeddings.weight"}));
  EXPECT_EQ(std::get<InfoNceOptions>(task_of(c, "classification").loss.terms.front().options).candidates, Candidates::own_group);
  EXPECT_EQ(std::get<InfoNceOptions>(task_of(c, "retrieval").loss.terms.front().options).candidates, Candidates::this_rank);
  for (const TaskConfig& t : c.tasks)
    EXPECT_EQ(t.loss.matryoshka_dims, (std::vector<int64_t>{256, 512, 768, 1024, 1280, 1536, 1792})) << t.name;
}

TEST(Recipes, GteFinetuneReplaysAShareOfPretraining) {
  const RunConfig c = recipe("gte-finetune");
  ASSERT_EQ(c.tasks.front().data.rules.size(), 1u);
  const SourceRule& replay = c.tasks.front().data.rules.front();
  EXPECT_EQ(replay.share, 0.1);
  EXPECT_TRUE(matches(replay.match, "pretrain/web"));
  EXPECT_EQ(replay.group, 1) << "pairs have no negatives of their own";
}

TEST(Recipes, ConanHas326309632Parameters) {
  const RunConfig c = recipe("conan-finetune");
  EXPECT_EQ(embedder_layout(open_model_folder(c, Weights::shapes).config).count(), 326'309'632);
}

TEST(Recipes, ConanTrainsBothLossesInEveryStepOnGroupsOfFourAndOne) {
  const RunConfig c = recipe("conan-finetune");
  ASSERT_EQ(c.tasks.size(), 2u);
  EXPECT_EQ(c.schedule.mix, TaskMix::joint);
  EXPECT_EQ(c.schedule.layout, Layout::grouped);
  EXPECT_EQ(c.schedule.groups * (c.tasks[0].ranks + c.tasks[1].ranks), 15);
  EXPECT_EQ(c.tasks[0].ranks, 4);
  EXPECT_EQ(c.tasks[1].global_batch, 32);
  EXPECT_EQ(c.tasks[1].weight, 0.8);
  EXPECT_EQ(c.tasks[0].loss.matryoshka_dims, (std::vector<int64_t>{256, 512, 768, 1024, 1280, 1536, 1792}));
  ASSERT_TRUE(c.tasks[0].mining.has_value());
  EXPECT_EQ(c.tasks[0].mining->every, 100);
  EXPECT_EQ(c.tasks[0].mining->mean_ratio, 1.15);
  EXPECT_EQ(c.tasks[0].mining->mean_limit, 0.8);
  EXPECT_EQ(c.tasks[0].mining->first_end, 10);
  EXPECT_EQ(c.tasks[0].mining->refill, MiningRefill::slide);
  EXPECT_FALSE(c.tasks[1].mining.has_value());
}

TEST(Recipes, LlmEmbedderHasSixTasksWithInstructionsOnBothSides) {
  const RunConfig c = recipe("llm-embedder");
  ASSERT_EQ(c.tasks.size(), 6u);
  EXPECT_EQ(c.schedule.mix, TaskMix::deck);
  for (const TaskConfig& t : c.tasks) {
    EXPECT_EQ(t.data.batching, Batching::epoch) << t.name;
    EXPECT_EQ(t.data.filter.without_negatives, RowsWithoutNegatives::leave_out) << t.name;
    EXPECT_FALSE(t.data.query_prompt.empty()) << t.name;
    EXPECT_FALSE(t.data.passage_prompt.empty()) << t.name;
    EXPECT_EQ(needs_teacher(t.loss), t.name != "convsearch" && t.name != "tool") << t.name;
  }
}

TEST(Recipes, SmallOnesTrainTheSameObjectiveAndNameWhatTheyAreJudgedBy) {
  for (const Published& p : published) {
    SCOPED_TRACE(p.name);
    const RunConfig large = recipe(p.name), small = small_recipe(p.name);
    EXPECT_EQ(small.objective.kind, large.objective.kind);
    EXPECT_EQ(small.schedule.mix, large.schedule.mix);
    EXPECT_EQ(small.train.precision, large.train.precision);
    EXPECT_EQ(small.optim.warmup_ratio, large.optim.warmup_ratio);
    EXPECT_TRUE(small.train.metric.starts_with("heldout_")) << small.train.metric;
    EXPECT_LE(open_model_folder(small, Weights::shapes).config.encoder.layers, 6);
    ASSERT_EQ(small.tasks.size(), large.tasks.size());
    for (size_t t = 0; t < small.tasks.size(); ++t) {
      const TaskConfig &a = small.tasks[t], &b = large.tasks[t];
      EXPECT_EQ(a.loss.terms.front().options.index(), b.loss.terms.front().options.index());
      EXPECT_EQ(temperature_of(a.loss), temperature_of(b.loss));
      EXPECT_EQ(a.loss.matryoshka_dims.size(), b.loss.matryoshka_dims.size());
      EXPECT_EQ(a.weight, b.weight);
      EXPECT_EQ(a.data.batching, b.data.batching);
      EXPECT_EQ(a.data.query_prompt, b.data.query_prompt);
      EXPECT_EQ(a.mining.has_value(), b.mining.has_value());
      EXPECT_FALSE(a.data.heldout.empty());
    }
  }
}

TEST(Recipes, EveryMistakeIsRefusedNamingTheKey) {
  const struct {
    const char *recipe, *override, *named;
  } mistakes[] = {
      {"conan-pretrain", "loss.temprature=0.01", "temprature"},
      {"conan-pretrain", "loss.temperature=0", "temperature"},
      {"conan-finetune", "schedule.layout=together", "layout"},
      {"conan-finetune", "tasks.retrieval.loss.name=cosent", "neg_scope"},
      {"conan-finetune", "tasks.retrieval.mining.negatives=7", "mining"},
      {"conan-vanilla", "tasks.sts.loss.use_inbatch_neg=true", "use_inbatch_neg"},
      {"bge-retromae", "objective.decoding=greedy", "decoding"},
      {"bge-reranker", "objective.h1_mode=add", "h1_mode"},
      {"bge-finetune", "data.instruction=bge_fr", "instruction"},
      {"gte-pretrain", "data.alpha=-1", "alpha"},
      {"gte-finetune", "train.num_train_epochs=two", "num_train_epochs"},
      {"llm-embedder", "data.select_negative=best", "select_negative"},
  };
  for (const auto& m : mistakes) {
    try {
      (void)recipe(m.recipe, {m.override});
      ADD_FAILURE() << m.recipe << " " << m.override << " was accepted";
    } catch (const Error& error) {
      EXPECT_EQ(error.exit_code(), ExitCode::usage);
      EXPECT_NE((std::string(error.what()) + error.where()).find(m.named), std::string::npos) << error.what();
    }
  }
}

}  // namespace
}  // namespace lodestone
