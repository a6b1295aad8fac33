// Do the kernels give the same bits whatever order threads and streams run in, do the doubles notice what is wrong, and are failures said?
#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <cstring>

#include "core/buffer.h"
#include "core/cuda/cuda_backend.h"
#include "tests/core/op_fixture.h"
#include "tests/cuda/doubles/counts.h"
#include "tests/cuda/doubles/cublaslt.h"
#include "tests/cuda/doubles/runtime.h"
#include "tests/cuda/doubles/streams.h"
#include "tests/cuda/emulator/fibers.h"

extern "C" int lodestone_cuda_gpus(std::string& reason);

namespace lodestone {
namespace {

using doubles::Execution;
using emulator::ThreadOrder;

class CudaDoubles : public testing::Test {
 protected:
  ~CudaDoubles() override {
    emulator::set_thread_order(ThreadOrder::ascending);
    emulator::skip_block_barrier(-1);
    doubles::set_execution(Execution::at_once);
    doubles::forget_event(-1);
    doubles::spoil_leading_dimensions(0);
    doubles::refuse_epilogues(doubles::Refusal::none);
    doubles::fail_call("", 0, cudaSuccess);
    doubles::machine() = {};
  }
};

/// Values, on the device.
Tensor values(Backend& be, Arena& arena, Shape shape, uint64_t seed) {
  const std::vector<double> drawn = test::random_values(shape.count(), seed);
  std::vector<float> rounded(drawn.begin(), drawn.end());
  const Tensor x = arena.tensor(DType::f32, shape);
  be.upload(view(std::span(rounded)).reshape(shape), x);
  return x;
}

/// The bits that some operations of every kind give: products, normalisation, attention, sums without atomics, row statistics, groups.
std::vector<float> results_of_many() {
  CudaBackend be(0);
  Arena arena(be.memory(), size_t{16} << 20);
  const test::Texts texts({5, 1, 0, 40, 3}, 9);
  const int64_t S = texts.tokens(), H = 72, heads = 2;
  const DeviceTexts on_device = upload_texts(be, arena, texts.batch());
  const Dropout dropout{0.1, Key(4).with("place")};
  const Tensor x = values(be, arena, {S, H}, 1), weight = values(be, arena, {3 * H, H}, 2), bias = values(be, arena, {3 * H}, 3),
               gamma = values(be, arena, {H}, 4), qkv = arena.tensor(DType::f32, {S, 3 * H}), y = arena.tensor(DType::f32, {S, H}),
               sum = arena.tensor(DType::f32, {S, H}), mean = arena.tensor(DType::f32, {S}), rstd = arena.tensor(DType::f32, {S}),
               lse = arena.tensor(DType::f32, {S, heads}), d_qkv = arena.tensor(DType::f32, {S, 3 * H}),
               word = values(be, arena, {9, H}, 5), position = values(be, arena, {40, H}, 6), type = values(be, arena, {1, H}, 7),
               scores = arena.tensor(DType::f32, {6, 8}), unit = arena.tensor(DType::f32, {S, H}), total = arena.tensor(DType::f64, {1});
  be.linear(x, weight, bias, qkv);
  be.attention_forward(on_device, qkv, heads, dropout, y, lse);
  be.attention_backward(on_device, qkv, y, lse, x, heads, dropout, d_qkv);
  be.residual_layer_norm_forward(on_device, x, y, dropout, gamma, gamma, 1e-12, sum, y, mean, rstd);
  be.residual_layer_norm_backward(on_device, y, sum, dropout, gamma, mean, rstd, y, sum, gamma, gamma);
  be.embed_backward(on_device, y, word, position, type);
  be.log_sum_exp_rows(y, 3, mean);
  be.sum_squares(y, total);
  be.l2_normalize_forward(y, unit, rstd);
  be.l2_normalize_backward(x, unit, rstd, sum);
  be.group_products(x.rows(0, 6), unit.rows(0, 48), scores);
  be.group_products_backward(scores, x.rows(0, 6), y.rows(0, 48), sum.rows(0, 6), unit.rows(0, 48));
  std::vector<float> all;
  for (const ConstTensor t :
       {ConstTensor(qkv), ConstTensor(d_qkv), ConstTensor(y), ConstTensor(gamma), ConstTensor(word), ConstTensor(position),
        ConstTensor(type), ConstTensor(mean), ConstTensor(rstd), ConstTensor(sum), ConstTensor(unit), ConstTensor(scores)}) {
    const auto host = fetch<float>(be, arena, t);
    all.insert(all.end(), host.begin(), host.end());
  }
  all.push_back(static_cast<float>(fetch<double>(be, arena, total)[0]));
  return all;
}

TEST_F(CudaDoubles, BitsDoNotDependOnTheOrderOfThreads) {
  const std::vector<float> expected = results_of_many();
  emulator::set_thread_order(ThreadOrder::descending);
  EXPECT_EQ(results_of_many(), expected);
  for (const uint64_t seed : {uint64_t{1}, uint64_t{2}}) {
    emulator::set_thread_order(ThreadOrder::shuffled, seed);
    EXPECT_EQ(results_of_many(), expected) << seed;
  }
}

// Sums of columns and along vectors have one order, also where operands do not lie at multiples of 16 bytes.
TEST_F(CudaDoubles, BitsOfSumsDoNotDependOnWhereOperandsLie) {
  CudaBackend be(0);
  Arena arena(be.memory(), size_t{1} << 20);
  const int64_t S = 150, H = 72, n = S * H;
  const Tensor room = values(be, arena, {n + 1}, 1), apart = room.slice({1, n + 1}), aligned = arena.tensor(DType::f32, {n});
  be.copy(apart, aligned);
  const auto columns = [&](ConstTensor x) {
    const Tensor sums = values(be, arena, {H}, 2);
    be.column_sums(x.reshape({S, H}), sums);
    const auto host = fetch<float>(be, arena, sums);
    return std::vector<float>(host.begin(), host.end());
  };
  EXPECT_EQ(columns(apart), columns(aligned));
  const auto squares = [&](ConstTensor x) {
    const Tensor total = arena.tensor(DType::f64, {1});
    be.sum_squares(x, total);
    return fetch<double>(be, arena, total)[0];
  };
  for (const int64_t count : {n, n - 1, n - 3}) EXPECT_EQ(squares(apart.slice({0, count})), squares(aligned.slice({0, count})));
}

TEST_F(CudaDoubles, BitsDoNotDependOnWhenStreamsRun) {
  const std::vector<float> expected = results_of_many();
  doubles::set_execution(Execution::late);
  EXPECT_EQ(results_of_many(), expected);
  doubles::set_execution(Execution::shuffled, 3);
  EXPECT_EQ(results_of_many(), expected);
}

// A barrier that is missing shows in at least one order, as other bits or as threads that wait in vain.
TEST_F(CudaDoubles, ABarrierThatIsLeftOutIsNoticed) {
  const std::vector<float> expected = results_of_many();
  emulator::skip_block_barrier(0);
  emulator::set_thread_order(ThreadOrder::descending);
  EXPECT_NE(results_of_many(), expected);
}

// The one between the strands of a column sum and what adds them.
TEST_F(CudaDoubles, AColumnSumWithoutItsBarrierIsNoticed) {
  const auto sums_of = [](int64_t columns) {
    CudaBackend be(0);
    Arena arena(be.memory(), size_t{1} << 20);
    const Tensor x = values(be, arena, {70, columns}, 1), sums = values(be, arena, {columns}, 2);
    be.column_sums(x, sums);
    const auto host = fetch<float>(be, arena, sums);
    return std::vector<float>(host.begin(), host.end());
  };
  for (const int64_t columns : {72, 73}) {
    emulator::skip_block_barrier(-1);
    const std::vector<float> expected = sums_of(columns);
    emulator::skip_block_barrier(0);
    EXPECT_NE(sums_of(columns), expected) << columns;
  }
}

TEST_F(CudaDoubles, AWrongLeadingDimensionIsNoticed) {
  const auto product = [] {
    CudaBackend be(0);
    Arena arena(be.memory(), size_t{1} << 20);
    const Tensor a = values(be, arena, {8, 8}, 1), b = values(be, arena, {8, 8}, 2), room = values(be, arena, {16, 8}, 3),
                 c = room.rows(0, 8);
    be.gemm(Op::none, a.rows(0, 4), Op::none, b.rows(0, 8), 1, 0, c.rows(0, 4));
    const auto host = fetch<float>(be, arena, c);
    return std::vector<float>(host.begin(), host.end());
  };
  const std::vector<float> expected = product();
  EXPECT_EQ(product(), expected);
  doubles::spoil_leading_dimensions(1);
  EXPECT_NE(product(), expected);
}

/// What a second stream copies that was told to wait for the first one's work. The backend has one stream: these two are the test's own.
std::vector<float> copied_by_a_second_stream() {
  constexpr size_t n = 64, bytes = n * sizeof(float);
  cudaStream_t first{}, second{};
  cudaEvent_t over{};
  void *from{}, *to{}, *host{};
  cudaStreamCreateWithFlags(&first, cudaStreamNonBlocking);
  cudaStreamCreateWithFlags(&second, cudaStreamNonBlocking);
  cudaEventCreateWithFlags(&over, cudaEventDisableTiming);
  cudaMalloc(&from, bytes);
  cudaMalloc(&to, bytes);
  cudaMallocHost(&host, bytes);
  cudaMemsetAsync(to, 0, bytes, second);
  cudaMemsetAsync(from, 0, bytes, first);
  cudaEventRecord(over, first);
  cudaStreamWaitEvent(second, over, 0);
  cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, second);
  cudaMemcpyAsync(host, to, bytes, cudaMemcpyDeviceToHost, second);
  cudaStreamSynchronize(second);
  std::vector<float> values(n);
  std::memcpy(values.data(), host, bytes);
  cudaFree(from);
  cudaFree(to);
  cudaFreeHost(host);
  cudaEventDestroy(over);
  cudaStreamDestroy(first);
  cudaStreamDestroy(second);
  return values;
}

// Streams that run late show it, and shuffled ones in at least one of a few orders.
TEST_F(CudaDoubles, AnEventThatIsLeftOutIsNoticed) {
  const auto zeros_in_orders = [](int64_t forgotten) {
    int zeros = 0;
    for (uint64_t seed = 0; seed < 8; ++seed) {  // 0: late
      doubles::set_execution(seed == 0 ? Execution::late : Execution::shuffled, seed);
      doubles::forget_event(forgotten);
      zeros += copied_by_a_second_stream() == std::vector<float>(64, 0.0f);
    }
    return zeros;
  };
  EXPECT_EQ(zeros_in_orders(-1), 8);
  EXPECT_LT(zeros_in_orders(0), 8);
}

// Parameters lie one behind the other, and cuBLASLt's epilogue reads biases 16 bytes at a time.
TEST_F(CudaDoubles, ABiasMayLieAnywhere) {
  CudaBackend be(0);
  Arena arena(be.memory(), size_t{1} << 20);
  const Tensor x = values(be, arena, {5, 8}, 1), weight = values(be, arena, {12, 8}, 2), biases = values(be, arena, {13}, 3),
               aligned = arena.tensor(DType::f32, {12});
  be.copy(biases.slice({1, 13}), aligned);
  const auto product = [&](ConstTensor bias) {
    const Tensor y = arena.tensor(DType::f32, {5, 12});
    be.linear(x, weight, bias, y);
    const auto host = fetch<float>(be, arena, y);
    return std::vector<float>(host.begin(), host.end());
  };
  EXPECT_EQ(product(biases.slice({1, 13})), product(aligned));
}

// What a product's epilogue does, kernels of our own do where the library has none for a shape.
TEST_F(CudaDoubles, EpiloguesThatTheLibraryLacksAreDoneBeside) {
  constexpr int64_t S = 64, M = 40, K = 24;
  const auto results = [&](DType dtype, doubles::Refusal refusal) {
    doubles::refuse_epilogues(refusal);
    CudaBackend be(0);
    Arena arena(be.memory(), size_t{1} << 20);
    const auto rounded = [&](ConstTensor x) {
      const Tensor y = arena.tensor(dtype, x.shape());
      be.cast(x, y);
      return y;
    };
    const Tensor x = rounded(values(be, arena, {S, K}, 1)), weight = rounded(values(be, arena, {M, K}, 2)),
                 dy = rounded(values(be, arena, {S, M}, 6)), y = arena.tensor(dtype, {S, M}), bias = values(be, arena, {M}, 3),
                 d_weight = values(be, arena, {M, K}, 4), d_bias = values(be, arena, {M}, 5), wide_y = arena.tensor(DType::f32, {S, M});
    for (int time = 0; time < 2; ++time) {  // the second one knows what the first one met
      be.linear(x, weight, bias, y);
      be.linear_gradients(dy, x, d_weight, d_bias);
    }
    be.cast(y, wide_y);
    std::vector<float> all;
    for (const Tensor& t : {wide_y, d_weight, d_bias}) {
      const auto host = fetch<float>(be, arena, t);
      all.insert(all.end(), host.begin(), host.end());
    }
    return all;
  };
  for (const auto& [dtype, unit] : {std::pair{DType::f32, 0x1p-24}, {DType::bf16, 0x1p-8}}) {
    const std::vector<float> fused = results(dtype, doubles::Refusal::none);
    for (const doubles::Refusal refusal : {doubles::Refusal::by_heuristic, doubles::Refusal::by_product}) {
      const int64_t kernels = doubles::counts().kernels;
      const std::vector<float> beside = results(dtype, refusal);
      EXPECT_GE(doubles::counts().kernels, kernels + 2 * (1 + 2)) << "a pass for the bias, two for its gradient";
      // Inputs lie in [-1, 1], so y within K + 1; between both ways lie four roundings of a y: of the bias, of what it is added to, and of
      // the result in each. The gradients are sums in f32 of S products within 1, twice, to what was there within 1.
      const double of_y = 4 * unit * (K + 1), of_sum = 0x1p-24 * (2 * S + 1) * (2 * S + 1);
      for (size_t i = 0; i < fused.size(); ++i) EXPECT_NEAR(beside[i], fused[i], i < S * M ? of_y : of_sum) << i;
    }
  }
}

// Activations that are kept lie elsewhere than those that are computed again, and are to be the same bits.
TEST_F(CudaDoubles, AProductsAlgorithmIsThatOfItsShapeWhereverInAnArenaItLies) {
  CudaBackend be(0);
  Arena arena(be.memory(), size_t{1} << 20);
  const Tensor a = values(be, arena, {8, 8}, 1), b = values(be, arena, {8, 8}, 2);
  const int64_t before = doubles::counts().choices;
  for (int place = 0; place < 4; ++place) {
    be.gemm(Op::none, a, Op::none, b, 1, 0, arena.tensor(a.dtype(), a.shape()));
    (void)arena.tensor(DType::f32, {1});  // the next one lies 64 bytes farther from a multiple of 256
  }
  EXPECT_EQ(doubles::counts().choices, before + 1);
}

TEST_F(CudaDoubles, ACopyBeyondItsMemoryDies) {
  testing::GTEST_FLAG(death_test_style) = "threadsafe";
  CudaBackend be(0);
  Buffer little(be.memory(), 64);
  std::vector<float> host(1 << 20);
  EXPECT_DEATH(be.upload(view(std::span(host)), Tensor(little.tensor(DType::f32, {16}).bytes(), DType::f32, {1 << 20}, Device::cuda)),
               "too short");
}

// A kernel that is told of more than its operand has: behind every block lie pages that nobody may touch.
TEST_F(CudaDoubles, AKernelBeyondItsMemoryDies) {
  testing::GTEST_FLAG(death_test_style) = "threadsafe";
  CudaBackend be(0);
  for (const size_t room : {size_t{64}, size_t{8} << 20}) {
    Buffer little(be.memory(), room);
    const std::byte* const begin = little.tensor(DType::f32, {16}).bytes();
    const auto within = static_cast<int64_t>(room / sizeof(float)), beyond = within + 2048;  // 8 KiB: alignment leaves 4
    const auto reads = [&](int64_t n) { return ConstTensor(begin, DType::f32, {n}, Device::cuda); };
    Buffer result(be.memory(), sizeof(double));
    const Tensor total = result.tensor(DType::f64, {1});
    be.sum_squares(reads(within), total);
    be.synchronize();
    EXPECT_DEATH((be.sum_squares(reads(beyond), total), be.synchronize()), "");
  }
}

TEST_F(CudaDoubles, WhatIsMissingIsSaid) {
  const auto why = [](cudaError_t result, int devices) {
    doubles::machine() = {.devices = devices, .count_result = result};
    std::string reason = "before";
    lodestone_cuda_gpus(reason);
    return reason;
  };
  EXPECT_EQ(why(cudaSuccess, 1), "");
  EXPECT_EQ(why(cudaSuccess, 0), "there is no GPU that CUDA sees");
  EXPECT_EQ(why(cudaErrorNoDevice, 0), "there is no GPU that CUDA sees");
  EXPECT_EQ(why(cudaErrorStubLibrary, 0), "there is no GPU that CUDA sees");
  EXPECT_EQ(why(cudaErrorInsufficientDriver, 0), "there is no NVIDIA driver, or one that is older than this CUDA");
}

std::string failure_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    return cat(static_cast<int>(error.exit_code()), ' ', error.code(), ' ', error.what());
  }
  return "none";
}

