// main() of the tests without MPI: GoogleTest's own, and what tests on the debug backend are held to.
#include <gtest/gtest.h>

#include "tests/support/device_listener.h"

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  ::testing::UnitTest::GetInstance()->listeners().Append(new lodestone::test::DeviceListener);
  return RUN_ALL_TESTS();
}
