#include "launch/config/config.h"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <map>
#include <sstream>

#include "tests/support/read_config.h"

namespace lodestone {
namespace {

using test::failure, test::read, test::smallest;

TEST(Config, TheSmallestConfigurationHasDefaults) {
  const RunConfig c = read(smallest);
  EXPECT_EQ(c.train.global_batch, 128);
  EXPECT_EQ(c.train.precision, DType::bf16);
  ASSERT_EQ(c.tasks.size(), 1u);
  EXPECT_TRUE(std::holds_alternative<InfoNceOptions>(c.tasks[0].loss.terms[0].options));
  EXPECT_EQ(c.tasks[0].global_batch, 128);
  EXPECT_EQ(c.train.threads, 0);
}

TEST(Config, AttentionMayHaveADropoutOfItsOwn) {
  const ModelConfig by_default = read(smallest).model, given = read(smallest, {"model.dropout=0.2", "model.attention_dropout=0"}).model;
  EXPECT_EQ(by_default.attention_dropout, -1);
  EXPECT_EQ(given.dropout, 0.2);
  EXPECT_EQ(given.attention_dropout, 0);
  EXPECT_EQ(failure({"model.attention_dropout=1.5"}), "model.attention_dropout: 1.5 is not in [0, 1)");
}

TEST(Config, TheResolvedConfigurationReadsBackAsItself) {
  const RunConfig first = read(smallest, {"optim.learning_rate=2e-5", "data.query_prompt=query: ", "loss.mrl_dims=[64, 128]"});
  EXPECT_EQ(read(first.resolved).resolved, first.resolved);
}

TEST(Config, WhatMayChangeWhenARunGoesOnIsSaidKeyByKey) {
  const RunConfig c = read(smallest, {"tasks.a.weight=2"});
  std::string may_change;
  for (const ConfigKey& key : c.keys)
    if (key.resume == Resume::may_change) may_change += key.path + ' ';
  EXPECT_EQ(may_change,
            "device attention cuda_graphs comm model.max_seq_length model.gradient_checkpointing train.output_dir train.threads "
            "train.chunk_tokens "
            "train.step_memory_mb train.keep_activations_mb train.logging_steps train.save_steps train.save_total_limit "
            "train.eval_steps train.eval_rows train.metric train.replica_check_every train.timeout_s data.heldout tasks.a.data.heldout "
            "tasks.a.ranks schedule.layout "
            "optim.zero published.devices published.rows ");
}

TEST(Config, TheReadmeListsEveryKeyWithItsDefault) {
  std::ifstream in(std::string(LODE_TEST_DATA) + "/../configs/README.md");
  std::map<std::string, std::string> listed;  // key -> default
  for (std::string line; std::getline(in, line);) {
    if (!line.starts_with("|") && !listed.empty()) break;  // the first table has the keys that always exist
    if (!line.starts_with("| `")) continue;
    const size_t end = line.find('`', 3), next = line.find('|', end), last = line.find('|', next + 1);
    std::string value = line.substr(next + 1, last - next - 1);
    std::erase_if(value, [](char c) { return c == '`' || c == ' '; });
    listed[line.substr(3, end - 3)] = value;
  }
  std::istringstream resolved(read(smallest).resolved);
  std::string section;
  for (std::string line; std::getline(resolved, line);) {
    const size_t colon = line.find(':');
    const bool at_top = line[0] != ' ';
    if (at_top && colon + 1 == line.size()) {
      section = line.substr(0, colon);
      continue;
    }
    const std::string key = at_top ? line.substr(0, colon) : cat(section, ".", line.substr(2, colon - 2));
    ASSERT_TRUE(listed.contains(key)) << key;
    std::string value = line.substr(colon + 2);
    const bool given_here = key == "model.folder" || key == "data.train" || key == "train.output_dir" || key == "train.steps";
    if (!given_here) {
      EXPECT_EQ(listed[key], value == "\"\"" ? "" : value) << key;
    }
    listed.erase(key);
  }
  for (const auto& [key, value] : listed) ADD_FAILURE() << "no such key: " << key;
}

TEST(Config, EveryLossIsReadByItsName) {
  const auto groups = of_each_loss([]<class Options>(const Options&) { return LossRow<Options>::reads == LossReads::gold_scores ? 1 : 3; });
  for (size_t i = 0; i < loss_names.size(); ++i) {
    const RunConfig c = read(smallest, {cat("loss.name=", loss_names[i]), cat("data.train_group_size=", groups[i])});
    EXPECT_EQ(c.tasks[0].loss.terms[0].options.index(), i) << loss_names[i];
  }
}

TEST(Config, ALossIsRefusedInTheWordsOfTheLossWhereItIsGiven) {
  const auto words_of = [](const LossConfig& config) { return refused(config)->what; };
  EXPECT_EQ(failure({"loss.temperature=0"}), "loss.temperature: " + words_of({.terms = {{InfoNceOptions{.temperature = 0}}}}));
  EXPECT_EQ(failure({"loss.temperature=0"}), "loss.temperature: 0 is not positive");
  EXPECT_EQ(failure({"loss.mrl_dims=[8, 4]"}), "loss.mrl_dims: " + words_of({.matryoshka_dims = {8, 4}}));
  EXPECT_EQ(failure({"loss.name=sum", "loss.terms.a.teacher_temperature=1e9", "loss.terms.a.name=kl_divergence"}),
            "loss.terms.a.teacher_temperature: 1e+09 is too large");
  EXPECT_EQ(failure({"loss.name=sum", "loss.terms.a.weight=-1"}), "loss.terms.a.weight: -1 is not positive");
  EXPECT_EQ(failure({"loss.name=margin_mse", "loss.similarity=dot", "loss.mrl_dims=[8]", "data.train_group_size=2"}),
            "loss.mrl_dims: " + words_of({.terms = {{MarginMseOptions{}}}, .matryoshka_dims = {8}}));
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
    const LossOptions options =
        read(smallest, {cat("loss.name=", name), "data.train_group_size=3", cat("loss.mask_false_negatives=", mask)})
            .tasks[0]
            .loss.terms[0]
            .options;
    return std::holds_alternative<GteOptions>(options) ? std::get<GteOptions>(options).duplicates
                                                       : std::get<CbbOptions>(options).duplicates;
  };
  for (const char* name : {"gte", "cbb"}) {
    EXPECT_EQ(duplicates(name, "false"), Duplicates::kept) << name;
    EXPECT_EQ(duplicates(name, "true"), Duplicates::masked) << name;
  }
}

TEST(Config, RunsThatCannotLearnAreRefused) {
  EXPECT_EQ(failure({"objective.name=reranker"}),
            "data: a reranker compares a query's positive with its negatives, but train_group_size is 1");
  EXPECT_EQ(failure({"objective.name=reranker", "data.train_group_size=2"}), "");
  const std::string own = "loss: a query's own passages are compared with each other (", one = "), but data.train_group_size is 1";
  EXPECT_EQ(failure({"loss.name=kl_divergence"}), own + "KL distillation, temperature 0.05" + one);
  EXPECT_EQ(failure({"loss.name=margin_mse"}), own + "margin MSE" + one);
  EXPECT_EQ(failure({"loss.name=sum", "loss.terms.a.name=info_nce", "loss.terms.b.name=margin_mse"}), own + "margin MSE" + one);
  for (const char* loss : {"kl_divergence", "margin_mse"})
    EXPECT_EQ(failure({cat("loss.name=", loss), "data.train_group_size=2"}), "") << loss;
  // Stabilised distillation in a group of 1 is a contrastive loss, as long as other queries' passages are candidates.
  EXPECT_EQ(failure({"loss.name=stabilised_distillation"}), "");
  EXPECT_NE(failure({"loss.name=stabilised_distillation", "loss.use_inbatch_neg=false"}), "");
  EXPECT_NE(failure({"loss.name=cbb"}), "");
  EXPECT_EQ(failure({"loss.name=cosent"}), "");
  // The section loss is what tasks start from: it is judged as each task has it.
  const std::string tasks =
      "model: {folder: m}\nloss: {name: kl_divergence}\ntrain: {output_dir: r, steps: 10}\ntasks: {qa: {data: {train: c, train_group_size: "
      "3}}}\n";
  EXPECT_NO_THROW(read(tasks));
  EXPECT_THROW(read(tasks, {"tasks.qa.data.train_group_size=1"}), Error);
}

TEST(Config, MinedNegativesNeedAListThatStaysAsItIs) {
  const std::vector<std::string> mining{"data.train_group_size=9", "data.select_negative=window", "mining.negatives=8"};
  const auto with = [&](const char* positive) {
    std::vector<std::string> overrides = mining;
    overrides.push_back(cat("data.select_positive=", positive));
    return failure(overrides);
  };
  for (const char* positive : {"random", "first", "teacher-pos"}) EXPECT_EQ(with(positive), "") << positive;
  EXPECT_EQ(with("teacher"),
            "data.select_positive: mined negatives are named by their places in a row's list, from which select_positive: teacher takes "
            "one away where it scores highest");
}

TEST(Config, ADeviceThatThisBuildLacksIsNamed) {
  const auto with = [](const std::string& device) { return failure({"device=" + device}); };
  for (const char* device : {"auto", "cpu"}) EXPECT_EQ(with(device), "") << device;
  EXPECT_EQ(with("cuda"), "device: this program was built without CUDA: there is no liblodestone_cuda.so");
  EXPECT_NE(with("tpu"), "");
}

TEST(Config, ARateThatMovesWeightsByMoreThanTheirSizeIsRefused) {
  EXPECT_EQ(failure({"optim.learning_rate=1"}), "");
  for (const char* rate : {"1.001", "5", "1e300"})
    EXPECT_EQ(failure({cat("optim.learning_rate=", rate)}),
              cat("optim.learning_rate: ", std::stod(rate), " is too large: AdamW moves every weight by about as much in each step"));
}

TEST(Config, OnlyLossesThatTakePairsForPositivesHaveALowestScoreOfThem) {
  EXPECT_EQ(read(smallest, {"data.positive_score_min=4"}).tasks[0].data.filter.positive_score_min, 4);
  EXPECT_EQ(failure({"data.positive_score_min=4", "loss.name=cosent"}),
            "data.positive_score_min: pairs of all scores are compared (CoSENT), none is left out for a low one");
}

TEST(Config, ARunWithoutTasksIsNotToldOfATask) {
  EXPECT_EQ(failure({"loss.name=cosent", "data.train_group_size=2"}),
            "data.train_group_size: CoSENT compares scored pairs, but data.train_group_size is 2");
  EXPECT_EQ(failure({"data.train="}), "data.train: there is no training corpus");
  EXPECT_EQ(failure({"tasks.sts.loss.name=cosent", "tasks.sts.data.train_group_size=2"}),
            "tasks.sts.data.train_group_size: CoSENT compares scored pairs, but data.train_group_size of task sts is 2");
}

TEST(Config, ImpossibleValuesAreRefused) {
  for (const char* bad : {"train.global_batch=1",
                          "train.global_batch=-8",
                          "train.precision=fp8",
                          "train.threads=0",
                          "train.threads=many",
                          "optim.learning_rate=0",
                          "optim.learning_rate=-1e-5",
                          "optim.adam_beta1=1",
                          "optim.adam_beta2=-0.1",
                          "optim.adam_epsilon=0",
                          "optim.warmup_ratio=1.5",
                          "optim.lr_scheduler_type=step",
                          "loss.temperature=0",
                          "data.train_group_size=0",
                          "data.query_max_len=2",
                          "data.small_sources=drop",
                          "data.batching=shuffled",
                          "train.steps=0",
                          "train.num_train_epochs=2",
                          "model.pooling=max",
                          "model.dropout=1",
                          "model.attention_dropout=1",
                          "model.attention_dropout=-0.5",
                          "model.hidden_dropout=0.1",
                          "model.normalize=perhaps",
                          "train.chunk_tokens=0",
                          "train.chunk_tokens=some",
                          "loss.use_inbatch_neg=false",
                          "train.logging_steps=0",
                          "train.save_total_limit=0",
                          "train.seed=-1",
                          "train.stepz=3"})
    EXPECT_NE(failure({bad}), "") << bad;
}

/// What is said about a text of several lines: "what; where".
std::string failure_of(const std::string& text, std::vector<std::string> overrides = {}) {
  try {
    read(text, std::move(overrides));
  } catch (const Error& e) {
    EXPECT_EQ(e.exit_code(), ExitCode::usage);
    return cat(e.what(), "; ", e.where());
  }
  return "";
}

std::vector<std::string> words_of(const std::string& text) {
  std::istringstream words(text);
  return {std::istream_iterator<std::string>(words), {}};
}

TEST(Config, OnlySentenceVectorsAreMined) {
  EXPECT_EQ(failure({"objective.name=retromae", "data.select_negative=window", "mining.negatives=3", "mining.every=2"}),
            "mining: there are no sentence vectors to judge negatives by");
  EXPECT_EQ(failure({"objective.name=reranker", "data.train_group_size=4", "data.select_negative=window", "mining.negatives=3"}),
            "mining: there are no sentence vectors to judge negatives by");
  EXPECT_EQ(failure({"data.train_group_size=4", "data.select_negative=window", "mining.negatives=3"}), "");
  EXPECT_EQ(failure({"data.train_group_size=4", "data.select_negative=window"}),
            "data.select_negative: negatives are chosen by the window of mining, but nothing is mined");
}

TEST(Config, ALossIsJudgedByTheGroupsOfItsTask) {
  const std::string own = "loss: a query's own passages are compared with each other", of_a = "but data.train_group_size of task a is 1";
  const std::string tasks = "model: {folder: m}\ndata: {train: c}\ntrain: {output_dir: r, steps: 10}\ntasks: {a: {data: {alpha: 1}}}\n";
  const auto told = [&](std::vector<std::string> overrides) { return failure_of(tasks, std::move(overrides)); };
  EXPECT_EQ(told({"data.train_group_size=4", "loss.name=cbb"}), "");
  EXPECT_EQ(told({"data.train_group_size=1", "loss.name=cbb", "tasks.a.data.train_group_size=4"}), "");
  EXPECT_NE(told({"data.train_group_size=4", "loss.name=cbb", "tasks.a.data.train_group_size=1"}).find(of_a), std::string::npos);
  EXPECT_NE(told({"data.train_group_size=4", "loss.use_inbatch_neg=false", "tasks.a.data.train_group_size=1"}).find(own),
            std::string::npos);
  EXPECT_NE(told({"tasks.a.loss.name=sum", "tasks.a.loss.terms.x.use_inbatch_neg=false"}).find(own), std::string::npos);
}

TEST(Config, ValuesThatMeanNothingAreRefused) {
  for (const char* bad : {"optim.warmup_steps=-5",
                          "published.devices=-5",
                          "published.rows=-1",
                          "optim.loss_scale=dynamic optim.loss_scale_initial=-1",
                          "optim.loss_scale=dynamic optim.loss_scale_window=0",
                          "train.steps=0 train.num_train_epochs=1e300",
                          "train.gradient_accumulation_steps=1000000000000000000",
                          "schedule.groups=1000000000000000000",
                          "train.steps=2000000000 schedule.groups=1000",
                          "train.steps=200000000",
                          "loss.temperature=1e9",
                          "train.steps=-3",
                          "loss.name=sum loss.terms.a.weight=-1",
                          "loss.name=sum loss.terms.a.weight=0",
                          "tasks.a.weight=0",
                          "tasks.a.weight=-1",
                          "tasks.a.share=-3",
                          "tasks.a.share=9223372036854775807 schedule.mix=random",
                          "tasks.a.ranks=0",
                          "tasks.a.share=2 schedule.mix=joint",
                          "data.alpha=1e300",
                          "optim.learning_rate=1e300",
                          "loss.mrl_dims=[8,4]",
                          "loss.mrl_dims=[0]",
                          "data.instruction=bge",
                          "data.rules.x.repeat=0",
                          "data.rules.x.share=1.5",
                          "data.rules.x.max_rows=0",
                          "data.rules.x.group_size=0",
                          "loss.symmetric=true loss.use_inbatch_neg=false data.train_group_size=2",
                          "train.metric=heldout_loss",
                          "data.heldout=h train.metric=heldout_ndcg",
                          "data.heldout=h train.metric=heldout_loss/retrieval",
                          "data.heldout=h loss.name=cosent train.metric=heldout_mrr_at_10"}) {
    EXPECT_NE(failure(words_of(bad)), "") << bad;
    EXPECT_EQ(failure_of(smallest, words_of(bad)).find("file=defaults"), std::string::npos) << bad;
  }
  const std::string mined = "data.train_group_size=4 data.select_negative=window mining.negatives=3 ";
  for (const char* bad : {"mining.mean_limit=-5", "mining.mean_limit=0", "mining.every=0", "mining.mean_ratio=0.5", "mining.first_end=-1",
                          "mining.rule=each mining.refill=remine"})
    EXPECT_EQ(failure(words_of(mined + bad)).find("mining."), 0u) << bad;
  EXPECT_EQ(failure({"optim.warmup_steps=-1", "data.heldout=h", "train.metric=heldout_mrr_at_10"}), "");
}

TEST(Config, AHeldOutFigureOfSeveralTasksNamesItsTask) {
  const std::string tasks =
      "model: {folder: m}\ndata: {train: c, heldout: h}\ntrain: {output_dir: r, steps: 10}\ntasks: {a: {weight: 1}, b: {weight: 2}}\n";
  for (const char* good : {"heldout_loss", "heldout_loss/a", "heldout_mrr_at_10/b"})
    EXPECT_EQ(failure_of(tasks, {cat("train.metric=", good)}), "") << good;
  for (const char* bad : {"heldout_mrr_at_10", "heldout_loss/c", "loss/a"})
    EXPECT_NE(failure_of(tasks, {cat("train.metric=", bad)}), "") << bad;
  EXPECT_NE(failure_of(tasks, {"tasks.b.data.heldout=", "train.metric=heldout_loss"}), "");
}

TEST(Config, AFailureNamesTheLineThatGivesTheValue) {
  const std::string head = "model: {folder: m}\ntrain: {output_dir: r, steps: 10}\n";
  const auto line = [&](const std::string& rest, const std::string& key, int number) {
    const std::string text = failure_of(head + rest);
    EXPECT_EQ(text.find(key + ": "), 0u) << text;
    EXPECT_NE(text.find(cat("run.yaml line ", number)), std::string::npos) << text;
  };
  line("data: {train: c,\n  instruction: bge}\n", "data.instruction", 4);
  line("data: {train: c,\n  rules: {x: {repeat: 0}}}\n", "data.rules.x.repeat", 4);
  line("data: {train: c,\n  rules: {'x:y': {repeat: 2}}}\n", "data.rules.x:y", 4);
  const std::string no_room = failure_of("model: {folder: m, max_seq_length: 2}\ntrain: {output_dir: r, steps: 10}\ndata: {train: c}\n");
  EXPECT_EQ(no_room.find("model.max_seq_length: "), 0u) << no_room;
  line("data: {train: c}\nloss: {name: info_nce,\n mrl_dims: [8, 4]}\n", "loss.mrl_dims", 5);
  line("data: {train: c}\nobjective: {name: retromae,\n encoder_mlm_probability: 0}\n", "objective.encoder_mlm_probability", 5);
  line("data: {train: c}\noptim:\n  loss_scale: dynamic\n  loss_scale_window: 0\n", "optim.loss_scale_window", 6);
  line("data: {train: c, train_group_size: 4, select_negative: window}\nmining: {negatives: 3,\n  every: 0}\n", "mining.every", 5);
  line("data: {train: c}\ntasks:\n  a:\n    weight: 0\n", "tasks.a.weight", 6);
  // Of a task's settings the place that gives them: its own section, or the one that it starts from.
  line(
      "data: {train: c, train_group_size: 4,\n select_negative: window}\nmining:\n  negatives: 3\ntasks:\n  sts: {data: {train_group_size: "
      "1}}\n",
      "mining.negatives", 6);
  line("data: {train: c}\ntasks:\n  a: {global_batch: 1}\n", "tasks.a.global_batch", 5);
  EXPECT_EQ(failure_of(smallest, {"train.global_batch=1"}),
            "train.global_batch: 1 is too small: a query needs another one beside it; file=command line");
  EXPECT_EQ(failure_of(smallest, {"train.steps=-3"}), "train.steps: -3 is too small; file=command line");
}

TEST(Config, KeysThatAnObjectiveDoesNotReadAreRefused) {
  const auto reranker = [](const char* key) { return failure({"objective.name=reranker", "data.train_group_size=2", key}); };
  const auto retromae = [](const char* key) { return failure({"objective.name=retromae", key}); };
  for (const char* key : {"data.query_prompt=a: ", "data.instruction=bge_en", "data.train_group_size=5", "model.pooling=mean",
                          "model.head=16", "loss.name=cosent", "loss.mrl_dims=[8, 16]", "data.pair_max_len=64"})
    EXPECT_NE(retromae(key), "") << key;
  for (const char* key : {"model.head=16", "model.pooling=cls", "loss.mrl_dims=[8]", "model.normalize=true"})
    EXPECT_NE(reranker(key), "") << key;
  for (const char* key : {"data.pair_max_len=64", "data.query_prompt=a: "}) EXPECT_EQ(reranker(key), "") << key;
  EXPECT_EQ(retromae("model.pooling=cls"), "");
  EXPECT_NE(failure({"data.pair_max_len=64"}), "");
  EXPECT_EQ(failure_of("model: {config: c, vocab: v}\nobjective: {name: reranker}\ndata: {train: c, train_group_size: 2}\ntrain: "
                       "{output_dir: r, steps: 1}\n"),
            "model.folder: a reranker starts from a model folder, not from random weights; file=defaults");
  const std::string texts = "model: {folder: m}\nobjective: {name: retromae}\ndata: {train: c}\ntrain: {output_dir: r, steps: 10}\n";
  const RunConfig first = read(texts);
  EXPECT_EQ(read(first.resolved).resolved, first.resolved);
}

}  // namespace
}  // namespace lodestone