TEST_F(CudaDoubles, MemoryThatRunsOutIsSaidWithHowMuchWasAskedFor) {
  doubles::machine().memory_bytes = size_t{1} << 30;
  CudaBackend be(0);
  EXPECT_EQ(failure_of([&] { const Buffer much(be.memory(), size_t{2} << 30); }),
            "9 F14 the GPU has no memory for 2048 MiB: 991 of 1024 MiB are free");
  EXPECT_EQ(be.memory().reservable(size_t{2} << 30) >> 20, 479u) << "what is free, less what is left to libraries";
}

TEST_F(CudaDoubles, WorkThatFailsNamesTheOperationsThatWereLast) {
  CudaBackend be(0);
  Arena arena(be.memory(), size_t{1} << 20);
  const Tensor x = values(be, arena, {8, 8}, 1);
  be.gelu_forward(x, x);
  doubles::fail_call("cudaStreamSynchronize", 0, cudaErrorIllegalAddress);
  EXPECT_EQ(failure_of([&] { be.synchronize(); }),
            "9 F47 the GPU failed at one of the operations up to number 2 (the last ones: upload f32 [8,8], gelu_forward f32 [8,8]): "
            "cudaErrorIllegalAddress "
            "(cudaErrorIllegalAddress)");
}

}  // namespace
}  // namespace lodestone
