// The folder of a cross-encoder with a handful of words and random weights, made where a test needs one.
#pragma once

#include "data/models/reranker_folder.h"
#include "tests/support/tiny_folder.h"

namespace lodestone::test {

class TinyRerankerFolder {
 public:
  TinyRerankerFolder() {
    const RerankerFolder model = read_reranker_folder(start_.path());
    const auto backend = make_backend({.kind = BackendKind::reference});
    ParamStore params(backend->memory(), reranker_layout(model.config), DType::f32);
    initialize_parameters(model.config.body(), params, 4);
    params.refresh(*backend);
    write_reranker_folder(path(), model, params, start_.path(), {}, IfExists::refuse);
  }
  std::filesystem::path path() const { return memory_ / "reranker"; }

 private:
  TinyFolder start_;
  TempDir memory_;
};

}  // namespace lodestone::test
