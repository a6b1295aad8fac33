// The frame of the programs that compute one step for comparison with PyTorch: PROGRAM MODEL_FOLDER INPUT.json OUTPUT.safetensors PRECISION
#pragma once

#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

#include "core/buffer.h"
#include "core/params.h"
#include "data/files/safetensors.h"
#include "tests/support/evaluate.h"

namespace lodestone {

/// What a program was asked for, and what it computes with. Dropout is off because batches have no keys.
struct Dump {
  std::filesystem::path folder, output;
  nlohmann::json input;
  std::unique_ptr<Backend> backend = make_backend({.kind = BackendKind::cpu, .threads = 2});
  Arena arena{backend->memory()};
  Exec ex;

  Dump(const std::string& folder, const std::string& input, const std::string& output, const std::string& precision)
      : folder(folder),
        output(output),
        input(nlohmann::json::parse(std::ifstream(input))),
        ex{*backend, arena, Key(1),
           precision == "f64"   ? DType::f64
           : precision == "f32" ? DType::f32
                                : DType::bf16} {}
};

/// The weights of a folder, laid out for what is trained.
template <class Folder>
ParamStore loaded_params(const Dump& dump, const Folder& folder, ParamLayout layout) {
  ParamStore params(dump.backend->memory(), std::move(layout), dump.ex.compute);
  load_weights(folder, params);
  params.refresh(*dump.backend);
  return params;
}

/// One objective's loss and whole gradient.
struct DumpGradient {
  Buffer memory;
  Tensor grads;
  double loss;

  DumpGradient(const Dump& dump, Objective& objective, const Batch& batch, const ParamStore& params)
      : memory(dump.backend->memory(), static_cast<size_t>(params.layout().count()) * size_of(dump.ex.wide())),
        grads(memory.tensor(dump.ex.wide(), {params.layout().count()})),
        loss(test::accumulate(objective, dump.ex, batch, 1, grads, {})) {}
  NamedTensor of(const Param& p) const { return {p.name, grads.slice(p.slice).reshape(p.shape)}; }
};

/// main(): prints the loss that `body` returns after writing its tensors; 1 and a line on stderr when it throws.
inline int dump_main(int argc, char** argv, const std::function<double(Dump&)>& body) {
  if (argc != 5) {
    std::cerr << "usage: " << argv[0] << " MODEL_FOLDER INPUT.json OUTPUT.safetensors f64|f32|bf16\n";
    return 2;
  }
  try {
    Dump dump(argv[1], argv[2], argv[3], argv[4]);
    std::cout.precision(17);
    std::cout << body(dump) << '\n';
  } catch (const std::exception& e) {
    std::cerr << "error: " << e.what() << '\n';
    return 1;
  }
  return 0;
}

/// Appends one text of token ids.
inline void append_text(const nlohmann::json& text, Batch& batch) {
  for (const auto& id : text) batch.ids.push_back(id.get<int32_t>());
  batch.offsets.push_back(static_cast<int64_t>(batch.ids.size()));
}

}  // namespace lodestone
