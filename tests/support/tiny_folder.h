// A model folder with a handful of words and random weights, made where a test needs one.
#pragma once

#include <fstream>

#include "data/models/model_export.h"
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
    std::ofstream(memory_ / "config.json")
        << R"({"model_type": "bert", "vocab_size": 14, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
               "intermediate_size": 24, "max_position_embeddings": 32, "type_vocab_size": 2, "initializer_range": 0.3,
               "hidden_act": "gelu", "layer_norm_eps": 1e-12})";
    const ModelFolder model = read_model_config(memory_ / "config.json");
    const auto backend = make_backend({.kind = BackendKind::reference});
    ParamStore params(backend->memory(), embedder_layout(model.config), DType::f32);
    initialize_parameters(model.config, params, 3);
    params.refresh(*backend);
    make_model_source(model, Tokenizer::from_vocab(memory_ / "vocab.txt", {}), memory_ / "source");
    write_model_folder(path(), model, params, memory_ / "source", {}, IfExists::refuse);
  }
  std::filesystem::path path() const { return memory_ / "model"; }

 private:
  TempDir memory_;
};

}  // namespace lodestone::test
