// Does a run on the null backend take no memory, and count what a run on the backend that it stands for takes?
#include "core/null/null_backend.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <memory>

#include "core/cpu/cpu_backend.h"
#include "tests/core/op_fixture.h"

namespace lodestone {
namespace {

using test::RandomMasks;
using test::Texts;

/// Bytes of this process that lie in memory.
size_t resident_bytes() {
  std::ifstream file("/proc/self/statm");
  size_t pages = 0, resident = 0;
  file >> pages >> resident;
  return resident * static_cast<size_t>(sysconf(_SC_PAGESIZE));
}

/// A CPU backend that claims to be a device, with nothing of its own.
class DeviceLikeBackend final : public ReferenceBackend {
 public:
  Memory& memory() override { return memory_; }
  Device device() const override { return Device::cuda; }
  bool wants_token_places() const override { return true; }

 private:
  NullMemory memory_;
};

TEST(NullMemory, ReservesAddressesWithoutMemory) {
  NullMemory memory;
  const size_t before = resident_bytes(), size = size_t{64} << 30;
  std::byte* const reserved = memory.reserve(size);
  std::byte* const allocated = memory.allocate(size);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(reserved) % 4096, 0u);
  EXPECT_NE(reserved, allocated);
  EXPECT_EQ(memory.allocated_bytes(), size);
  EXPECT_LT(resident_bytes(), before + (size_t{8} << 20)) << "room for what else runs in this process";
  memory.release(reserved, size);
  EXPECT_EQ(memory.allocated_bytes(), size);
  memory.release(allocated, size);
  EXPECT_EQ(memory.allocated_bytes(), 0u);
}

TEST(NullMemory, RefusesWhatTheSystemCannotAddress) {
  NullMemory memory;
  try {
    memory.allocate(size_t{1} << 60);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::resource);
    EXPECT_EQ(error.code(), "F14");
  }
  EXPECT_EQ(memory.allocated_bytes(), 0u);
}

TEST(NullBackend, IsLikeTheBackendThatItStandsFor) {
  CpuBackend cpu(3);
  NullBackend null(cpu);
  EXPECT_EQ(null.threads(), 3);
  EXPECT_EQ(null.row_bucket(), cpu.row_bucket());
  EXPECT_FALSE(null.wants_token_places());
  EXPECT_EQ(null.device(), Device::null);
  EXPECT_EQ(null.memory().device(), Device::null);
  DeviceLikeBackend device;
  EXPECT_TRUE(NullBackend(device).wants_token_places());
  EXPECT_EQ(NullBackend(device).scratch_bytes(), 0u);
}

TEST(NullBackend, OutlivesTheBackendThatItStandsFor) {
  auto cpu = std::make_unique<CpuBackend>(2);
  NullBackend null(*cpu);
  cpu.reset();
  Arena arena(null.memory());
  const Tensor x = arena.tensor(DType::bf16, {32, 64}), weight = arena.tensor(DType::bf16, {16, 64}),
               y = arena.tensor(DType::bf16, {32, 16});
  null.gemm(Op::none, x, Op::transpose, weight, 0.5, 0, y);
  EXPECT_GE(null.scratch_bytes(), sizeof(float) * (32 * 64 + 16 * 64 + 32 * 16)) << "copies in f32, whatever this processor multiplies";
}

TEST(NullBackend, OperationsCheckTheirShapes) {
  CpuBackend cpu(1);
  NullBackend null(cpu);
  Arena arena(null.memory());
  const Tensor x = arena.tensor(DType::f32, {4, 8}), y = arena.tensor(DType::f32, {4, 6}), weight = arena.tensor(DType::f32, {6, 8});
  EXPECT_NO_THROW(null.linear(x, weight, {}, y));
  EXPECT_THROW(null.linear(x, y, {}, weight), Error);
  EXPECT_THROW(null.gelu_forward(x, y), Error);
  EXPECT_THROW(null.copy(x, y), Error);
  std::vector<float> host(32);
  EXPECT_NO_THROW(null.copy(view(std::span(host)).reshape({4, 8}), x)) << "operands may lie on the CPU";
}

TEST(NullBackend, UploadsAreViewsWhereTheModelledBackendIsOnTheHost) {
  CpuBackend cpu(1);
  NullBackend null(cpu);
  Arena arena(null.memory());
  const std::vector<int64_t> values{3, 5};
  const ConstTensor up = null.upload(view(std::span(values)), arena);
  EXPECT_EQ(up.host<int64_t>().data(), values.data());
  EXPECT_EQ(null.download(up, arena).bytes(), up.bytes()) << "what lies on the host is downloaded as it is";
  EXPECT_EQ(arena.peak_bytes(), 0u);
  EXPECT_EQ(null.transfers().uploads, 1);
  EXPECT_EQ(null.transfers().downloads, 1);
  EXPECT_EQ(null.transfers().copied_bytes, 0);
}

