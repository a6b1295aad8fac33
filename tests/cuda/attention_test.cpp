// Which attention goes through cuDNN's seam, and which by own kernels? How often is a plan made, and is what is wrong noticed? What the
// plans compute stands in tests/core/attention_parity_test.cpp.
#include <gtest/gtest.h>

#include <cmath>

#include "core/cuda/attention_plans.h"
#include "tests/cuda/attention_case.h"

namespace lodestone {
namespace {

using doubles::Execution;

/// By own kernels alone: one forward, two backward.
void expect_own(CudaBackend& be, const Case& shape, const char* what) {
  const Given given = attention(be, shape);
  EXPECT_EQ(given.executed, 0) << what;
  EXPECT_EQ(given.kernels, 3) << what;
}

TEST_F(CudaAttention, GoesThroughTheSeamWithOneKernelBesideEachExecution) {
  CudaBackend be(0);
  const Given given = attention(be);
  EXPECT_EQ(given.executed, 2);
  EXPECT_EQ(given.kernels, 2);
  EXPECT_TRUE(be.description().ends_with(", attention by cuDNN 9.19.0 in bf16 without dropout, 2 executions so far")) << be.description();
}

TEST_F(CudaAttention, WhereCudnnDoesNotStartItIsSaid) {
  const auto expect_not_taken = [](const std::string& why_not) {
    EXPECT_TRUE(CudaBackend(0).description().ends_with(cat(", own attention (", why_not, ")"))) << CudaBackend(0).description();
    try {
      CudaBackend(0, AttentionChoice::cudnn);
      ADD_FAILURE() << "cuDNN was taken";
    } catch (const Error& error) {
      EXPECT_EQ(error.exit_code(), ExitCode::usage);
      EXPECT_EQ(error.what(), why_not);
    }
  };
  attention_double().why_not = "no device";
  expect_not_taken("cuDNN does not start: no device");
  attention_double().why_not.clear();
  doubles::machine().architecture = 80;
  expect_not_taken("cuDNN is taken on sm_90 only, and this GPU is sm_80");
}

TEST_F(CudaAttention, WhatCudnnDoesNotTakeGoesByOwnKernels) {
  CudaBackend be(0);
  expect_own(be, {.dtype = DType::f32}, "f32");
  expect_own(be, {.dropout = {0.1, Key(3)}}, "dropout");
  expect_own(be, {.size = 12}, "a head size that is no multiple of 8");
  expect_own(be, {.heads = 1, .size = 136}, "a head size above 128");
  expect_own(be, {.shifted = 4}, "an operand that lies at 8 bytes");
  EXPECT_EQ(attention(be, {.heads = 1, .size = 128}).executed, 2);
  EXPECT_EQ(attention_double().asked, 2);
}

TEST_F(CudaAttention, OwnIsNeverAsked) {
  CudaBackend be(0, AttentionChoice::own);
  expect_own(be, {}, "own");
  EXPECT_EQ(attention_double().asked, 0);
  EXPECT_TRUE(be.description().ends_with(", own attention")) << be.description();
}

TEST_F(CudaAttention, MasksGoByOwnKernels) {
  CudaBackend be(0);
  Arena arena(be.memory(), size_t{1} << 20);
  const test::Texts texts({5, 1, 0, 40, 3});
  const test::RandomMasks masks(texts.batch(), 2);
  const DeviceTexts on_device = upload_texts(be, arena, texts.batch());
  const DeviceMasks hidden = upload_masks(be, arena, texts.batch(), masks.view());
  Operand q(be, DType::bf16, texts.tokens(), 0, 32), kv(be, DType::bf16, texts.tokens(), 0, 64),
      ctx(be, DType::bf16, texts.tokens(), 0, 32), lse(be, DType::f32, texts.tokens(), 0, 2);
  be.masked_attention_forward(on_device, hidden, q.used(), kv.used(), 2, {}, ctx.used(), lse.used());
  EXPECT_EQ(attention_double().asked, 0);
}

TEST_F(CudaAttention, APlanIsMadeOnceForABucketAndReused) {
  CudaBackend be(0);
  const Given first = attention(be, {.lengths = {60, 3, 9}});
  EXPECT_EQ(attention_double().asked, 2) << "one each way";
  EXPECT_EQ(attention(be, {.lengths = {60, 3, 9}}), first) << "and gives the same bits again";
  attention(be, {.lengths = {2, 64, 0}});
  EXPECT_EQ(attention_double().asked, 2) << "other texts of the same bucket";
  attention(be, {.lengths = {2, 65, 0}});
  EXPECT_EQ(attention_double().asked, 4);
  EXPECT_EQ(attention_double().executed, 8);
}

TEST_F(CudaAttention, BucketsAreFewAndHoldTheirTexts) {
  const auto bucket = [](cuda::AttentionWay way, int64_t texts, int64_t longest, int64_t tokens) {
    std::vector<int64_t> offsets(static_cast<size_t>(texts) + 1);
    std::vector<int32_t> ids(static_cast<size_t>(tokens));
    DeviceTexts t;
    t.offsets = view(std::span<const int64_t>(offsets));
    t.ids = view(std::span<const int32_t>(ids));
    t.longest = longest;
    return cuda::describe(cuda::bucket_of(way, t, 12, 64, 0));
  };
  using enum cuda::AttentionWay;
  EXPECT_EQ(bucket(forward, 1, 1, 1), "forward of 1 texts of 64 tokens, 12 heads of 64");
  EXPECT_EQ(bucket(forward, 5, 64, 100), "forward of 6 texts of 64 tokens, 12 heads of 64");
  EXPECT_EQ(bucket(backward, 5, 65, 500), "backward of 6 texts of 128 tokens, 512 in all, 12 heads of 64");
  EXPECT_EQ(bucket(backward, 16, 512, 8192), "backward of 16 texts of 512 tokens, 8192 in all, 12 heads of 64");
  EXPECT_EQ(bucket(backward, 17, 500, 8100), "backward of 24 texts of 512 tokens, 8192 in all, 12 heads of 64");
  EXPECT_EQ(bucket(backward, 3, 64, 170), "backward of 3 texts of 64 tokens, 192 in all, 12 heads of 64");
  EXPECT_EQ(bucket(backward, 3, 40, 90), "backward of 3 texts of 64 tokens, 128 in all, 12 heads of 64") << "a multiple of 64";
  EXPECT_EQ(bucket(backward, 1, 5, 5), "backward of 1 texts of 64 tokens, 64 in all, 12 heads of 64");
  EXPECT_EQ(bucket(backward, 25, 512, 8193), "backward of 32 texts of 512 tokens, 12288 in all, 12 heads of 64");
}

TEST_F(CudaAttention, ARefusalIsKeptAndTheWayGoesByOwnKernels) {
  attention_double().refuses = "backward";
  CudaBackend be(0);
  for (int time = 0; time < 2; ++time) {
    const Given given = attention(be);
    EXPECT_EQ(given.executed, 1) << "forward";
    EXPECT_EQ(given.kernels, 1 + 2) << "where texts lie; two own kernels backward";
    EXPECT_EQ(attention_double().asked, 2);
    EXPECT_EQ(attention_double().refused, 1);
  }
}

// What a run says of refusals: the reason, with the first shape, once each way.
TEST_F(CudaAttention, ARefusalIsSaidOnce) {
  attention_double().refuses = "texts";
  CudaBackend be(0);
  testing::internal::CaptureStderr();
  attention(be);
  attention(be, {.lengths = {100}});
  EXPECT_EQ(
      testing::internal::GetCapturedStderr(),
      "warning: attention forward of 6 texts of 64 tokens, 2 heads of 16 goes by own kernels: this double was told to refuse it\n"
      "warning: attention backward of 6 texts of 64 tokens, 64 in all, 2 heads of 16 goes by own kernels: this double was told to refuse "
      "it\n");
}

TEST_F(CudaAttention, UnderCudnnTheFirstRefusalEndsTheRunAndLaterOnesDoNot) {
  CudaBackend be(0, AttentionChoice::cudnn);
  attention_double().refuses = "texts";
  for (int time = 0; time < 2; ++time) try {
      attention(be);
      ADD_FAILURE() << "nothing was thrown";
    } catch (const Error& error) {
      EXPECT_EQ(error.exit_code(), ExitCode::usage);
      EXPECT_STREQ(error.what(),
                   "attention forward of 6 texts of 64 tokens, 2 heads of 16: cuDNN cannot compute it: this double was told to refuse it");
      EXPECT_EQ(error.remedy(), "set attention: auto or own");
    }
  attention_double().refuses = "backward";
  EXPECT_EQ(attention(be).executed, 1);
}

// No memory, say: it may be there the next time, so nothing is kept.
TEST_F(CudaAttention, APlanThatCouldNotBeMadeIsNoRefusal) {
  CudaBackend be(0);
  attention_double().plans_fail = true;
  try {
    attention(be);
    ADD_FAILURE() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), "F47");
    EXPECT_STREQ(error.what(), "attention forward of 6 texts of 64 tokens, 2 heads of 16: cuDNN says CUDNN_STATUS_ALLOC_FAILED");
  }
  attention_double().plans_fail = false;
  EXPECT_EQ(attention(be).executed, 2);
}

