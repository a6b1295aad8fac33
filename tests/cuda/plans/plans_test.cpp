// Does cuDNN have the plans that attention asks for, on GPUs that are not here? The real library behind the seam builds them from a
// description of the device, with a stand-in for the driver. What it says of workspace is what a step would take.
#include <gtest/gtest.h>

#include "core/cuda/cudnn/versions.h"
#include "tests/cuda/plans/described_plans.h"

namespace lodestone::cuda {
namespace {

struct Heads {
  int64_t count, size;
};
constexpr Heads bert_base{12, 64};

/// Chunks of 8,192 tokens in texts of these lengths.
constexpr AttentionBucket bucket(AttentionWay way, Heads heads, int64_t longest) {
  constexpr int64_t tokens = 8192;
  return {way, tokens / longest, longest, way == AttentionWay::backward ? tokens : 0, heads.count, heads.size};
}

// Head sizes and lengths of PlannedAttentionParity, which on a GPU must not meet a refusal.
TEST_F(CudnnPlans, EveryHeadSizeThatIsAskedForIsThereOnHopper) {
  for (const AttentionWay way : {AttentionWay::forward, AttentionWay::backward}) {
    for (const int64_t size : {8, 24, 40, 128}) EXPECT_GE(workspace(test::h200, bucket(way, {4, size}, 128)), 0) << size << ": " << reason_;
    for (const int64_t longest : {192, 256})
      EXPECT_GE(workspace(test::h200, bucket(way, {1, 64}, longest)), 0) << longest << ": " << reason_;
  }
}

TEST_F(CudnnPlans, ADeviceThatCannotBeReadIsSaid) {
  std::string reason;
  AttentionEngine* const engine = library_.open_for("no device", 90, reason);
  ASSERT_NE(engine, nullptr);
  EXPECT_EQ(library_.seam.plan(*engine, bucket(AttentionWay::forward, bert_base, 64), supported_, reason), nullptr);
  EXPECT_FALSE(reason.empty());
  EXPECT_TRUE(supported_) << "a failure was taken for a refusal: " << reason;
  library_.seam.close(engine);
}

TEST_F(CudnnPlans, ItDoesNotOpenWhereThereIsNoGpu) {
  std::string version, reason;
  EXPECT_EQ(library_.seam.open(version, reason), nullptr);
  EXPECT_FALSE(reason.empty());
  EXPECT_EQ(version, "9.19.0");
}

TEST(CudnnVersions, OldOnesAndThoseForAnotherCudaAreRefused) {
  EXPECT_EQ(cudnn::against_version(91900, 13000, 13), "");
  EXPECT_EQ(cudnn::against_version(92301, 13010, 13), "");
  EXPECT_EQ(cudnn::against_version(91801, 13000, 13), "this is cuDNN 9.18.1, and 9.19.0 is the first that can be taken");
  EXPECT_EQ(cudnn::against_version(91900, 12090, 13), "this cuDNN was built for CUDA 12, and this program for CUDA 13");
}

}  // namespace
}  // namespace lodestone::cuda
