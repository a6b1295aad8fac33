// main() of the MPI tests: makes the World, watches every test, prints results on rank 0 and failures on all, and fails if any
// rank fails. An exception ends all ranks at once; a test that hangs is ended by the watchdog, which names it.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <memory>

#include "tests/support/device_listener.h"
#include "tests/support/mpi_world.h"

namespace lodestone::test {

namespace {

/// What a test may take: more on the emulated GPU, and what LODESTONE_TEST_LIMIT_S says where tests run that take longer.
double test_limit_s() {
  if (const char* const asked = std::getenv("LODESTONE_TEST_LIMIT_S"); asked != nullptr) return std::atof(asked);
  return device_asked_for() == "cuda" ? 480 : 120;
}

std::unique_ptr<World> the_world;

class RankListener final : public ::testing::EmptyTestEventListener {
  void OnTestStart(const ::testing::TestInfo& test) override {
    name_ = std::string(test.test_suite_name()) + "." + test.name();
    phase_ = std::make_unique<Watchdog::Phase>(&the_world->watchdog(), Watchdog::Operation{name_.c_str()});
  }
  void OnTestPartResult(const ::testing::TestPartResult& result) override {
    if (result.failed() && the_world->rank() != 0)
      std::fprintf(stderr, "rank %d: %s:%d: %s\n", the_world->rank(), result.file_name(), result.line_number(), result.message());
  }
  void OnTestEnd(const ::testing::TestInfo&) override { phase_.reset(); }

  std::string name_;
  std::unique_ptr<Watchdog::Phase> phase_;
};

}  // namespace

World& world() { return *the_world; }

}  // namespace lodestone::test

int main(int argc, char** argv) {
  using namespace lodestone;
  test::the_world = std::make_unique<World>(argc, argv);
  test::world().watchdog().set_limit(test::test_limit_s());
  ::testing::InitGoogleTest(&argc, argv);
  GTEST_FLAG_SET(catch_exceptions, false);
  auto& listeners = ::testing::UnitTest::GetInstance()->listeners();
  if (test::world().rank() != 0) delete listeners.Release(listeners.default_result_printer());
  listeners.Append(new test::RankListener);
  listeners.Append(new test::DeviceListener);
  int64_t failed = RUN_ALL_TESTS();
  all_reduce(test::world_comm(), std::span<int64_t>(&failed, 1), Reduce::max);
  test::the_world.reset();
  return failed == 0 ? 0 : 1;
}
