// Arena: the memory of one step, reserved once, released by scope, touched once.
#pragma once

#include "core/tensor.h"

namespace lodestone {

/// A bump allocator over one reserved address range. Nothing is given back to the system between steps, so pages are
/// faulted in once. In debug builds released memory is filled with NaN bit patterns.
/// Not thread-safe: one arena belongs to the step's thread.
class Arena {
 public:
  /// Reserves (does not touch) `reserve_bytes` of address space. Throws Error (resource) if the system refuses.
  explicit Arena(size_t reserve_bytes = size_t{64} << 30);
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  /// Uninitialised elements, 64-byte aligned, valid until the innermost open scope ends.
  /// Throws Error (resource) naming the need and the limit when the reservation is used up.
  Tensor tensor(DType dtype, Shape shape);
  /// What tensor(dtype, shape) takes, with its alignment.
  static size_t taken_bytes(DType dtype, const Shape& shape);
  template <class T>
  std::span<T> array(int64_t n) {
    return tensor(dtype_of<T>, {n}).template host<T>();
  }

  /// Everything taken after this call is released when the returned object dies.
  class Scope {
   public:
    explicit Scope(Arena& arena) : arena_(arena), mark_(arena.used_) {}
    ~Scope() { arena_.release_to(mark_); }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Arena& arena_;
    size_t mark_;
  };
  [[nodiscard]] Scope scope() { return Scope(*this); }

  size_t used_bytes() const { return used_; }
  size_t peak_bytes() const { return peak_; }
  void reset_peak() { peak_ = used_; }

 private:
  void release_to(size_t mark);

  std::byte* base_ = nullptr;
  size_t reserved_ = 0, used_ = 0, peak_ = 0;
};

}  // namespace lodestone
