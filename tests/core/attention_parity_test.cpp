// Does fast attention, of the CPU or of a device, give what the reference gives, with and without masks and dropout?
#include "tests/core/operation_parity.h"

namespace lodestone::test {

/// Sums over at most 512 keys or queries; a score's error is made relative by exp, and scores of operands in [-2, 2) reach 5. In bf16
/// tensor cores take probabilities p and their gradients rounded: an error of at most 2^-9 p v a key, of either sign, so of 2^-9 |v|
/// sqrt(sum p^2) in all. The result, a sum of p v of either sign, has the size of |v| sqrt(sum p^2), so that is one unit of it; rounding
/// the result is another, and backward rests on ctx, which was rounded. 4 units hold them (tolerance()).
constexpr Rounding of_attention{.terms = 512, .condition = 5};

class AttentionParity : public OperationParity {
 protected:
  void expect_attention(const Texts& texts, int64_t heads, int64_t D, double p) {
    const int64_t S = texts.tokens(), H = heads * D;
    const Dropout dropout{p, Key(4).with("attention")};
    const Operand qkv = activation({S, 3 * H}, 1, 2), ctx = activation({S, H}, 2), lse = wide({S, heads}, 3);
    run([&](Backend& be, auto pick) { be.attention_forward(texts.on(be), pick(qkv), heads, dropout, pick(ctx), pick(lse)); });
    expect_same("ctx", ctx, of_attention);
    expect_same("lse", lse, of_attention);
    const Operand d_ctx = activation({S, H}, 4), d_qkv = activation({S, 3 * H}, 5);
    run([&](Backend& be, auto pick) {
      be.attention_backward(texts.on(be), pick(qkv), pick(ctx), pick(lse), pick(d_ctx), heads, dropout, pick(d_qkv));
    });
    expect_same("d_qkv", d_qkv, of_attention);
  }
};
INSTANTIATE_TEST_SUITE_P(All, AttentionParity, testing::ValuesIn(parity_settings()), name_of_setting);

/// The same where cuDNN may be taken: shapes that it has, empty texts, and head sizes from 8 to 128, on operands between rows that hold
/// NaN. Skipped where it is not there or refuses a shape, with its reason.
class PlannedAttentionParity : public OperationParity {
 protected:
  /// The operand between `guard` rows of NaN on either side, in memory of its own.
  Operand guarded(Operand o) {
    const int64_t columns = o.fast.count() / o.fast.dim(0), count = o.fast.count() + 2 * guard * columns;
    o.memory = Buffer(fast_.memory(), static_cast<size_t>(count) * size_of(o.fast.dtype()) + 64);
    const Tensor all = o.memory.tensor(o.fast.dtype(), {count});
    std::vector<std::byte> nan(all.size_bytes(), all_ones);
    fast_.upload(Tensor(nan.data(), all.dtype(), all.shape()), all);
    fast_.synchronize();
    o.fast = all.slice({guard * columns, count - guard * columns}).reshape(o.fast.shape());
    set_fast(o);
    return o;
  }
  /// That no bit beside the operand has changed.
  void expect_guards(const char* what, const Operand& o) {
    const int64_t columns = o.fast.count() / o.fast.dim(0), count = o.fast.count() + 2 * guard * columns;
    const Tensor all = o.memory.tensor(o.fast.dtype(), {count});
    std::vector<std::byte> bytes(all.size_bytes());
    fast_.download(all, Tensor(bytes.data(), all.dtype(), all.shape()));
    fast_.synchronize();
    const size_t beside = static_cast<size_t>(guard * columns) * size_of(all.dtype());
    for (size_t i = 0; i < bytes.size(); ++i) {
      const bool is_guard = i < beside || i >= bytes.size() - beside;
      ASSERT_TRUE(!is_guard || bytes[i] == all_ones) << what << ": byte " << i << " beside it was written";
    }
  }
  /// Runs an operation as run() does. cuDNN must have computed it, or have said why not.
  template <class Body>
  void run_by_cudnn(const Texts& texts, Body body) {
    const int64_t before = executions();
    testing::internal::CaptureStderr();
    run(body);
    refusals_ += testing::internal::GetCapturedStderr();
    ASSERT_TRUE(!refusals_.empty() || executions() == before + 1) << "own kernels computed texts of " << texts.tokens() << " tokens";
  }

  std::string refusals_;

 private:
  static constexpr int64_t guard = 256;  // more rows than a bucket of these texts has behind them
  static constexpr std::byte all_ones{0xff};

