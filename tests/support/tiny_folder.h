// A model folder with a handful of words and random weights, made where a test needs one.
#pragma once

#include <fstream>

#include "data/model_export.h"
#include "tests/support/temp_dir.h"

namespace lodestone::test {

class TinyFolder {
 public:
  TinyFolder() {
    const char* const words[] = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "red",  "blue",
                                 "stone", "river", "cat",   "dog",   "tree",   "moon", "##s"};
    {
      std::ofstream vocab(memory_ / "vocab.txt");
      for (const char* word : words) vocab << word << '\n';
    }
    ModelFolder model;
    model.config.encoder = {.vocab = static_cast<int64_t>(std::size(words)),
                            .hidden = 16,
                            .layers = 2,
                            .heads = 2,
                            .feed_forward = 24,
                            .positions = 32,
                            .types = 2};
    model.config.encoder.initializer_range = 0.3;
    model.max_seq_length = 32;
    const auto backend = make_backend({.kind = "reference"});
    ParamStore params(embedder_layout(model.config), DType::f32);
    initialize_parameters(model.config, params, 3);
    params.refresh(*backend);
    make_model_source(model, memory_ / "vocab.txt", {}, memory_ / "source");
    write_model_folder(path(), model, params, memory_ / "source", {}, IfExists::refuse);
  }
  std::filesystem::path path() const { return memory_ / "model"; }

 private:
  TempDir memory_;
};

}  // namespace lodestone::test