TEST_F(CudaAttention, WorkspaceThatTheDeviceDoesNotHaveMeansOwnKernels) {
  CudaBackend be(0, AttentionChoice::cudnn);
  Arena arena(be.memory(), size_t{1} << 20);
  const test::Texts texts({5, 1, 0, 40, 3});
  const DeviceTexts on_device = upload_texts(be, arena, texts.batch());
  Operand qkv(be, DType::bf16, texts.tokens(), 0, 96), ctx(be, DType::bf16, texts.tokens(), 0, 32),
      lse(be, DType::f32, texts.tokens(), 0, 2);
  qkv.draw(1);
  attention_double().workspace_bytes = size_t{128} << 20;
  doubles::machine().memory_bytes = doubles::device_bytes() + (size_t{64} << 20);
  testing::internal::CaptureStderr();
  for (int time = 0; time < 2; ++time) be.attention_forward(on_device, qkv.used(), 2, {}, ctx.used(), lse.used());
  EXPECT_EQ(testing::internal::GetCapturedStderr(),
            "warning: attention forward of 6 texts of 64 tokens, 2 heads of 16 goes by own kernels: the GPU has no memory for 128 MiB of "
            "workspace\n");
  EXPECT_EQ(attention_double().asked, 1);
  EXPECT_EQ(attention_double().executed, 0);
  EXPECT_NE(ctx.values()[0], untouched) << "own kernels did it";
}