TEST(NullBackend, DownloadsAreZerosThatStay) {
  CpuBackend cpu(1);
  NullBackend null(cpu);
  Arena arena(null.memory());
  const size_t before = arena.used_bytes();
  std::vector<std::span<const double>> downloads;
  for (const int64_t n : {3, 1000, 10, 300000}) {
    const auto scope = arena.scope();
    const Tensor x = arena.tensor(DType::f64, {n});
    const size_t used = arena.used_bytes();
    downloads.push_back(fetch<double>(null, arena, x));
    EXPECT_EQ(arena.used_bytes(), used);
    EXPECT_EQ(std::ssize(downloads.back()), n);
  }
  EXPECT_EQ(arena.used_bytes(), before);
  for (const auto& values : downloads) EXPECT_TRUE(std::all_of(values.begin(), values.end(), [](double v) { return v == 0; }));
  std::vector<float> host(7, NAN);
  null.download(arena.tensor(DType::f32, {7}), view(std::span(host)));
  EXPECT_EQ(host, std::vector<float>(7, 0.0f));
  EXPECT_EQ(null.transfers().downloads, 5);
  EXPECT_EQ(null.transfers().waits, 4);
  EXPECT_EQ(null.transfers().copied_bytes, 28);
}

TEST(NullBackend, TransfersTakeFromTheArenaWhereTheModelledBackendIsADevice) {
  DeviceLikeBackend device;
  NullBackend null(device);
  Arena arena(null.memory());
  const std::vector<double> values(100, 1.0);
  const ConstTensor up = null.upload(view(std::span(values)), arena);
  EXPECT_EQ(up.device(), Device::null);
  const size_t of_upload = Arena::taken_bytes(DType::f64, {100});
  EXPECT_EQ(arena.used_bytes(), of_upload);
  const std::span<const double> down = fetch<double>(null, arena, up);
  EXPECT_EQ(arena.used_bytes(), of_upload + Arena::taken_bytes<std::byte>(800));
  EXPECT_TRUE(std::all_of(down.begin(), down.end(), [](double v) { return v == 0; }));
  EXPECT_EQ(null.transfers().copied_bytes, 1600);
  // Texts come with the place of every token: two arrays of the host and their copies.
  const auto scope = arena.scope();
  const size_t before = arena.used_bytes();
  const Texts texts({5, 9});
  const DeviceTexts uploaded = upload_texts(null, arena, texts.batch());
  EXPECT_EQ(uploaded.place.device(), Device::null);
  EXPECT_GE(arena.used_bytes() - before, 2 * Arena::taken_bytes<int32_t>(14) + 3 * Arena::taken_bytes(DType::i32, {14}));
}

/// What both backends run: operations of one training step over texts of these lengths, and after each whether both hold the same.
class SameMemory {
 public:
  SameMemory(CpuBackend& real, NullBackend& null) : real_(real), null_(null) {}

  void step(const std::vector<int64_t>& lengths, DType dtype, int64_t hidden) {
    const Texts texts(lengths, 50);
    const RandomMasks masks(texts.batch(), 2);
    std::vector<size_t> held;
    run(real_, real_arena_, texts, masks, dtype, hidden, [&] { held.push_back(real_.held_scratch_bytes()); });
    size_t place = 0;
    run(null_, null_arena_, texts, masks, dtype, hidden, [&] {
      ASSERT_EQ(null_.scratch_bytes(), held.at(place)) << "after operation " << place << " in " << name_of(dtype);
      ++place;
    });
    EXPECT_EQ(null_arena_.peak_bytes(), real_arena_.peak_bytes());
    EXPECT_EQ(null_.transfers().uploads, real_.transfers().uploads);
  }

