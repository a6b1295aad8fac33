// Typed matrices over tensors, and the dropout mask as the reference loops read it.
#pragma once

#include "core/backend.h"

namespace lodestone::reference {

/// Row-major [rows, columns]; a vector is one row.
template <class T>
struct Matrix {
  T* data = nullptr;
  int64_t rows = 0, columns = 0;
  T& operator()(int64_t i, int64_t j) const { return data[i * columns + j]; }
  T& operator[](int64_t i) const { return data[i]; }
  T* row(int64_t i) const { return data + i * columns; }
};

template <class T>
Matrix<const T> read(ConstTensor t) {
  const int64_t rows = t.shape().rank() == 2 ? t.dim(0) : 1;
  return {t.host<T>().data(), rows, rows == 0 ? 0 : t.count() / rows};
}
template <class T>
Matrix<T> write(Tensor t) {
  const int64_t rows = t.shape().rank() == 2 ? t.dim(0) : 1;
  return {t.host<T>().data(), rows, rows == 0 ? 0 : t.count() / rows};
}

/// Calls body(double{}) or body(float{}).
template <class Body>
void for_dtype(const char* op, DType dtype, Body body) {
  if (dtype == DType::f64) return body(double{});
  if (dtype == DType::f32) return body(float{});
  throw Error(ExitCode::internal, "internal", cat(op, ": the reference backend has no ", name_of(dtype)));
}

/// What an element is multiplied with: 0 when dropped, 1 / (1 - p') when kept.
template <class T>
class Mask {
 public:
  explicit Mask(const Dropout& dropout)
      : key_(dropout.key), threshold_(dropout_threshold(dropout.p)), keep_(static_cast<T>(1.0 / (1.0 - threshold_ / 65536.0))) {}
  T operator()(const TokenBatch& tokens, int64_t text, int64_t index, int64_t element) const {
    if (threshold_ == 0) return T{1};
    const uint32_t bits =
        dropout_bits(key_, tokens.keys[static_cast<size_t>(text)], static_cast<uint32_t>(index), static_cast<uint32_t>(element));
    return bits < threshold_ ? T{0} : keep_;
  }

 private:
  Key key_;
  uint32_t threshold_;
  T keep_;
};

/// places [R] on the host. Throws Error (internal) unless all are below `rows`.
inline std::span<const int64_t> places_below(const char* op, ConstTensor places, int64_t rows) {
  const auto all = places.host<int64_t>();
  for (const int64_t place : all) LODE_CHECK(place >= 0 && place < rows, op, ": row ", place, " of ", rows);
  return all;
}

}  // namespace lodestone::reference
