// How often a training step asks a device for something: once, and once more for what only the host can do.
#include <gtest/gtest.h>

#include <algorithm>
#include <iostream>

#include "launch/training/step.h"
#include "tests/data/corpus/pack_support.h"
#include "tests/support/mpi_world.h"
#include "tests/support/tiny_folder.h"

namespace lodestone {
namespace {

/// A model folder and corpora of this rank, the same on all, and a run on the debug backend over it.
class Material {
 public:
  Material() {
    const Tokenizer tokenizer = Tokenizer::from_folder(model_.path());
    pack(tokenizer, "triples", [](int i) {
      return cat(R"({"query": ")", word(i), " ", word(i + 1), R"(", "pos": [")", word(i), " ", word(i / 8), R"("], "neg": [")", word(i + 3),
                 " moon", R"(", ")", word(i + 5), " ", word(i / 8 + 1), R"("], "teacher_scores": [1.0, 0.4, 0.2]})");
    });
    pack(tokenizer, "pairs", [](int i) {
      return cat(R"({"sentence1": ")", word(i), " ", word(i + 1), R"(", "sentence2": ")", word(i + i % 3), " ", word(i / 8),
                 R"(", "score": )", 0.125 * (i % 8), "}");
    });
    pack(tokenizer, "texts", [](int i) { return cat(R"({"text": ")", word(i), " ", word(i + 1), " ", word(i / 8), R"("})"); });
  }

  RunConfig config(const std::string& yaml) const {
    const std::string file = cat("model: {folder: ", model_.path().string(), "}\n", "train: {output_dir: ", (dir_ / "run").string(),
                                 ", global_batch: 8, steps: 3, precision: f32, threads: 1, chunk_tokens: 40}\n", yaml);
    RunConfig config = read_run_config(std::vector{test::write_text(dir_ / "run.yaml", file)}, {});
    config.device = "debug";
    return config;
  }
  std::string corpus(const char* name) const { return (dir_ / name).string(); }

 private:
  static const char* word(int i) {
    static constexpr const char* words[] = {"red", "blue", "stone", "river", "cat", "dog", "tree", "moon"};
    return words[static_cast<size_t>(i) % std::size(words)];
  }
  template <class Row>
  void pack(const Tokenizer& tokenizer, const std::string& name, const Row& row) {
    std::string lines;
    for (int i = 0; i < 64; ++i) lines += row(i) + "\n";
    test::pack_files(dir_ / name, {test::write_text(dir_ / (name + ".jsonl"), lines)}, {}, 1,
                     {tokenizer.vocab_size(), tokenizer.fingerprint()},
                     [&](std::string_view text, std::vector<int32_t>& ids) { tokenizer.encode(text, ids); });
  }

  test::TinyFolder model_;
  test::TempDir dir_;
};

/// What losses, objectives and the step asked for, and what communicators did inside their verbs.
struct PerStep {
  int64_t downloads = 0, waits = 0, staged = 0, drained = 0;
  PerStep operator-(const PerStep& before) const {
    return {downloads - before.downloads, waits - before.waits, staged - before.staged, drained - before.drained};
  }
  friend bool operator==(const PerStep&, const PerStep&) = default;
};

PerStep so_far(const Run& run) {
  const Transfers& all = run.backend->transfers();
  const int64_t staged = run.planes.device_waits(), drained = run.planes.host_waits();
  return {all.downloads - staged, all.waits - staged - drained, staged, drained};
}

/// Of the steps of a run behind the first, which must all ask for as much.
PerStep asked_for(RunConfig config) {
  Run run(test::world(), std::move(config), 0);
  TrainingStep training(run);
  std::vector<PerStep> steps;
  for (int64_t step = 0; step < 3; ++step) {
    const PerStep before = so_far(run);
    training.accumulate(step);
    const StepOutcome outcome = training.update(step);
    EXPECT_TRUE(outcome.finite) << "step " << step;
    steps.push_back(so_far(run) - before);
  }
  EXPECT_EQ(steps[1], steps[2]);
  return steps[2];
}

void expect_downloads(const char* what, int64_t expected, RunConfig config) {
  const PerStep asked = asked_for(std::move(config));
  EXPECT_EQ(asked.downloads, expected) << what;
  EXPECT_EQ(asked.waits, expected) << what;
  if (test::world().rank() != 0) return;
  std::cout << what << ": " << asked.downloads << " downloads and waits a step, and inside communicators " << asked.staged
            << " verbs staged, " << asked.drained << " of the host plane\n";
}

TEST(StepTransfers, AStepDownloadsOnceAndOnceMoreForWhatOnlyTheHostCanDo) {
  const Material material;
  const auto config = [&](const char* corpus, const char* group, const char* rest) {
    return material.config(cat("data: {train: ", material.corpus(corpus), ", query_max_len: 16, passage_max_len: 16", group, "}\n", rest));
  };
  for (const char* loss : {"info_nce", "gte", "cbb", "kl_divergence", "margin_mse", "stabilised_distillation"})
    expect_downloads(loss, 1, config("triples", ", train_group_size: 3", cat("loss: {name: ", loss, "}\n").c_str()));
  expect_downloads("info_nce, masked", 1,
                   config("triples", ", train_group_size: 3", "loss: {name: info_nce, mask_false_negatives: true}\n"));
  expect_downloads("cosent", 2, config("pairs", "", "loss: {name: cosent}\n"));
  expect_downloads("info_nce, mining", 2,
                   config("triples", ", train_group_size: 2, select_negative: window", "mining: {negatives: 1, every: 100}\n"));
  expect_downloads("reranker", 1, config("triples", ", train_group_size: 3", "objective: {name: reranker}\n"));
  expect_downloads("retromae", 1, config("texts", "", "objective: {name: retromae}\n"));
}

}  // namespace
}  // namespace lodestone
