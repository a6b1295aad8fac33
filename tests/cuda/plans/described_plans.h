// Plans of the real library behind the seam, for GPUs that are only described.
#pragma once

#include <dlfcn.h>
#include <gtest/gtest.h>

#include <stdexcept>
#include <string>

#include "core/cuda/attention_plans.h"
#include "core/round_up.h"
#include "tests/cuda/plans/devices.h"

namespace lodestone::cuda {

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

  void expect_forward(const test::DescribedDevice& device, const AttentionBucket& b) {
    const int64_t bytes = workspace(device, b);
    EXPECT_GE(bytes, 0) << device.name << ", " << describe(b) << ": " << reason_;
    EXPECT_LE(bytes, 1 << 16) << device.name << ", " << describe(b);
  }
  /// Deterministic backward on Hopper keeps a square of scores in bf16 for every text and head, of columns in multiples of 128, and a sum
  /// in f32 for every row of a head: what AttentionPlans reckons with, and within what it lets a plan have.
  void expect_backward(const test::DescribedDevice& device, const AttentionBucket& b) {
    const int64_t columns = round_up(b.longest, 128), squares = 2 * b.texts * b.heads * b.longest * columns;
    EXPECT_EQ(least_workspace_bytes(b), static_cast<size_t>(squares));
    expect_workspace(device, b, squares);
    EXPECT_LE(squares + sums_of(b), int64_t{256} << 20) << describe(b);
  }
  /// On Blackwell it keeps the sums alone.
  void expect_backward_without_squares(const test::DescribedDevice& device, const AttentionBucket& b) { expect_workspace(device, b, 0); }
  /// That cuDNN has no such plan there, and says so in these words.
  void expect_refused(const test::DescribedDevice& device, const AttentionBucket& b, const char* words) {
    EXPECT_EQ(workspace(device, b), -1) << device.name << ", " << describe(b);
    EXPECT_NE(reason_.find(words), std::string::npos) << reason_;
    EXPECT_FALSE(supported_);
  }

  static int64_t sums_of(const AttentionBucket& b) { return 4 * b.tokens * b.heads; }
  /// `squares`, the sums, and at most 128 KiB.
  void expect_workspace(const test::DescribedDevice& device, const AttentionBucket& b, int64_t squares) {
    const int64_t bytes = workspace(device, b);
    EXPECT_GE(bytes, squares) << device.name << ", " << describe(b) << ": " << reason_;
    EXPECT_LE(bytes, squares + sums_of(b) + (1 << 17)) << device.name << ", " << describe(b);
  }

  Library library_;
  bool supported_ = false;
  std::string reason_;
};

}  // namespace lodestone::cuda
