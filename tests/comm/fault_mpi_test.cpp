// Faults that end the whole job, so they are disabled here; tests/lost_rank_test.sh runs them one by one and checks the end.
#include <gtest/gtest.h>
#include <signal.h>

#include <iostream>
#include <stdexcept>

#include "comm/planes.h"
#include "tests/support/mpi_world.h"

namespace lodestone {
namespace {

/// The last rank does `fault` at its tenth collective; the others go on calling until they are ended.
template <class Fault>
void at_the_tenth_collective(Fault fault) {
  World& world = test::world();
  world.watchdog().set_limit(2);
  for (int i = 0;; ++i) {
    if (i == 10 && world.rank() == world.size() - 1) fault();
    double value = 1;
    all_reduce(world.comm(), std::span<double>(&value, 1), Reduce::sum);
  }
}

TEST(Fault, DISABLED_StoppedRank) {
  at_the_tenth_collective([] { raise(SIGSTOP); });
}
/// The same where the host waits for its GPU, which waits for the other ranks by NCCL.
TEST(Fault, DISABLED_StoppedRankByNccl) {
  World& world = test::world();
  const auto backend = make_backend({.kind = BackendKind::cuda, .gpu = world.local_rank()});
  const Planes planes(world.comm(), *backend, Transport::nccl, &world.watchdog());
  Arena arena(backend->memory(), size_t{1} << 20);
  const Tensor value = arena.tensor(DType::f64, {1});
  backend->fill_zero(value);
  world.watchdog().set_limit(2);
  for (int i = 0;; ++i) {
    if (i == 10 && world.rank() == world.size() - 1) raise(SIGSTOP);
    planes.group().device.all_reduce(value, value, Reduce::sum).wait();
    backend->synchronize();
  }
}
TEST(Fault, DISABLED_KilledRank) {
  at_the_tenth_collective([] { raise(SIGKILL); });
}
TEST(Fault, DISABLED_ThrowingRank) {
  at_the_tenth_collective([] { throw std::runtime_error("injected"); });
}
TEST(Fault, DISABLED_AbortingRank) {
  at_the_tenth_collective([] {
    std::cerr << "error: injected" << std::endl;
    test::world().abort(static_cast<int>(ExitCode::data));
  });
}

}  // namespace
}  // namespace lodestone
