// Arena: the memory of one step, reserved once, released by scope, touched once - the device's for tensors, the host's for what describes
// them.
#pragma once

#include <array>
#include <type_traits>

#include "core/memory.h"
#include "core/tensor.h"

namespace lodestone {

/// What step memory is taken for.
enum class Use : uint8_t {
  work,         // all else: tiles of scores, what one layer needs, sums
  activations,  // kept from a forward pass for its backward
  vectors,      // sentence vectors, their gradients and their copies: these grow with the batch
};

/// Two bump allocators over reserved addresses: one of the device's memory, one of the host's. Nothing is given back to the system between
/// steps, so pages are faulted in once. In debug builds released host memory is filled with NaN bit patterns.
/// Not thread-safe: one arena belongs to the step's thread.
class Arena {
 public:
  static constexpr size_t default_reserve_bytes = size_t{64} << 30;

  /// Reserves (does not touch) `reserve_bytes` of addresses of `memory`, which must outlive the arena, or as many of them as it has, and an
  /// eighth of that on the host, 16 MiB at least; both together give out no more. Throws Error (resource) if either refuses.
  explicit Arena(Memory& memory, size_t reserve_bytes = default_reserve_bytes);
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  Device device() const { return memory_.device(); }
  /// Uninitialised elements on the device, 64-byte aligned, valid until the innermost open scope ends.
  /// Throws Error (resource) naming the need and the limit when the reservation is used up.
  Tensor tensor(DType dtype, Shape shape);
  /// What tensor(dtype, shape) takes, with its alignment.
  static size_t taken_bytes(DType dtype, const Shape& shape);
  /// n objects on the host, uninitialised, valid as long: index arrays, small control values, descriptions of tensors. No destructor runs.
  /// Throws as tensor().
  template <class T>
  std::span<T> array(int64_t n) {
    static_assert(std::is_trivially_destructible_v<T> && alignof(T) <= 64);
    return {reinterpret_cast<T*>(take(host_, taken_bytes<T>(n))), static_cast<size_t>(n)};
  }
  /// What array<T>(n) takes, with its alignment.
  template <class T>
  static size_t taken_bytes(int64_t n) {
    return aligned(static_cast<size_t>(n) * sizeof(T));
  }

  /// Everything taken after this call is released when the returned object dies.
  class Scope {
   public:
    explicit Scope(Arena& arena) : arena_(arena), device_mark_(arena.device_.used), host_mark_(arena.host_.used), by_use_(arena.by_use_) {
      ++arena.depth_;
    }
    ~Scope() {
      arena_.end_scope(device_mark_, host_mark_);
      arena_.by_use_ = by_use_;
    }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Arena& arena_;
    size_t device_mark_, host_mark_;
    std::array<size_t, 3> by_use_;
  };
  [[nodiscard]] Scope scope() { return Scope(*this); }

  /// What is taken while the returned object lives is taken for `use`, but where another one is made inside.
  class Tag {
   public:
    Tag(Arena& arena, Use use) : arena_(arena), before_(arena.use_) { arena.use_ = use; }
    ~Tag() { arena_.use_ = before_; }
    Tag(const Tag&) = delete;
    Tag& operator=(const Tag&) = delete;

   private:
    Arena& arena_;
    Use before_;
  };
  [[nodiscard]] Tag taking_for(Use use) { return Tag(*this, use); }

  /// Where the next tensor will lie.
  const std::byte* next() const { return device_.base + device_.used; }
  /// How many scopes are open.
  int depth() const { return depth_; }

  /// Of both memories together.
  size_t used_bytes() const { return device_.used + host_.used; }
  size_t peak_bytes() const { return peak_; }
  /// How much of the peak was taken for this.
  size_t peak_bytes(Use use) const { return peak_by_use_[static_cast<size_t>(use)]; }
  /// The most that was ever in use beside vectors.
  size_t peak_beyond_vectors() const { return peak_beyond_; }
  void reset_peak() {
    peak_ = used_bytes();
    peak_by_use_ = by_use_;
    peak_beyond_ = beyond_vectors();
  }

 private:
  struct Region {
    std::byte* base = nullptr;
    size_t reserved = 0, used = 0;
  };
  static constexpr size_t aligned(size_t bytes) { return (bytes + 63) / 64 * 64; }
  [[noreturn]] static void refuse(size_t need_bytes, size_t limit_bytes);
  std::byte* take(Region& region, size_t bytes);
  void end_scope(size_t device_mark, size_t host_mark) noexcept;

  Memory& memory_;
  HostMemory host_memory_;
  const size_t limit_;  // of both regions together
  Region device_, host_;
  size_t beyond_vectors() const { return used_bytes() - by_use_[static_cast<size_t>(Use::vectors)]; }

  Use use_ = Use::work;
  std::array<size_t, 3> by_use_{}, peak_by_use_{};
  size_t peak_ = 0, peak_beyond_ = 0;
  int depth_ = 0;
};

}  // namespace lodestone