 private:
  template <class After>
  static void run(Backend& be, Arena& arena, const Texts& texts, const RandomMasks& masks, DType dtype, int64_t H, After after) {
    const auto scope = arena.scope();
    const auto take = [&](DType t, Shape shape) {
      const Tensor x = arena.tensor(t, shape);
      be.fill_zero(x);
      return x;
    };
    const DeviceTexts tokens = upload_texts(be, arena, texts.batch());
    const DeviceMasks hidden_keys = upload_masks(be, arena, texts.batch(), masks.view());
    const int64_t S = texts.tokens(), A = 4, F = 2 * H;
    const DType wide = dtype == DType::f64 ? DType::f64 : DType::f32;
    const Dropout dropout{0.1, Key(1)};
    const Tensor x = take(dtype, {S, H}), y = take(dtype, {S, H}), u = take(dtype, {S, F}), qkv = take(dtype, {S, 3 * H}),
                 d_qkv = take(dtype, {S, 3 * H}), kv = take(dtype, {S, 2 * H}), d_kv = take(dtype, {S, 2 * H});
    const Tensor weight = take(dtype, {F, H}), d_weight = take(wide, {F, H}), bias = take(wide, {F}), gamma = take(wide, {H}),
                 lse = take(wide, {S, A}), mean = take(wide, {S}), wide_u = take(wide, {S, F}), total = take(DType::f64, {1});
    const std::vector<UpdateRun> all_weights{{{0, F * H}}};
    const std::vector<std::function<void()>> operations{
        // First what takes nothing, then what takes little: an operation shows only where it takes more than those before it.
        [&] { be.linear(x.rows(0, 0), weight, bias, u.rows(0, 0)); },
        [&] { be.linear(x, weight, bias, u); },
        [&] { be.linear(x, weight, {}, wide_u); },
        [&] { be.gemm(Op::none, u, Op::none, weight, 1, 0, y); },
        [&] { be.gemm(Op::none, u, Op::none, weight, 0.5, 1, y); },
        [&] { be.gemm(Op::transpose, u, Op::none, x, 1, 1, d_weight); },
        [&] { be.column_sums(u, bias); },
        [&] { be.gelu_forward(u, u); },
        [&] { be.sum_squares(d_weight, total); },
        [&] { be.layer_norm_backward(u, u, bias, mean, mean, u, bias, bias); },
        [&] { be.residual_layer_norm_backward(tokens, y, x, dropout, gamma, mean, mean, y, x, gamma, gamma); },
        [&] { be.attention_forward(tokens, qkv, A, dropout, y, lse); },
        [&] { be.attention_backward(tokens, qkv, y, lse, y, A, dropout, d_qkv); },
        [&] {
          be.masked_attention_forward(tokens, hidden_keys, x, kv, 2 * A, dropout, y, take(wide, {S, 2 * A}));
        },
        [&] { be.masked_attention_backward(tokens, hidden_keys, x, kv, y, lse, y, A, dropout, x, d_kv); },
        [&] { be.residual_layer_norm_forward(tokens, x, y, dropout, gamma, gamma, 1e-12, y, x, mean, mean); },
        [&] { be.cast(d_weight, weight); },
        [&] { be.adamw({.lr = 1e-3}, all_weights, d_weight, d_weight, d_weight, d_weight); },
    };
    for (const auto& operation : operations) {
      operation();
      after();
    }
  }

  CpuBackend& real_;
  NullBackend& null_;
  Arena real_arena_{real_.memory(), size_t{1} << 30}, null_arena_{null_.memory(), size_t{1} << 30};
};

class NullBackendMemory : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Threads, NullBackendMemory, testing::Values(1, 3), [](const auto& info) { return std::to_string(info.param); });

TEST_P(NullBackendMemory, IsThatOfARunOnTheCpu) {
  CpuBackend real(GetParam()), modelled(GetParam());
  const size_t held = modelled.held_scratch_bytes();
  NullBackend null(modelled);
  SameMemory memory(real, null);
  EXPECT_EQ(null.scratch_bytes(), real.held_scratch_bytes());
  // f64 holds nothing; a second step of the same shapes, or a smaller one, adds nothing; each dtype then has its own largest.
  for (const DType dtype : {DType::f64, DType::f32, DType::bf16, DType::f32}) {
    memory.step({7, 3}, dtype, 16);
    memory.step({33, 70, 25}, dtype, 64);
    memory.step({33, 70, 25}, dtype, 64);
    memory.step({20}, dtype, 32);
    memory.step({36, 72, 30}, dtype, 64);
  }
  EXPECT_GT(null.scratch_bytes(), held);
  EXPECT_EQ(modelled.held_scratch_bytes(), held) << "the modelled backend runs nothing";
}

TEST(NullBackend, ScratchMemoryGrowsByWhatOneOperationTakes) {
  CpuBackend real(1), modelled(1);
  NullBackend null(modelled);
  const size_t before = null.scratch_bytes();
  Arena arena(real.memory(), size_t{256} << 20), null_arena(null.memory(), size_t{256} << 20);
  const Shape shape{(1 << 16) * 100 + 1};
  const Tensor x = arena.tensor(DType::f32, shape), total = arena.tensor(DType::f64, {1});
  real.fill_zero(x);
  real.sum_squares(x, total);
  null.sum_squares(null_arena.tensor(DType::f32, shape), null_arena.tensor(DType::f64, {1}));
  EXPECT_EQ(null.scratch_bytes() - before, size_t{808 + 202}) << "the sums of 101 blocks, and a quarter";
  EXPECT_EQ(real.held_scratch_bytes(), null.scratch_bytes());
}

TEST(NullBackend, ScratchMemoryBeginsWithWhatTheModelledBackendHolds) {
  CpuBackend modelled(1);
  std::vector<float> x(100);
  std::vector<double> total(1);
  const size_t before = modelled.held_scratch_bytes();
  modelled.sum_squares(view(std::span(x)), view(std::span(total)));
  EXPECT_GT(modelled.held_scratch_bytes(), before);
  EXPECT_EQ(NullBackend(modelled).scratch_bytes(), modelled.held_scratch_bytes());
}

}  // namespace
}  // namespace lodestone
