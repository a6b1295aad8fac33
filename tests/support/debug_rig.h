// A debug backend with an arena, and what tests of what runs on it have in common.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "core/arena.h"
#include "core/cpu/reference/reference_backend.h"
#include "core/debug/debug_backend.h"

namespace lodestone::test {

inline constexpr size_t arena_bytes = size_t{1} << 24;

/// A debug backend with an arena.
template <class B = DebugBackend>
struct Rig {
  B backend{std::make_unique<ReferenceBackend>()};
  Arena arena{backend.memory(), arena_bytes};

  /// On the device, and there already.
  Tensor holding(const std::vector<double>& values) {
    const Tensor x = arena.tensor(DType::f64, {std::ssize(values)});
    backend.upload(view(std::span(values)), x);
    backend.synchronize();
    return x;
  }
  std::vector<double> values(ConstTensor x) {
    const auto scope = arena.scope();
    const auto all = fetch<double>(backend, arena, x);
    return {all.begin(), all.end()};
  }
};

/// What Error (internal) the call throws.
inline std::string message_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::internal);
    return error.what();
  }
  return "nothing was thrown";
}

/// What a trainer does with a total.
inline void demand_finite(double total) {
  if (std::isfinite(total)) return;
  std::fputs("the total is not finite\n", stderr);
  std::abort();
}

}  // namespace lodestone::test