  /// As the backend counts them in its description.
  int64_t executions() const {
    const std::string said = fast_.description();
    const size_t end = said.find(" executions so far");
    return end == std::string::npos ? 0 : std::stoll(said.substr(said.rfind(' ', end - 1)));
  }
};
INSTANTIATE_TEST_SUITE_P(All, PlannedAttentionParity,
                         testing::ValuesIn(device_asked_for() == "cuda"
                                               ? std::vector<ParitySetting>{{DType::bf16, "", 1, AttentionChoice::automatic}}
                                               : std::vector<ParitySetting>{}),
                         name_of_setting);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(PlannedAttentionParity);

TEST_P(PlannedAttentionParity, Attention) {
  if (fast_.description().find("attention by cuDNN") == std::string::npos) GTEST_SKIP() << fast_.description();
  for (const std::vector<int64_t>& lengths : {std::vector<int64_t>{1, 13, 0, 60, 128, 131}, {0, 0, 64, 65, 0}, {1}, {200, 3, 0}})
    for (const auto& [heads, D] : {std::pair{2, 32}, {1, 64}, {3, 8}, {2, 24}, {1, 128}, {2, 40}}) {
      const Texts texts(lengths);
      const int64_t S = texts.tokens(), H = heads * D;
      const Operand qkv = guarded(activation({S, 3 * H}, 1, 2)), ctx = guarded(activation({S, H}, 2)), lse = guarded(wide({S, heads}, 3));
      run_by_cudnn(texts, [&, heads = heads](Backend& be, auto pick) {
        be.attention_forward(texts.on(be), pick(qkv), heads, {}, pick(ctx), pick(lse));
      });
      expect_same("ctx", ctx, of_attention);
      expect_same("lse", lse, of_attention);
      const Operand d_ctx = guarded(activation({S, H}, 4)), d_qkv = guarded(activation({S, 3 * H}, 5));
      run_by_cudnn(texts, [&, heads = heads](Backend& be, auto pick) {
        be.attention_backward(texts.on(be), pick(qkv), pick(ctx), pick(lse), pick(d_ctx), heads, {}, pick(d_qkv));
      });
      expect_same("d_qkv", d_qkv, of_attention);
      for (const auto& [what, operand] : {std::pair{"qkv", &qkv}, {"ctx", &ctx}, {"lse", &lse}, {"d_ctx", &d_ctx}, {"d_qkv", &d_qkv}})
        expect_guards(what, *operand);
    }
  if (!refusals_.empty()) GTEST_SKIP() << refusals_;
}

TEST_P(AttentionParity, Attention) {
  const Texts texts({1, 13, 0, 16, 17, 60, 128, 131});
  for (const auto& [heads, D] : {std::pair{2, 32}, {1, 64}, {1, 128}, {3, 20}, {1, 1}, {2, 7}})
    for (const double p : {0.0, 0.1}) expect_attention(texts, heads, D, p);
}

// As long as those of any recipe.
TEST_P(AttentionParity, AttentionOfLongTexts) {
  for (const int64_t D : {32, 64}) expect_attention(Texts({512, 3}), 1, D, 0.1);
}

TEST_P(AttentionParity, MaskedAttention) {
  const Texts texts({1, 13, 0, 60, 128, 200, 131});
  const RandomMasks masks(texts.batch(), 5, 6);
  for (const auto& [heads, D] : {std::pair{2, 32}, {1, 64}, {1, 128}, {3, 20}, {2, 7}})
    for (const double p : {0.0, 0.1}) {
      const int64_t S = texts.tokens(), H = heads * D;
      const Dropout dropout{p, Key(4).with("attention")};
      const Operand q = activation({S, H}, 1, 2), kv = activation({S, 2 * H}, 6, 2), ctx = activation({S, H}, 2), lse = wide({S, heads}, 3);
      run([&, heads = heads](Backend& be, auto pick) {
        be.masked_attention_forward(texts.on(be), masks.on(be, texts), pick(q), pick(kv), heads, dropout, pick(ctx), pick(lse));
      });
      expect_same("ctx", ctx, of_attention);
      expect_same("lse", lse, of_attention);
      const Operand d_ctx = activation({S, H}, 4), d_q = activation({S, H}, 5), d_kv = activation({S, 2 * H}, 7);
      run([&, heads = heads](Backend& be, auto pick) {
        be.masked_attention_backward(texts.on(be), masks.on(be, texts), pick(q), pick(kv), pick(ctx), pick(lse), pick(d_ctx), heads,
                                     dropout, pick(d_q), pick(d_kv));
      });
      expect_same("d_q", d_q, of_attention);
      expect_same("d_kv", d_kv, of_attention);
    }
}

// A hidden key has no weight at all, not a small one: what it holds may be any finite number.
TEST_P(AttentionParity, HiddenKeysChangeNoBit) {
  const Texts texts({70});
  const RandomMasks masks(texts.batch(), 12);
  const int64_t S = texts.tokens(), hidden_key = 33;
  const Dropout dropout{0.1, Key(4).with("attention")};
  for (const auto& [heads, D] : {std::pair{2, 20}, {2, 32}, {1, 64}, {1, 128}}) {
    const int64_t H = heads * D;
    const Operand q = activation({S, H}, 1, 2), kv = activation({S, 2 * H}, 6, 2), ctx = activation({S, H}, 2), lse = wide({S, heads}, 3);
    const auto forward = [&, heads = heads] {
      fast_.masked_attention_forward(texts.on(fast_), masks.on(fast_, texts), q.fast, kv.fast, heads, dropout, ctx.fast, lse.fast);
      return fast_values(ctx);
    };
    const auto before = forward();
    const Tensor key = kv.fast.rows(hidden_key, hidden_key + 1);
    fast_.axpy(1e4, key, key);
    const auto after = forward();
    int64_t blind = 0;
    for (int64_t i = 0; i < S; ++i) {
      const bool hides = i == hidden_key || (masks.view().row(0, 0, S, i)[0] >> hidden_key & 1) != 0;
      const bool equal = std::equal(before.begin() + i * H, before.begin() + (i + 1) * H, after.begin() + i * H);
      EXPECT_EQ(equal, hides) << "row " << i << ", heads of " << D;
      blind += hides;
    }
    EXPECT_GT(blind, 10);
    EXPECT_LT(blind, 60);
  }
}

}  // namespace lodestone::test
