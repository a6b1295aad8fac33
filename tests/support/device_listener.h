// Holds tests that are run on the backend of a device to running there.
#pragma once

#include <gtest/gtest.h>

#include "tests/support/any_backend.h"

namespace lodestone::test {

/// With LODESTONE_TEST_BACKEND in the environment a test that made no such backend, and did not skip itself, fails: it would pass without
/// having shown anything of a device. Throws as device_asked_for() does.
class DeviceListener final : public ::testing::EmptyTestEventListener {
 private:
  void OnTestStart(const ::testing::TestInfo&) override { before_ = device_backends_made(); }
  void OnTestEnd(const ::testing::TestInfo& test) override {
    if (device_.empty() || test.result()->Skipped() || device_backends_made() > before_) return;
    ADD_FAILURE() << "the test made no backend by any_backend(): it does not belong into a run on " << device_;
  }

  const std::string_view device_ = device_asked_for();
  int64_t before_ = 0;
};

}  // namespace lodestone::test
