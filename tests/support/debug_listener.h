// Holds tests that are run on the debug backend to running there.
#pragma once

#include <gtest/gtest.h>

#include "tests/support/any_backend.h"

namespace lodestone::test {

/// With LODESTONE_TEST_BACKEND=debug a test that made no debug backend, and did not skip itself, fails: it would pass without having shown
/// anything of a device. Throws as on_debug() does.
class DebugListener final : public ::testing::EmptyTestEventListener {
 private:
  void OnTestStart(const ::testing::TestInfo&) override { before_ = debug_backends_made(); }
  void OnTestEnd(const ::testing::TestInfo& test) override {
    if (!on_debug_ || test.result()->Skipped() || debug_backends_made() > before_) return;
    ADD_FAILURE() << "the test made no backend by any_backend(): it does not belong into a run on debug";
  }

  const bool on_debug_ = on_debug();
  int64_t before_ = 0;
};

}  // namespace lodestone::test
