// NativeBf16: oneDNN matmul primitives on bf16 operands, one for each shape seen.
#pragma once

#include <oneapi/dnnl/dnnl.h>

#include <array>
#include <compare>
#include <map>
#include <optional>

#include "core/backend.h"
#include "core/checks.h"
#include "core/cpu/products.h"
#include "core/cpu/scratch.h"
#include "core/handle.h"

namespace lodestone {

class Products::NativeBf16 {
 public:
  /// Throws Error (internal) when the library refuses.
  NativeBf16();

  /// True when the processor has bf16 products, by the library's own detection.
  static bool processor_has_them();

  /// c = op(a) op(b) (+ bias) (+ c). False, and nothing done, when the library has no body for this product.
  bool multiply(const checks::ProductDims& dims, Op op_a, ConstTensor a, Op op_b, ConstTensor b, ConstTensor bias, bool add, Tensor c);
  /// Bytes of work memory that multiply() takes for such operands; nullopt when the library has no body for this product.
  std::optional<size_t> work_bytes(const checks::ProductDims& dims, Op op_a, Op op_b, ConstTensor bias, bool add, ConstTensor c);
  /// Bytes of work memory that it holds.
  size_t held_bytes() const { return work_.size_bytes(); }

 private:
  struct Key {
    int64_t m, n, k;
    Op op_a, op_b;
    bool bias, add, wide_result;
    // NOLINTNEXTLINE(modernize-use-nullptr): the check takes the 0 of the comparison that is generated here for a pointer
    auto operator<=>(const Key&) const = default;
  };
  using Primitive = Handle<dnnl_primitive_t, dnnl_primitive_destroy>;
  using Memory = Handle<dnnl_memory_t, dnnl_memory_destroy>;
  using Engine = Handle<dnnl_engine_t, dnnl_engine_destroy>;
  using Stream = Handle<dnnl_stream_t, dnnl_stream_destroy>;
  struct Entry {
    Primitive primitive;  // null: the library has no body for it
    Memory a, b, bias, c, work;
    int64_t work_bytes = 0;  // what the primitive needs while it runs
  };

  static Key key_of(const checks::ProductDims& dims, Op op_a, Op op_b, ConstTensor bias, bool add, ConstTensor c) {
    return {dims.m, dims.n, dims.k, op_a, op_b, !bias.empty(), add, c.dtype() == DType::f32};
  }
  /// Made when it is first asked for.
  const Entry& entry_of(const Key& key);
  Entry make(const Key& key);

  Engine engine_;
  Stream stream_;
  std::map<Key, Entry> entries_;
  Scratch work_;
};

}  // namespace lodestone
