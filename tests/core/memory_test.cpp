// Where do buffers and arenas take their bytes from, and is everything given back?
#include "core/memory.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <map>
#include <string>
#include <vector>

#include "core/arena.h"
#include "core/buffer.h"
#include "core/cpu/cpu_backend.h"
#include "tests/support/host_memory.h"

namespace lodestone {
namespace {

/// The host's memory under the name of a device, counting what is out.
class CountingMemory final : public Memory {
 public:
  Device device() const override { return Device::cuda; }
  std::byte* allocate(size_t size_bytes) override { return keep(host_.allocate(size_bytes), size_bytes); }
  std::byte* reserve(size_t size_bytes) override { return keep(host_.reserve(size_bytes), size_bytes); }
  void release(std::byte* data, size_t size_bytes) noexcept override {
    EXPECT_EQ(out_[data], size_bytes);
    out_.erase(data);
    host_.release(data, size_bytes);
  }
  bool holds(const std::byte* p) const {
    return std::any_of(out_.begin(), out_.end(), [&](const auto& o) { return o.first <= p && p < o.first + o.second; });
  }
  size_t pieces() const { return out_.size(); }

 private:
  std::byte* keep(std::byte* data, size_t size_bytes) {
    out_[data] = size_bytes;
    return data;
  }
  HostMemory host_;
  std::map<std::byte*, size_t> out_;
};

TEST(HostMemory, AllocatesZerosOnPageBoundaries) {
  HostMemory memory;
  for (const size_t size : {size_t{1}, size_t{5000}, size_t{3} << 20}) {
    std::byte* const data = memory.allocate(size);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(data) % 4096, 0u);
    EXPECT_TRUE(std::all_of(data, data + size, [](std::byte b) { return b == std::byte{0}; }));
    memory.release(data, size);
  }
}

TEST(HostMemory, RefusesWhatTheSystemDoesNotHave) {
  for (const auto& take : {&HostMemory::allocate, &HostMemory::reserve}) {
    HostMemory memory;
    try {
      (memory.*take)(size_t{1} << 60);
      FAIL();
    } catch (const Error& error) {
      EXPECT_EQ(error.exit_code(), ExitCode::resource);
      EXPECT_EQ(error.code(), "F14");
    }
  }
}

TEST(Buffer, IsOfTheDeviceThatItWasMadeFromAndGoesBackToIt) {
  CountingMemory memory;
  {
    Buffer first(memory, 400), moved;
    EXPECT_TRUE(memory.holds(first.data()));
    EXPECT_EQ(first.tensor(DType::f32, {100}).device(), Device::cuda);
    EXPECT_THROW((void)first.tensor(DType::f32, {100}).host<float>(), Error) << "a device's elements are not the host's";
    moved = std::move(first);
    EXPECT_EQ(memory.pieces(), 1u);
    const Buffer empty(memory, 0);
    EXPECT_EQ(memory.pieces(), 1u);
  }
  EXPECT_EQ(memory.pieces(), 0u);
}

TEST(Arena, KeepsTensorsOnTheDeviceAndArraysOnTheHost) {
  CountingMemory memory;
  {
    Arena arena(memory, size_t{1} << 20);
    const Tensor tensor = arena.tensor(DType::f32, {10});
    const std::span<int64_t> array = arena.array<int64_t>(3);
    EXPECT_EQ(tensor.device(), Device::cuda);
    EXPECT_TRUE(memory.holds(tensor.bytes()));
    EXPECT_FALSE(memory.holds(reinterpret_cast<const std::byte*>(array.data())));
    EXPECT_EQ(arena.used_bytes(), Arena::taken_bytes(DType::f32, {10}) + Arena::taken_bytes<int64_t>(3));
  }
  EXPECT_EQ(memory.pieces(), 0u);
}

TEST(Arena, AScopeReleasesBothAndThePeakCountsBoth) {
  Arena arena(test::host_memory, size_t{1} << 20);
  std::byte* tensor = nullptr;
  int64_t* array = nullptr;
  for (int round = 0; round < 2; ++round) {
    const auto scope = arena.scope();
    const Tensor t = arena.tensor(DType::u8, {1000});
    const std::span<int64_t> a = arena.array<int64_t>(100);
    if (round == 1) {
      EXPECT_EQ(t.bytes(), tensor);
      EXPECT_EQ(a.data(), array);
    }
    tensor = t.bytes();
    array = a.data();
  }
  EXPECT_EQ(arena.used_bytes(), 0u);
  EXPECT_EQ(arena.peak_bytes(), size_t{1024 + 832});
}

TEST(Arena, KnowsWhatItsPeakWasTakenFor) {
  Arena arena(test::host_memory, size_t{1} << 20);
  const auto take = [&](int64_t bytes) { (void)arena.tensor(DType::u8, {bytes}); };
  const auto outer = arena.scope();
  take(64);
  {
    const auto kept = arena.taking_for(Use::activations);
    take(640);
    const auto scope = arena.scope();
    const auto vectors = arena.taking_for(Use::vectors);
    take(1280);
    (void)arena.array<std::byte>(128);
  }
  {
    const auto scope = arena.scope();
    take(1088);  // not the peak of all, but of what is not vectors
  }
  take(64);
  EXPECT_EQ(arena.peak_bytes(), size_t{64 + 640 + 1280 + 128});
  EXPECT_EQ(arena.peak_bytes(Use::work), size_t{64});
  EXPECT_EQ(arena.peak_bytes(Use::activations), size_t{640});
  EXPECT_EQ(arena.peak_bytes(Use::vectors), size_t{1280 + 128});
  EXPECT_EQ(arena.peak_beyond_vectors(), size_t{64 + 640 + 1088});
  arena.reset_peak();
  EXPECT_EQ(arena.peak_bytes(), size_t{64 + 640 + 64});
  EXPECT_EQ(arena.peak_bytes(Use::work), size_t{128});
  EXPECT_EQ(arena.peak_bytes(Use::vectors), size_t{0});
}

/// Notes which scopes end.
class ScopedMemory final : public Memory {
 public:
  Device device() const override { return Device::cuda; }
  std::byte* allocate(size_t size_bytes) override { return inner_.allocate(size_bytes); }
  std::byte* reserve(size_t size_bytes) override { return inner_.reserve(size_bytes); }
  void release(std::byte* data, size_t size_bytes) noexcept override { inner_.release(data, size_bytes); }
  void end_scope(const Arena& arena, std::byte* from, size_t size_bytes) noexcept override {
    ended += static_cast<char>('0' + arena.depth());
    released.push_back({from, size_bytes});
  }
  std::string ended;
  std::vector<std::pair<std::byte*, size_t>> released;

