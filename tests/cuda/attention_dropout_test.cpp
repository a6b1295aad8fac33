// Under attention: cudnn, where something is dropped: which attention goes through cuDNN's seam, and that one way never goes there without
// the other, since own kernels drop other elements. What it drops stands in tests/core/planned_dropout_test.cpp.
#include <gtest/gtest.h>

#include "core/cuda/attention_plans.h"
#include "tests/cuda/attention_case.h"

namespace lodestone {
namespace {

const Case dropping{.dropout = {0.1, Key(3)}};

class CudaAttentionDropout : public CudaAttention {
 protected:
  /// What own kernels give, of which masks are named by texts.
  static Given by_own(const Case& shape) {
    CudaBackend own(0, AttentionChoice::own);
    return attention(own, shape);
  }
};

TEST_F(CudaAttentionDropout, IsTheLibrarysWhereItWasChosenAndIsSaid) {
  CudaBackend be(0, AttentionChoice::cudnn);
  const Given given = attention(be, dropping);
  EXPECT_EQ(given.executed, 2);
  EXPECT_EQ(given.kernels, 2) << "where texts lie, which says what to draw from too";
  EXPECT_EQ(attention_double().asked, 2);
  EXPECT_TRUE(be.description().ends_with(
      ", attention by cuDNN 9.19.0 in bf16, dropout masks of its own depend on ranks and chunks, 2 executions so far"))
      << be.description();
  EXPECT_EQ(attention(be, dropping), given);
  EXPECT_NE(given.ctx, attention(be).ctx) << "something was dropped";
}

TEST_F(CudaAttentionDropout, IsNeverTheLibrarysUnderAuto) {
  CudaBackend be(0);
  EXPECT_EQ(attention(be, dropping), by_own(dropping));
  EXPECT_EQ(attention_double().asked, 0);
}

TEST_F(CudaAttentionDropout, IsPartOfTheBucket) {
  CudaBackend be(0, AttentionChoice::cudnn);
  attention(be);
  attention(be, dropping);
  attention(be, {.dropout = {0.2, Key(3)}});
  EXPECT_EQ(attention_double().asked, 6);
  attention(be, {.dropout = {0.1, Key(4)}});
  EXPECT_EQ(attention_double().asked, 6) << "another step";
  attention(be, {.dropout = {0x1p-18, Key(3)}});
  EXPECT_EQ(attention_double().asked, 6) << "less than is ever dropped";
  using enum cuda::AttentionWay;
  EXPECT_EQ(cuda::describe({.way = forward, .texts = 6, .longest = 64, .heads = 2, .head_size = 16, .dropout = dropout_threshold(0.1)}),
            "forward of 6 texts of 64 tokens, 2 heads of 16, dropout 0.1");
}

TEST_F(CudaAttentionDropout, ARefusalOfOneWayLeavesBothToOwnKernels) {
  const Given own = by_own(dropping);
  for (const char* const way : {"forward", "backward"}) {
    CudaBackend be(0, AttentionChoice::cudnn);
    attention(be);  // so that the refusal is not the first answer of all
    attention_double().refuses = way;
    testing::internal::CaptureStderr();
    const Given given = attention(be, {.lengths = dropping.lengths, .dropout = dropping.dropout});
    const std::string said = testing::internal::GetCapturedStderr(), forward = "attention forward of 6 texts of 64 tokens, 2 heads of 16",
                      backward = "attention backward of 6 texts of 64 tokens, 64 in all, 2 heads of 16",
                      by_own = ", dropout 0.1 goes by own kernels: ", refused = "this double was told to refuse it\n",
                      with = "so does the other way, and both must drop the same\n";
    const bool first = way == std::string("forward");
    EXPECT_EQ(said, cat("warning: ", first ? forward : backward, by_own, refused, "warning: ", first ? backward : forward, by_own, with));
    EXPECT_EQ(given, own) << way;
    EXPECT_EQ(attention(be, dropping), own) << way;
    EXPECT_EQ(attention_double().refused, first ? 1 : 2) << "asked for once";
    attention_double().refuses.clear();
  }
}

TEST_F(CudaAttentionDropout, ForwardTakesTheWorkspaceOfTheLargerWay) {
  cuda::AttentionPlans plans(AttentionChoice::cudnn);
  const cuda::AttentionBucket forward{
      .way = cuda::AttentionWay::forward, .texts = 1, .longest = 64, .heads = 2, .head_size = 16, .dropout = 9};
  cuda::AttentionBucket backward = forward;
  backward.way = cuda::AttentionWay::backward;
  backward.tokens = 64;
  attention_double().workspace_bytes = 512;
  plans.find(forward);
  attention_double().workspace_bytes = 8192;
  EXPECT_EQ(plans.workspace_of_both(forward, backward), 8192u);
  EXPECT_EQ(plans.find(forward)->workspace_bytes, 512u);
}

/// Forward and backward of `dropping`, on memory that is taken before there is none.
class Held {
 public:
  explicit Held(CudaBackend& be, const std::vector<int64_t>& lengths = dropping.lengths)
      : be_(be),
        given_(lengths),
        arena_(be.memory(), size_t{1} << 20),
        texts_(upload_texts(be, arena_, given_.batch())),
        qkv_(be, DType::bf16, given_.tokens(), 0, 96),
        ctx_(be, DType::bf16, given_.tokens(), 0, 32),
        lse_(be, DType::f32, given_.tokens(), 0, 2),
        d_ctx_(be, DType::bf16, given_.tokens(), 0, 32),
        d_qkv_(be, DType::bf16, given_.tokens(), 0, 96) {
    qkv_.draw(1);
    d_ctx_.draw(2);
  }
  void forward() { be_.attention_forward(texts_, qkv_.used(), dropping.heads, dropping.dropout, ctx_.used(), lse_.used()); }
  void backward() {
    be_.attention_backward(texts_, qkv_.used(), ctx_.used(), lse_.used(), d_ctx_.used(), dropping.heads, dropping.dropout, d_qkv_.used());
  }
  std::vector<float> gradient() { return d_qkv_.values(); }

