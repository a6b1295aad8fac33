// Does cuDNN have the plans that attention asks for, on GPUs that are not here? The real library behind the seam builds them from a
// description of the device, with a stand-in for the driver. What it says of workspace is what a step would take.
#include <dlfcn.h>
#include <gtest/gtest.h>

#include <stdexcept>
#include <string>

#include "core/cuda/attention_plan.h"
#include "core/cuda/cudnn/versions.h"
#include "tests/cuda/plans/devices.h"

namespace lodestone::cuda {
namespace {

/// The functions of liblodestone_cudnn.so.
class Library {
 public:
  Library() : file_(dlopen("liblodestone_cudnn.so", RTLD_NOW | RTLD_LOCAL)) {
    if (file_ == nullptr) throw std::runtime_error(dlerror());
    look_up("open", seam.open);
    look_up("open_for", open_for);
    look_up("close", seam.close);
    look_up("plan", seam.plan);
    look_up("workspace_bytes", seam.workspace_bytes);
    look_up("execute", seam.execute);
    look_up("release", seam.release);
  }

  AttentionLibrary seam;
  AttentionEngine* (*open_for)(const std::string& properties, int architecture, std::string& reason) = nullptr;

 private:
  template <class F>
  void look_up(const char* name, F& function) {
    function = reinterpret_cast<F>(dlsym(file_, (std::string("lodestone_cudnn_") + name).c_str()));
    if (function == nullptr) throw std::runtime_error(dlerror());
  }

  void* file_;
};

class CudnnPlans : public testing::Test {
 protected:
  /// Workspace of the bucket's plan for that device, or -1, and `reason` why there is none.
  int64_t workspace(const test::DescribedDevice& device, const AttentionBucket& bucket) {
    AttentionEngine* const engine = library_.open_for(test::properties_of(device), device.architecture, reason_);
    if (engine == nullptr) return -1;
    AttentionPlan* const plan = library_.seam.plan(*engine, bucket, supported_, reason_);
    const int64_t bytes = plan == nullptr ? -1 : static_cast<int64_t>(library_.seam.workspace_bytes(*plan));
    if (plan != nullptr) {
      EXPECT_FALSE(library_.seam.execute(*plan, nullptr, {}, nullptr, reason_)) << "there is no such GPU";
      library_.seam.release(plan);
    }
    library_.seam.close(engine);
    return bytes;
  }

  Library library_;
  bool supported_ = false;
  std::string reason_;
};

struct Heads {
  int64_t count, size;
};
constexpr Heads minilm{12, 32}, bert_base{12, 64}, bert_large{16, 64};

/// Chunks of 8,192 tokens in texts of these lengths.
constexpr AttentionBucket bucket(AttentionWay way, Heads heads, int64_t longest) {
  constexpr int64_t tokens = 8192;
  return {way, tokens / longest, longest, way == AttentionWay::backward ? tokens : 0, heads.count, heads.size};
}

// Forward needs next to nothing.
TEST_F(CudnnPlans, ForwardIsThereOnHopperAndAmpere) {
  for (const test::DescribedDevice& device : {test::h200, test::a100})
    for (const Heads heads : {minilm, bert_base, bert_large})
      for (const int64_t longest : {64, 512}) {
        const int64_t bytes = workspace(device, bucket(AttentionWay::forward, heads, longest));
        EXPECT_GE(bytes, 0) << device.name << ": " << reason_;
        EXPECT_LE(bytes, 1 << 16) << device.name;
      }
}

// Deterministic backward keeps a square of scores in bf16 for every text and head, of columns in multiples of 128, and a sum in f32 for
// every row of a head: what AttentionPlans (core/cuda/attention_plans.cpp) reckons with, and within what it lets a plan have.
TEST_F(CudnnPlans, BackwardIsThereOnHopperWithinItsWorkspace) {
  for (const Heads heads : {minilm, bert_base, bert_large})
    for (const int64_t longest : {64, 128, 512}) {
      const AttentionBucket b = bucket(AttentionWay::backward, heads, longest);
      const int64_t bytes = workspace(test::h200, b), columns = (longest + 127) / 128 * 128,
                    squares = 2 * b.texts * b.heads * longest * columns, sums = 4 * b.tokens * b.heads;
      EXPECT_GE(bytes, squares) << reason_;
      EXPECT_LE(bytes, squares + sums + (1 << 17));
      EXPECT_LE(bytes, int64_t{256} << 20);
    }
}

// Head sizes and lengths of PlannedAttentionParity, which on a GPU must not meet a refusal.
TEST_F(CudnnPlans, EveryHeadSizeThatIsAskedForIsThereOnHopper) {
  for (const AttentionWay way : {AttentionWay::forward, AttentionWay::backward}) {
    for (const int64_t size : {8, 24, 40, 128}) EXPECT_GE(workspace(test::h200, bucket(way, {4, size}, 128)), 0) << size << ": " << reason_;
    for (const int64_t longest : {192, 256})
      EXPECT_GE(workspace(test::h200, bucket(way, {1, 64}, longest)), 0) << longest << ": " << reason_;
  }
}

TEST_F(CudnnPlans, BackwardIsRefusedOnAmpere) {
  for (const Heads heads : {minilm, bert_base}) {
    EXPECT_EQ(workspace(test::a100, bucket(AttentionWay::backward, heads, 128)), -1);
    EXPECT_NE(reason_.find("not supported for bprop thd on SM8X"), std::string::npos) << reason_;
    EXPECT_FALSE(supported_);
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
