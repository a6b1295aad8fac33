// Tests that run on any backend: the one they ask for, or the same as a device would be.
#pragma once

#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "core/backend.h"

namespace lodestone::test {

/// What LODESTONE_TEST_BACKEND asks for: "debug", "cuda", or nothing. Throws Error (internal) where it asks for anything else: a run that
/// was meant for a device and is none would pass.
inline std::string_view device_asked_for() {
  const char* const as = std::getenv("LODESTONE_TEST_BACKEND");
  if (as == nullptr) return {};
  LODE_CHECK(std::string_view(as) == "debug" || std::string_view(as) == "cuda", "LODESTONE_TEST_BACKEND is '", as,
             "', tests know 'debug' and 'cuda' only");
  return as;
}

/// What LODESTONE_TEST_LAUNCHES asks for: "graphs", or nothing. Throws as device_asked_for() does.
inline Launches launches_asked_for() {
  const char* const as = std::getenv("LODESTONE_TEST_LAUNCHES");
  if (as == nullptr) return Launches::single;
  LODE_CHECK(std::string_view(as) == "graphs", "LODESTONE_TEST_LAUNCHES is '", as, "', tests know 'graphs' only");
  return Launches::graphs;
}

/// How many backends of a device any_backend() has made in this process: support/device_listener.h fails a test on a device that made none.
inline int64_t& device_backends_made() {
  static int64_t count = 0;
  return count;
}

/// `kind` ("reference" or "cpu"); with LODESTONE_TEST_BACKEND=debug in the environment the debug backend over it, with =cuda that of CUDA,
/// with its own kernels; with LODESTONE_TEST_LAUNCHES=graphs these two with graphs.
inline std::unique_ptr<Backend> any_backend(const std::string& kind) {
  const bool reference = kind == "reference";
  LODE_CHECK(reference || kind == "cpu", "tests run on reference or cpu, not on ", kind);
  const std::string_view device = device_asked_for();
  if (device.empty()) return make_backend({.kind = reference ? BackendKind::reference : BackendKind::cpu});
  ++device_backends_made();
  if (device == "cuda")
    return make_backend({.kind = BackendKind::cuda, .attention = AttentionChoice::own, .launches = launches_asked_for()});
  return make_backend({.kind = reference ? BackendKind::debug_reference : BackendKind::debug, .launches = launches_asked_for()});
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

/// A tensor of the arena with these values.
inline Tensor tensor_of(Backend& backend, Arena& arena, std::span<const double> values, Shape shape, DType dtype = DType::f64) {
  const Tensor x = arena.tensor(dtype, shape);
  from_double(backend, arena, values, x);
  return x;
}

}  // namespace lodestone::test
