// require_same: whatever differs, all ranks hear the same of it, and who it is.
#include <gtest/gtest.h>

#include "comm/require_same.h"
#include "core/host_name.h"
#include "tests/support/mpi_world.h"

namespace lodestone {
namespace {

using test::world_comm;

/// "F99 what; where; do: remedy" of what all ranks throw, or nothing.
std::string refusal_of(std::span<const Fingerprint> prints) {
  try {
    require_same(world_comm(), prints, {ExitCode::numerical, "F99", "mend it"});
  } catch (const Error& e) {
    EXPECT_EQ(e.exit_code(), ExitCode::numerical);
    std::string own = cat(e.code(), " ", e.what(), "; ", e.where(), "; do: ", e.remedy()), of_rank_0 = own;
    broadcast(world_comm(), of_rank_0, 0);
    EXPECT_EQ(own, of_rank_0);
    return own;
  }
  return {};
}

Fingerprint shape(uint64_t hash, const std::string& facts) {
  return {"shape", hash, [facts] { return facts; }};
}
const Fingerprint colour{"colour", 7};

TEST(RequireSame, EqualFingerprintsAreFine) {
  const Fingerprint prints[] = {colour, shape(~uint64_t{0}, "sides: 4\n")};
  EXPECT_EQ(refusal_of(prints), "");
  EXPECT_EQ(refusal_of({}), "");
}

TEST(RequireSame, OneRankAmongManyIsNamedWithItsFirstFact) {
  const int ranks = world_comm().size(), odd = ranks - 1;
  if (ranks < 3) GTEST_SKIP() << "two ranks have no majority";
  const bool mine = world_comm().rank() == odd;
  const Fingerprint prints[] = {colour, mine ? shape(3, "name: box\nsides: 4\nsize: 2\n") : shape(2, "name: box\nsides: 3\nsize: 1\n")};
  EXPECT_EQ(refusal_of(prints), cat("F99 rank ", odd, " of ", ranks, " differs from most in the shape: sides is 4 on rank ", odd,
                                    ", 3 on rank 0; rank=", odd, " host=", host_name(), "; do: mend it"));
  const Fingerprint lacking[] = {mine ? shape(3, "name: box\n") : shape(2, "name: box\nsides: 3\n")};
  EXPECT_NE(refusal_of(lacking).find(cat("sides is missing on rank ", odd, ", 3 on rank 0;")), std::string::npos);
}

TEST(RequireSame, RankZeroMayBeTheOddOne) {
  if (world_comm().size() < 3) GTEST_SKIP() << "two ranks have no majority";
  const Fingerprint prints[] = {{.what = "colour", .hash = world_comm().rank() == 0 ? uint64_t{1} : uint64_t{2}}};
  EXPECT_EQ(refusal_of(prints),
            cat("F99 rank 0 of ", world_comm().size(), " differs from most in the colour; rank=0 host=", host_name(), "; do: mend it"));
}

TEST(RequireSame, WithoutAMajorityAllThatDifferAreNamed) {
  const int ranks = world_comm().size();
  if (ranks < 2) GTEST_SKIP() << "one rank differs from nobody";
  std::string odd, all = "0";
  for (int r = 1; r < ranks; ++r) {
    odd += cat(r == 1 ? "" : ",", r);
    all += cat(",", r);
  }
  const Fingerprint prints[] = {{.what = "colour", .hash = static_cast<uint64_t>(world_comm().rank())}, shape(1, "")};
  EXPECT_EQ(refusal_of(prints), cat("F99 rank", ranks > 2 ? "s " : " ", odd, " of ", ranks, ranks > 2 ? " differ" : " differs",
                                    " from rank 0 in the colour; rank=", all, " host=", host_name(), "; do: mend it"));
}

TEST(RequireSame, TheFirstFingerprintThatDiffersIsTheOneThatIsTold) {
  const auto own = static_cast<uint64_t>(world_comm().rank());
  const Fingerprint prints[] = {colour, {.what = "taste", .hash = own}, {.what = "smell", .hash = own}};
  if (world_comm().size() > 1) {
    EXPECT_NE(refusal_of(prints).find("in the taste;"), std::string::npos);
  }
}

}  // namespace
}  // namespace lodestone