 private:
  HostMemory inner_;
};

TEST(Arena, TellsItsMemoryWhichScopeEnds) {
  ScopedMemory memory;
  Arena arena(memory, size_t{1} << 20);
  EXPECT_EQ(arena.depth(), 0);
  std::byte* first = nullptr;
  {
    const auto outer = arena.scope();
    {
      const auto inner = arena.scope();
      first = arena.tensor(DType::f32, {3}).bytes();
    }
    const auto second = arena.scope();
    const auto third = arena.scope();
    EXPECT_EQ(arena.depth(), 3);
  }
  EXPECT_EQ(memory.ended, "2321");
  EXPECT_EQ(memory.released.front(), (std::pair{first, size_t{64}}));
  EXPECT_EQ(memory.released.back(), (std::pair{first, size_t{0}}));
  EXPECT_EQ(arena.depth(), 0);
}

TEST(HostBackend, GivesViewsAndCountsWhatItWasAskedFor) {
  ReferenceBackend backend;
  Arena arena(backend.memory(), size_t{1} << 20);
  std::vector<double> values{1, 2, 3}, other(3);
  const Tensor host = view(std::span(values));
  EXPECT_EQ(backend.upload(host, arena).bytes(), host.bytes());
  EXPECT_EQ(backend.download(host, arena).bytes(), host.bytes());
  backend.upload(host, host);
  EXPECT_EQ(backend.transfers().copied_bytes, 0);
  backend.download(host, view(std::span(other)));
  EXPECT_EQ(other, values);
  EXPECT_EQ(fetch<double>(backend, arena, host).data(), values.data());
  backend.wait_for(backend.record());
  const Transfers& seen = backend.transfers();
  EXPECT_EQ((std::array{seen.uploads, seen.downloads, seen.waits, seen.copied_bytes}), (std::array<int64_t, 4>{2, 3, 2, 24}));
  EXPECT_EQ(arena.used_bytes(), 0u);
  EXPECT_THROW(backend.upload(host, view(std::span(other)).slice({0, 2})), Error);
}

TEST(CpuBackend, RefusesOperandsOfAnotherDevice) {
  CpuBackend backend(1);
  std::vector<float> values(4, 1.0f), out(4);
  const Tensor here = view(std::span(out)), elsewhere(view(std::span(values)).bytes(), DType::f32, {4}, Device::cuda);
  EXPECT_THROW(backend.gelu_forward(elsewhere, here), Error);
  EXPECT_THROW(backend.gelu_forward(here, elsewhere), Error);
  EXPECT_NO_THROW(backend.gelu_forward(here, here));
}

TEST(Arena, RefusesMoreThanItReservedAndSaysHowMuch) {
  Arena arena(test::host_memory, size_t{1} << 20);
  try {
    (void)arena.tensor(DType::u8, {(1 << 20) + 1});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::resource);
    EXPECT_EQ(std::string(error.what()), "step memory is used up: 2 MiB needed, 1 MiB reserved");
  }
}

TEST(Arena, GivesBothMemoriesTogetherNoMoreThanItReserved) {
  Arena arena(test::host_memory, size_t{2} << 20);
  (void)arena.tensor(DType::u8, {1 << 20});
  (void)arena.array<std::byte>(1 << 20);
  EXPECT_THROW((void)arena.array<std::byte>(1), Error);
  EXPECT_THROW((void)arena.tensor(DType::u8, {1}), Error);
}

}  // namespace
}  // namespace lodestone
