// Attention forward and backward on the emulated GPU, and what went through cuDNN's seam for it.
#pragma once

#include <gtest/gtest.h>

#include "core/buffer.h"
#include "core/cuda/cuda_backend.h"
#include "tests/core/op_fixture.h"
#include "tests/cuda/doubles/attention.h"
#include "tests/cuda/doubles/counts.h"
#include "tests/cuda/doubles/runtime.h"
#include "tests/cuda/doubles/streams.h"

namespace lodestone {

using doubles::attention_double;

class CudaAttention : public testing::Test {
 protected:
  CudaAttention() { attention_double() = {}; }
  ~CudaAttention() override {
    EXPECT_EQ(attention_double().alive, 0) << "plans that nobody released";
    attention_double() = {};
    doubles::machine() = machine_;
    doubles::set_execution(doubles::Execution::at_once);
  }

 private:
  const doubles::Machine machine_ = doubles::machine();
};

struct Case {
  std::vector<int64_t> lengths{5, 1, 0, 40, 3};
  int64_t heads = 2, size = 16, unused = 0;  // unused: rows behind the last text
  DType dtype = DType::bf16;
  Dropout dropout{};
  int64_t shifted = 0, gradient_shifted = 0;  // elements that ctx, and that d_ctx, lies off an aligned address
};

/// What attention forward and backward gave, as f32, and what was enqueued for it.
struct Given {
  std::vector<float> ctx, lse, d_qkv;
  int64_t kernels = 0, executed = 0;
  bool operator==(const Given&) const = default;
};

inline constexpr float untouched = 77;

/// Memory of its own, so that rows behind the texts' are seen: all of it holds `untouched` before.
class Operand {
 public:
  Operand(CudaBackend& be, DType dtype, int64_t rows, int64_t unused, int64_t columns, int64_t shifted = 0)
      : be_(be),
        memory_(be.memory(), static_cast<size_t>((rows + unused) * columns + shifted) * size_of(dtype) + 64),
        all_(memory_.tensor(dtype, {(rows + unused) * columns + shifted}).slice({shifted, shifted + (rows + unused) * columns})),
        used_(all_.slice({0, rows * columns}).reshape({rows, columns})) {
    set(all_, std::vector<float>(static_cast<size_t>(all_.count()), untouched));
  }
  Tensor used() const { return used_; }
  void draw(uint64_t seed) {
    const std::vector<double> drawn = test::random_values(used_.count(), seed);
    set(used_.reshape({used_.count()}), std::vector<float>(drawn.begin(), drawn.end()));
  }
  /// All of it, unused rows too.
  std::vector<float> values() {
    Buffer wide(be_.memory(), static_cast<size_t>(all_.count()) * sizeof(float));
    const Tensor f32 = wide.tensor(DType::f32, all_.shape());
    std::vector<float> host(static_cast<size_t>(all_.count()));
    be_.cast(all_, f32);
    be_.download(f32, view(std::span(host)));
    be_.synchronize();
    return host;
  }

 private:
  void set(Tensor x, std::vector<float> values) {
    Buffer wide(be_.memory(), values.size() * sizeof(float));
    const Tensor f32 = wide.tensor(DType::f32, x.shape());
    be_.upload(view(std::span(values)), f32);
    be_.cast(f32, x);
    be_.synchronize();
  }

  CudaBackend& be_;
  Buffer memory_;
  Tensor all_, used_;
};

inline Given attention(CudaBackend& be, const Case& shape = {}) {
  Arena arena(be.memory(), size_t{1} << 20);
  const test::Texts texts(shape.lengths);
  const DeviceTexts on_device = upload_texts(be, arena, texts.batch());
  const int64_t S = texts.tokens(), H = shape.heads * shape.size;
  Operand qkv(be, shape.dtype, S, shape.unused, 3 * H), ctx(be, shape.dtype, S, shape.unused, H, shape.shifted),
      lse(be, DType::f32, S, shape.unused, shape.heads), d_ctx(be, shape.dtype, S, shape.unused, H, shape.gradient_shifted),
      d_qkv(be, shape.dtype, S, shape.unused, 3 * H);
  qkv.draw(1);
  d_ctx.draw(2);
  const int64_t kernels = doubles::counts().kernels, executed = attention_double().executed;
  be.attention_forward(on_device, qkv.used(), shape.heads, shape.dropout, ctx.used(), lse.used());
  be.attention_backward(on_device, qkv.used(), ctx.used(), lse.used(), d_ctx.used(), shape.heads, shape.dropout, d_qkv.used());
  Given given;
  given.kernels = doubles::counts().kernels - kernels;
  given.executed = attention_double().executed - executed;
  given.ctx = ctx.values();
  given.lse = lse.values();
  given.d_qkv = d_qkv.values();
  return given;
}

}  // namespace lodestone
