// Tests that run on any backend: the one they ask for, or the same as a device would be.
#pragma once

#include <cstdlib>
#include <string>
#include <vector>

#include "core/backend.h"

namespace lodestone::test {

/// `kind` ("reference" or "cpu"), or with LODESTONE_TEST_BACKEND=debug in the environment the debug backend over it.
inline std::unique_ptr<Backend> any_backend(const std::string& kind) {
  const bool reference = kind == "reference";
  LODE_CHECK(reference || kind == "cpu", "tests run on reference or cpu, not on ", kind);
  const char* const as = std::getenv("LODESTONE_TEST_BACKEND");
  if (as == nullptr || std::string(as) != "debug") return make_backend({.kind = reference ? BackendKind::reference : BackendKind::cpu});
  return make_backend({.kind = reference ? BackendKind::debug_reference : BackendKind::debug});
}

/// What x [.] of any float dtype holds, in double.
inline std::vector<double> to_double(Backend& backend, Arena& arena, ConstTensor x) {
  const auto scope = arena.scope();
  const Tensor wide = arena.tensor(DType::f64, x.shape());
  backend.cast(x, wide);
  const std::span<const double> values = fetch<double>(backend, arena, wide);
  return {values.begin(), values.end()};
}

/// x [.] = values.
inline void from_double(Backend& backend, Arena& arena, std::span<const double> values, Tensor x) {
  const auto scope = arena.scope();
  backend.cast(backend.upload(view(values), arena).reshape(x.shape()), x);
}

}  // namespace lodestone::test
