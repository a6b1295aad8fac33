// Does a debug backend compute what the backend inside computes, only later, and does it find each way to disregard place and time?
#include "core/debug/debug_backend.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <functional>
#include <iterator>

#include "core/buffer.h"
#include "tests/core/op_fixture.h"
#include "tests/support/debug_rig.h"

namespace lodestone {
namespace {

using test::arena_bytes, test::demand_finite, test::message_of, test::Rig;

// ---- memory ---------------------------------------------------------------------------------------------------------

TEST(DebugMemory, GivesReleasedMemoryOutAgainAsZeros) {
  DebugMemory memory(size_t{1} << 20);
  std::byte *const first = memory.allocate(5000), *const second = memory.reserve(1);
  EXPECT_EQ(second, first + 8192);
  std::memset(memory.open(first), 7, 5000);
  memory.release(first, 5000);
  EXPECT_EQ(memory.allocate(8193), second + 4096) << "there is no room for it in front";
  EXPECT_EQ(memory.allocate(8192), first);
  for (size_t i = 0; i < 8192; ++i) ASSERT_EQ(memory.open(first)[i], std::byte{0}) << i;
}

TEST(DebugMemory, KnowsWhatIsOut) {
  DebugMemory memory(size_t{1} << 20);
  std::byte* const data = memory.allocate(5000);
  EXPECT_TRUE(memory.contains(data, 5000) && memory.contains(data + 4999, 1));
  EXPECT_FALSE(memory.contains(data + 1, 5000));
  EXPECT_FALSE(memory.contains(memory.open(data), 1)) << "the writable view is no operand";
  memory.release(data, 5000);
  EXPECT_FALSE(memory.contains(data, 1));
}

TEST(DebugMemory, JoinsWhatWasReleased) {
  DebugMemory memory(12288);
  std::byte *const a = memory.allocate(1), *const b = memory.allocate(1), *const c = memory.allocate(1);
  EXPECT_THROW((void)memory.allocate(1), Error);
  for (std::byte* const page : {a, c, b}) memory.release(page, 1);
  EXPECT_EQ(memory.allocate(12288), a);
}

TEST(DebugMemory, IsGivenOutAgainOnlyWhenTheQueueIsPastIt) {
  Rig<> device;
  Buffer old(device.backend.memory(), 4096);
  std::byte* const place = old.data();
  device.backend.fill_zero(old.tensor(DType::f64, {512}));
  old = Buffer();
  const Buffer other(device.backend.memory(), 4096);
  EXPECT_NE(other.data(), place) << "an operation that is enqueued still writes there";
  device.backend.synchronize();
  const Buffer later(device.backend.memory(), 4096);
  EXPECT_EQ(later.data(), place);
}

// ---- operations -----------------------------------------------------------------------------------------------------

/// Some layers over texts, with every kind of argument: vectors, a gradient, parameters and a total, one behind the other.
std::vector<double> layers(Backend& backend) {
  Arena arena(backend.memory(), arena_bytes);
  const auto scope = arena.scope();
  const test::Texts texts({3, 1, 5});
  const test::RandomMasks masks(texts.batch(), 2);
  const int64_t s = texts.tokens(), h = 6;
  const auto zeros = [&](Shape shape) {
    const Tensor x = arena.tensor(DType::f64, shape);
    backend.fill_zero(x);
    return x;
  };
  const auto random = [&](Shape shape, uint64_t seed) {
    const std::span<double> values = arena.array<double>(shape.count());
    std::ranges::copy(test::random_values(shape.count(), seed), values.begin());
    return backend.upload(view(values).reshape(shape), arena);
  };
  const DeviceTexts on = upload_texts(backend, arena, texts.batch());
  const DeviceMasks hidden = upload_masks(backend, arena, texts.batch(), masks.view());
  const Tensor x = zeros({s, h}), y = zeros({s, h}), mean = zeros({s}), rstd = zeros({s}), q = zeros({s, h}), kv = zeros({s, 2 * h});
  const Tensor ctx = zeros({s, h}), lse = zeros({s, 2}), pooled = zeros({3, h}), d_word = zeros({7, h}), total = zeros({1});
  backend.embed_forward(on, random({7, h}, 1), random({8, h}, 2), random({2, h}, 3), x);
  backend.layer_norm_forward(x, random({h}, 4), random({h}, 5), 1e-12, y, mean, rstd);
  backend.linear(y, random({h, h}, 6), {}, q);
  backend.gemm(Op::none, y, Op::transpose, random({2 * h, h}, 7), 0.5, 0.0, kv);
  backend.masked_attention_forward(on, hidden, q, kv, 2, {0.2, Key(3)}, ctx, lse);
  backend.pool_forward(on, ctx, Pooling::mean, pooled);
  backend.embed_backward(on, ctx, d_word, zeros({8, h}), zeros({2, h}));
  const std::vector<UpdateRun> runs{{{0, s * h}}};
  backend.adamw({.lr = 0.1}, runs, ctx.reshape({s * h}), q.reshape({s * h}), zeros({s * h}), zeros({s * h}));
  backend.sum_squares(ctx, total);
  std::vector<double> all;
  for (const Tensor& result : {pooled, d_word, q, total}) std::ranges::copy(fetch<double>(backend, arena, result), std::back_inserter(all));
  return all;
}

TEST(DebugBackend, GivesTheBitsOfTheBackendInside) {
  ReferenceBackend reference;
  DebugBackend debug(std::make_unique<ReferenceBackend>());
  const std::vector<double> expected = layers(reference), seen = layers(debug);
  EXPECT_EQ(std::memcmp(seen.data(), expected.data(), expected.size() * sizeof(double)), 0);
  EXPECT_TRUE(debug.wants_token_places());
  EXPECT_EQ(debug.description(), "debug over " + reference.description());
}

TEST(DebugBackend, RunsNothingBeforeSomethingWaits) {
  Rig<> device;
  const auto scope = device.arena.scope();
  const Tensor x = device.holding({1, 2, 3});
  device.backend.scale(2.0, x, x);
  const ConstTensor early = device.backend.download(x, device.arena);
  const Event between = device.backend.record();
  device.backend.scale(2.0, x, x);
  const ConstTensor late = device.backend.download(x, device.arena);
  for (const double value : early.host<double>()) EXPECT_TRUE(std::isnan(value));
  device.backend.wait_for(between);
  EXPECT_EQ(early.host<double>()[2], 6.0);
  EXPECT_TRUE(std::isnan(late.host<double>()[2])) << "what stands behind the event has not run";
  device.backend.synchronize();
  EXPECT_EQ(late.host<double>()[2], 12.0);
}

TEST(DebugBackend, KeepsASourceWhoseScopeHasEnded) {
  Rig<> device;
  const Tensor sum = device.holding({0, 0});
  {
    const auto scope = device.arena.scope();
    const std::span<double> source = device.arena.array<double>(2);
    std::ranges::fill(source, 3.0);
    device.backend.axpy(1.0, device.backend.upload(view(source), device.arena), sum);
  }
  std::ranges::fill(device.arena.array<double>(2), 5.0);  // where the source was
  EXPECT_EQ(device.values(sum), (std::vector<double>{3, 3}));
}

TEST(DebugBackend, TakesTheEndOfAnotherArenasScopeForWhatItIs) {
  Rig<> device;
  Arena other(device.backend.memory(), arena_bytes);
  const auto scope = device.arena.scope();
  const ConstTensor result = device.backend.download(device.holding({7}), device.arena);
  { const auto of_other = other.scope(); }
  device.backend.synchronize();
  EXPECT_EQ(result.host<double>()[0], 7.0);
}

TEST(DebugBackend, WhatAnArenaGivesOutIsNoNumberUntilItIsWritten) {
  Rig<> device;
  const Tensor before = device.arena.tensor(DType::f64, {3}), x = device.arena.tensor(DType::f64, {4});
  device.backend.fill_zero(x.slice({1, 2}));
  const std::vector<double> seen = device.values(x);
  for (const size_t i : {0u, 2u, 3u}) EXPECT_TRUE(std::isnan(seen[i])) << i;
  EXPECT_EQ(seen[1], 0);
  for (const double value : device.values(before)) EXPECT_TRUE(std::isnan(value)) << "it lies in front of what was used first";
  EXPECT_EQ(device.values(x)[1], 0);
  const Buffer buffer(device.backend.memory(), 16);
  EXPECT_EQ(device.values(buffer.tensor(DType::f64, {2})), (std::vector<double>{0, 0})) << "a buffer is zeroed";
}

TEST(DebugBackend, WhatAnArenaGaveOutIsNoNumberBehindItsScope) {
  Rig<> device;
  const Tensor outside = device.holding({7});
  Tensor inside;
  {
    const auto scope = device.arena.scope();
    inside = device.holding({1, 2, 3});
    device.backend.axpy(1.0, inside.slice({2, 3}), outside);
    EXPECT_EQ(device.values(inside), (std::vector<double>{1, 2, 3})) << "an inner scope ends, which did not give it out";
  }
  for (const double value : device.values(inside)) EXPECT_TRUE(std::isnan(value));
  EXPECT_EQ(device.values(outside), (std::vector<double>{10})) << "what was enqueued before saw what was there";
}

TEST(DebugBackend, CountsTransfersAndWaits) {
  Rig<> device;
  const auto scope = device.arena.scope();
  std::vector<double> host{1, 2, 3};
  const ConstTensor x = device.backend.upload(view(std::span(host)), device.arena);
  device.backend.wait_for(device.backend.record());
  (void)device.backend.download(x, device.arena);
  device.backend.download(x, view(std::span(host)));
  device.backend.synchronize();
  const Transfers& seen = device.backend.transfers();
  EXPECT_EQ((std::array{seen.uploads, seen.downloads, seen.waits, seen.copied_bytes}), (std::array<int64_t, 4>{1, 2, 2, 72}));
}

TEST(DebugBackend, LetsEmptyTensorsPass) {
  Rig<> device;
  const auto scope = device.arena.scope();
  const Tensor rows = device.arena.tensor(DType::f64, {0, 4});
  device.backend.layer_norm_forward(rows, device.holding({1, 1, 1, 1}), device.holding({0, 0, 0, 0}), 1e-12, rows, rows.reshape({0}),
                                    rows.reshape({0}));
  EXPECT_TRUE(device.backend.download(rows, device.arena).empty());
  EXPECT_TRUE(device.backend.upload(ConstTensor(), device.arena).empty());
  device.backend.synchronize();
}

TEST(DebugBackend, RefusesOperandsThatLieElsewhere) {
  Rig<> device;
  const Tensor x = device.holding({1, 2, 3, 4});
  std::vector<double> host(4);
  const Tensor on_host = view(std::span(host));
  EXPECT_EQ(message_of([&] { device.backend.gelu_forward(x, on_host); }),
            "gelu_forward: argument 2, f64 [4], does not lie on the debug device");
  const Tensor elsewhere(on_host.bytes(), DType::f64, {4}, Device::debug);
  EXPECT_EQ(message_of([&] { device.backend.gelu_forward(elsewhere, x); }),
            "gelu_forward: argument 1, f64 [4], lies outside of what the debug device has given out");
  const Tensor beyond(x.bytes(), DType::u8, {static_cast<int64_t>(arena_bytes) + 1}, Device::debug);
  EXPECT_EQ(message_of([&] { device.backend.fill_zero(beyond); }),
            "fill_zero: argument 1, u8 [16777217], lies outside of what the debug device has given out");
  DeviceTexts texts;
  texts.ids = view(std::span(host));
  EXPECT_EQ(message_of([&] { device.backend.dropout(texts, x, {}, x); }),
            "dropout: argument 1 ids, f64 [4], does not lie on the debug device");
  EXPECT_EQ(message_of([&] { device.backend.upload(x, x); }), "upload: the source: f64 [4] does not lie on the host");
  EXPECT_EQ(message_of([&] { device.backend.download(on_host, on_host); }),
            "download: the source, f64 [4], does not lie on the debug device");
  EXPECT_EQ(device.backend.record().number, 1) << "what was refused is not enqueued";
}

TEST(DebugBackend, ComparesTheTokenPlacesOfTextsWithTheirOffsets) {
  Rig<> device;
  const test::Texts texts({2, 1});
  const auto scope = device.arena.scope();
  const DeviceTexts good = upload_texts(device.backend, device.arena, texts.batch());
  const Tensor x = device.holding({1, 2, 3, 4, 5, 6}).reshape({3, 2}), y = device.arena.tensor(DType::f64, {3, 2});
  const auto dropped = [&](const DeviceTexts& of) {
    return message_of([&] {
      device.backend.dropout(of, x, {0.5, Key(1)}, y);
      device.backend.synchronize();
    });
  };
  EXPECT_EQ(dropped(good), "nothing was thrown");
  DeviceTexts without = good, swapped = good;
  without.place = {};
  EXPECT_EQ(dropped(without), "dropout: argument 1 has 0 elements of place for 3 tokens");
  std::swap(swapped.text_of, swapped.place);
  EXPECT_EQ(dropped(swapped), "token 1 is said to be token 0 of text 1, by the offsets it is token 1 of text 0");
}

TEST(DebugBackend, DropsWhatStandsBehindAFailure) {
  Rig<> device;
  const Tensor x = device.holding({1, 2}), wrong = device.arena.tensor(DType::f64, {3});
  device.backend.copy(x, wrong);
  device.backend.scale(2.0, x, x);
  {
    const auto scope = device.arena.scope();
    (void)device.backend.download(x, device.arena);
    EXPECT_NE(message_of([&] { device.backend.synchronize(); }).find("copy"), std::string::npos);
  }
  EXPECT_EQ(device.values(x), (std::vector<double>{1, 2}));
}

// ---- controls: each must die ----------------------------------------------------------------------------------------

TEST(DebugBackendDeathTest, AHostThatReadsDeviceMemoryDies) {
  const auto read = [] {
    Rig<> device;
    const Tensor x = device.holding({1, 2, 3});
    device.backend.scale(2.0, x, x);
    demand_finite(std::to_integer<int>(*x.slice({1, 3}).bytes()));
  };
  EXPECT_EXIT(read(), testing::KilledBySignal(SIGSEGV),
              "the host touched device memory at offset 8 \\(of the allocation at 0, 16777216 bytes\\)\n"
              "debug backend: 1 of 2 operations are done, .*\n"
              "  0 upload, done, first operand at offset 0, 24 bytes\n"
              "  1 scale, enqueued, first operand at offset 0, 24 bytes\n"
              "debug backend: tensor 1 of operation 1 scale lies there, from offset 0, 24 bytes\n");
}

TEST(DebugBackendDeathTest, AnotherFaultGoesWhereItWentBefore) {
  const auto fault = [] {
    struct sigaction mine {};
    mine.sa_handler = [](int) { _exit(3); };
    sigaction(SIGSEGV, &mine, nullptr);
    const Rig<> device;
    void* const page = mmap(nullptr, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    demand_finite(*static_cast<const double*>(page));
  };
  EXPECT_EXIT(fault(), testing::ExitedWithCode(3), "");
}

TEST(DebugBackendDeathTest, ASourceThatChangesTooEarlyIsFound) {
  const auto change = [](const std::function<void(DebugBackend&, Arena&, ConstTensor)>& upload, bool waits) {
    Rig<> device;
    std::vector<double> buffer{1, 2, 3};
    const auto scope = device.arena.scope();
    upload(device.backend, device.arena, view(std::span(buffer)));
    buffer[1] = 7;
    if (waits) device.backend.synchronize();
  };
  const auto in_scope = [](DebugBackend& backend, Arena& arena, ConstTensor x) { (void)backend.upload(x, arena); };
  const auto at_large = [](DebugBackend& backend, Arena& arena, ConstTensor x) { backend.upload(x, arena.tensor(x.dtype(), x.shape())); };
  for (const bool waits : {false, true})
    EXPECT_DEATH(change(in_scope, waits), "the source of an upload changed before its scope ended \\(operation 0\\)");
  EXPECT_DEATH(change(at_large, true), "the source of an upload changed before synchronize\\(\\) \\(operation 0\\)");
}

TEST(DebugBackendDeathTest, AResultThatIsReadTooEarlyIsNoNumber) {
  const auto read = [](bool waits) {
    Rig<> device;
    const auto scope = device.arena.scope();
    const Tensor x = device.holding({3, 4}), total = device.holding({0});
    device.backend.sum_squares(x, total);
    const ConstTensor host = device.backend.download(total, device.arena);
    if (waits) device.backend.synchronize();
    demand_finite(host.host<double>()[0]);
    _exit(0);
  };
  EXPECT_EXIT(read(true), testing::ExitedWithCode(0), "");
  EXPECT_DEATH(read(false), "the total is not finite");
}

TEST(DebugBackendDeathTest, ADownloadThatOutlivesItsScopeIsFound) {
  const auto leave = [] {
    Rig<> device;
    const Tensor x = device.holding({3, 4});
    const auto scope = device.arena.scope();
    (void)device.backend.download(x, device.arena);
  };
  EXPECT_DEATH(leave(), "a download was still under way when its scope ended");
}

}  // namespace
}  // namespace lodestone
