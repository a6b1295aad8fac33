// What a training run needs, made where a test needs one: a model, corpora, and configurations of a few steps.
#pragma once

#include <string>
#include <vector>

#include "launch/config/config.h"
#include "tests/data/corpus/pack_support.h"
#include "tests/support/tiny_folder.h"

namespace lodestone::test {

/// A model folder and corpora of this rank, the same on all: "triples" with teacher scores, scored "pairs" and "texts".
class TinyRun {
 public:
  TinyRun() {
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

  /// Of three steps on any backend, also on one that no configuration names; `yaml` has the other sections, `train` more keys of that
  /// one, each behind a comma.
  RunConfig config(BackendKind backend, const std::string& yaml, const std::string& train = "") const {
    const std::string file = cat("model: {folder: ", model_.path().string(), "}\n", "train: {output_dir: ", (dir_ / "run").string(),
                                 ", global_batch: 8, steps: 3, precision: f32, threads: 1, chunk_tokens: 40", train, "}\n", yaml);
    RunConfig config = read_run_config(std::vector{write_text(dir_ / "run.yaml", file)}, {});
    config.backend = backend;
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
    pack_files(dir_ / name, {write_text(dir_ / (name + ".jsonl"), lines)}, {}, 1, {tokenizer.vocab_size(), tokenizer.fingerprint()},
               [&](std::string_view text, std::vector<int32_t>& ids) { tokenizer.encode(text, ids); });
  }

  TinyFolder model_;
  TempDir dir_;
};

}  // namespace lodestone::test
