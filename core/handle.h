// Owns one object of a C library and destroys it exactly once.
#pragma once

#include <utility>

namespace lodestone {

template <class T, auto destroy, T null = T{}>
class Handle {
 public:
  Handle() = default;
  explicit Handle(T raw) : raw_(raw) {}
  Handle(Handle&& other) noexcept : raw_(std::exchange(other.raw_, null)) {}
  Handle& operator=(Handle&& other) noexcept {
    std::swap(raw_, other.raw_);
    return *this;
  }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  ~Handle() {
    if (raw_ != null) destroy(raw_);
  }
  T get() const { return raw_; }
  /// Gives the object up: the caller destroys it (and can check what its destroyer returns).
  T release() { return std::exchange(raw_, null); }
  explicit operator bool() const { return raw_ != null; }

 private:
  T raw_ = null;
};

}  // namespace lodestone