TEST_F(CudaAttention, WhatNeedsTooMuchWorkspaceIsNotCompiled) {
  cuda::AttentionPlans plans(AttentionChoice::automatic);
  cuda::AttentionBucket bucket{
      .way = cuda::AttentionWay::backward, .texts = 16, .longest = 512, .tokens = 8192, .heads = 16, .head_size = 64};
  EXPECT_EQ(cuda::least_workspace_bytes(bucket), size_t{128} << 20);
  EXPECT_NE(plans.find(bucket), nullptr);
  bucket.texts = 48;
  EXPECT_EQ(plans.find(bucket), nullptr);
  EXPECT_EQ(attention_double().asked, 1);
}

TEST_F(CudaAttention, APlanOfTooMuchWorkspaceIsGivenBack) {
  attention_double().workspace_bytes = (size_t{256} << 20) + 1;
  CudaBackend be(0);
  expect_own(be, {}, "more than 256 MiB");
  expect_own(be, {}, "and asked for once");
  EXPECT_EQ(attention_double().asked, 2);
  EXPECT_EQ(attention_double().alive, 0);
}

// Two ways of computing the same, each within 4 units of the exact (operation_parity.h), so 8 from each other. In bf16 a unit is 2^-9 of
// the largest value; lse is in f32, where 2^-24 grows with the root of its 33 terms, and by a condition of 5 of exp.
TEST_F(CudaAttention, RowsBehindTheLastTextStayAsTheyAre) {
  CudaBackend be(0), own(0, AttentionChoice::own);
  const Case shape{.lengths = {5, 0, 33, 7, 0}, .unused = 19};
  const Given given = attention(be, shape), expected = attention(own, shape);
  EXPECT_EQ(given.executed, 2);
  const auto same = [](const char* what, const std::vector<float>& got, const std::vector<float>& want, size_t used, float unit) {
    ASSERT_EQ(got.size(), want.size());
    float largest = 0;
    for (size_t i = 0; i < used; ++i) largest = std::max(largest, std::abs(want[i]));
    for (size_t i = 0; i < got.size(); ++i) {
      if (i < used)
        ASSERT_NEAR(got[i], want[i], 8 * unit * largest) << what << ' ' << i;
      else
        ASSERT_EQ(got[i], untouched) << what << ' ' << i;
    }
  };
  same("ctx", given.ctx, expected.ctx, 45 * 32, 0x1p-9f);
  same("lse", given.lse, expected.lse, 45 * 2, 0x1p-24f * 5 * std::sqrt(33.0f));
  same("d_qkv", given.d_qkv, expected.d_qkv, 45 * 96, 0x1p-9f);
}

TEST_F(CudaAttention, BitsDoNotDependOnWhenStreamsRun) {
  const auto result = [] {
    CudaBackend be(0);
    return attention(be);
  };
  const Given expected = result();
  doubles::set_execution(Execution::late);
  EXPECT_EQ(result(), expected);
  doubles::set_execution(Execution::shuffled, 3);
  EXPECT_EQ(result(), expected);
}

// What an operation leaves in scratch is the next one's: an execution overwrites its whole workspace, and own kernels use the same memory.
TEST_F(CudaAttention, WorkspaceIsSharedWithOtherOperations) {
  CudaBackend be(0);
  const Case by_own{.size = 12};
  const Given planned = attention(be), own = attention(be, by_own);
  attention_double().workspace_bytes = 0;
  attention(be, {.lengths = {100}});
  EXPECT_EQ(attention(be), planned);
  EXPECT_EQ(attention(be, by_own), own);
}

TEST_F(CudaAttention, OffsetsThatAreWrongAreNoticed) {
  CudaBackend be(0);
  for (const int damaged : {1, 2, 3, 4}) {
    attention_double().damaged = damaged;
    EXPECT_DEATH(attention(be), "offsets of attention that are not the sums of its lengths") << damaged;
  }
}

TEST_F(CudaAttention, AnExecutionThatFailsIsSaid) {
  CudaBackend be(0);
  attention_double().fails = true;
  try {
    attention(be);
    ADD_FAILURE() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), "F47");
    EXPECT_EQ(error.exit_code(), ExitCode::resource);
    EXPECT_STREQ(error.what(), "attention forward of 6 texts of 64 tokens, 2 heads of 16: cuDNN says CUDNN_STATUS_EXECUTION_FAILED");
  }
}

}  // namespace
}  // namespace lodestone