 private:
  CudaBackend& be_;
  test::Texts given_;
  Arena arena_;
  DeviceTexts texts_;
  Operand qkv_, ctx_, lse_, d_ctx_, d_qkv_;
};

TEST_F(CudaAttentionDropout, WorkspaceThatTheDeviceDoesNotHaveLeavesBothToOwnKernels) {
  const Given own = by_own(dropping);
  CudaBackend be(0, AttentionChoice::cudnn);
  Held held(be);
  attention_double().workspace_bytes = size_t{128} << 20;
  doubles::machine().memory_bytes = doubles::device_bytes() + (size_t{64} << 20);
  held.forward();
  doubles::machine().memory_bytes += size_t{1} << 30;
  held.backward();
  EXPECT_EQ(attention_double().executed, 0) << "nor backward, though there is memory again";
  EXPECT_EQ(attention_double().asked, 2);
  EXPECT_EQ(held.gradient(), own.d_qkv);
}

TEST_F(CudaAttentionDropout, MemoryThatIsLostBehindForwardEndsTheRun) {
  CudaBackend be(0, AttentionChoice::cudnn);
  Held held(be), larger(be, {100});
  attention_double().workspace_bytes = size_t{8} << 20;
  held.forward();
  // A larger chunk asks for more than there is, for which scratch is given back; and somebody else takes that.
  attention_double().workspace_bytes = size_t{128} << 20;
  doubles::machine().memory_bytes = doubles::device_bytes() + (size_t{64} << 20);
  larger.forward();
  doubles::machine().memory_bytes = doubles::device_bytes();
  EXPECT_EQ(attention_double().executed, 1);
  for (const auto way : {&Held::backward, &Held::forward}) try {
      (held.*way)();
      ADD_FAILURE() << "own kernels computed, a second time or backward, what cuDNN has dropped";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), "F14");
    }
}

TEST_F(CudaAttentionDropout, GradientsThatLieOffAnAddressAreNoReasonToDropOthers) {
  CudaBackend be(0, AttentionChoice::cudnn);
  const Case shifted{.dropout = dropping.dropout, .gradient_shifted = 4};
  EXPECT_THROW(attention(be, shifted), Error);
  const Case all_shifted{.dropout = dropping.dropout, .shifted = 4};
  EXPECT_EQ(attention(be, all_shifted), by_own(all_shifted)) << "forward saw it already";
  EXPECT_EQ(attention(be, {.gradient_shifted = 4}).executed, 1) << "where nothing is dropped either way may go by own kernels";
}

TEST_F(CudaAttentionDropout, BitsDoNotDependOnWhenStreamsRun) {
  const auto result = [] {
    CudaBackend be(0, AttentionChoice::cudnn);
    return attention(be, dropping);
  };
  const Given expected = result();
  doubles::set_execution(doubles::Execution::late);
  EXPECT_EQ(result(), expected);
  doubles::set_execution(doubles::Execution::shuffled, 3);
  EXPECT_EQ(result(), expected);
}

}  // namespace
}  // namespace lodestone
