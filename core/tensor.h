// Tensor and ConstTensor: non-owning row-major views with run-time dtype and device.
#pragma once

#include <array>
#include <initializer_list>
#include <ostream>
#include <span>

#include "core/dtype.h"
#include "core/error.h"

namespace lodestone {

/// At most four dimensions, stored inline.
class Shape {
 public:
  Shape() = default;
  Shape(std::initializer_list<int64_t> dims) {
    LODE_CHECK(dims.size() <= 4, "a shape has at most 4 dimensions, got ", dims.size());
    for (const int64_t d : dims) dims_[rank_++] = d;
  }
  size_t rank() const { return rank_; }
  int64_t operator[](size_t i) const { return dims_[i]; }
  int64_t& operator[](size_t i) { return dims_[i]; }
  int64_t count() const {
    int64_t n = 1;
    for (size_t i = 0; i < rank_; ++i) n *= dims_[i];
    return n;
  }
  friend bool operator==(const Shape& a, const Shape& b) {
    if (a.rank_ != b.rank_) return false;
    for (size_t i = 0; i < a.rank_; ++i)
      if (a.dims_[i] != b.dims_[i]) return false;
    return true;
  }
  friend std::ostream& operator<<(std::ostream& out, const Shape& s) {
    out << '[';
    for (size_t i = 0; i < s.rank_; ++i) out << (i ? "," : "") << s.dims_[i];
    return out << ']';
  }

 private:
  std::array<int64_t, 4> dims_{};
  size_t rank_ = 0;
};

/// Half-open range of elements of a flat vector.
struct Slice {
  int64_t begin = 0, end = 0;
  int64_t count() const { return end - begin; }
  friend bool operator==(const Slice&, const Slice&) = default;
};

namespace detail {

/// What Tensor and ConstTensor share; Byte is std::byte or const std::byte.
template <class Byte, class Self>
class TensorView {
 public:
  TensorView() = default;
  TensorView(Byte* data, DType dtype, Shape shape, Device device = Device::cpu)
      : data_(data), shape_(shape), dtype_(dtype), device_(device) {}

  Byte* bytes() const { return data_; }
  DType dtype() const { return dtype_; }
  Device device() const { return device_; }
  const Shape& shape() const { return shape_; }
  int64_t dim(size_t i) const { return shape_[i]; }
  int64_t count() const { return shape_.count(); }
  size_t size_bytes() const { return static_cast<size_t>(count()) * size_of(dtype_); }
  bool empty() const { return data_ == nullptr || count() == 0; }

  /// Rows [begin, end) of dimension 0.
  Self rows(int64_t begin, int64_t end) const {
    LODE_CHECK(shape_.rank() >= 1 && 0 <= begin && begin <= end && end <= shape_[0], "rows [", begin, ",", end, ") of ", shape_);
    Shape s = shape_;
    s[0] = end - begin;
    const int64_t row = shape_[0] == 0 ? 0 : shape_.count() / shape_[0];
    return Self(data_ + static_cast<size_t>(begin * row) * size_of(dtype_), dtype_, s, device_);
  }
  /// The same elements under another shape of equal count.
  Self reshape(Shape shape) const {
    LODE_CHECK(shape.count() == count(), "reshape ", shape_, " to ", shape);
    return Self(data_, dtype_, shape, device_);
  }
  /// Elements [slice.begin, slice.end) of the flattened tensor, as [n].
  Self slice(Slice range) const {
    LODE_CHECK(0 <= range.begin && range.begin <= range.end && range.end <= count(), "slice [", range.begin, ",", range.end, ") of ",
               shape_);
    return Self(data_ + static_cast<size_t>(range.begin) * size_of(dtype_), dtype_, Shape{range.count()}, device_);
  }

 protected:
  Byte* data_ = nullptr;
  Shape shape_{0};
  DType dtype_ = DType::f32;
  Device device_ = Device::cpu;
};

}  // namespace detail

/// A view that may be read and written. Copying it copies the view, never data. It can dangle: owners are Buffer, Arena, ParamStore.
class Tensor : public detail::TensorView<std::byte, Tensor> {
 public:
  using TensorView::TensorView;
  /// Host elements. Throws unless T matches dtype and the tensor is on the CPU.
  template <class T>
  std::span<T> host() const {
    LODE_CHECK(dtype() == dtype_of<T> && device() == Device::cpu, "host view of ", name_of(dtype()), " as ", name_of(dtype_of<T>));
    return {reinterpret_cast<T*>(bytes()), static_cast<size_t>(count())};
  }
};

/// A view that may only be read.
class ConstTensor : public detail::TensorView<const std::byte, ConstTensor> {
 public:
  using TensorView::TensorView;
  ConstTensor(const Tensor& t) : TensorView(t.bytes(), t.dtype(), t.shape(), t.device()) {}  // NOLINT: a Tensor is readable
  template <class T>
  std::span<const T> host() const {
    LODE_CHECK(dtype() == dtype_of<T> && device() == Device::cpu, "host view of ", name_of(dtype()), " as ", name_of(dtype_of<T>));
    return {reinterpret_cast<const T*>(bytes()), static_cast<size_t>(count())};
  }
};

/// Views host memory as a tensor of shape [n].
template <class T>
Tensor view(std::span<T> values) {
  return Tensor(reinterpret_cast<std::byte*>(values.data()), dtype_of<T>, Shape{static_cast<int64_t>(values.size())});
}
template <class T>
ConstTensor view(std::span<const T> values) {
  return ConstTensor(reinterpret_cast<const std::byte*>(values.data()), dtype_of<T>, Shape{static_cast<int64_t>(values.size())});
}

}  // namespace lodestone
