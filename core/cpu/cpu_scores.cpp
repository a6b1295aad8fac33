// CpuBackend: products of queries with their own groups, by threads. Each row is computed as the reference does, to the bit.
#include "core/checks.h"
#include "core/cpu/cpu_backend.h"
#include "core/cpu/reference/group_dots.h"

namespace lodestone {

namespace {

constexpr int64_t grain = 8;  // rows below which another thread does not pay

}  // namespace

void CpuBackend::group_dots(ConstTensor rows, ConstTensor columns, Tensor dots) {
  if (rows.dtype() == DType::f64) return ReferenceBackend::group_dots(rows, columns, dots);
  checks::groups("group_dots", rows, columns, dots, DType::f64);
  const auto x = reference::read<float>(rows), y = reference::read<float>(columns);
  const auto out = reference::write<double>(dots);
  parallel_.ranges(x.rows, grain, [&](int64_t begin, int64_t end) { reference::group_dots(x, y, out, begin, end); });
}

void CpuBackend::group_dots_backward(ConstTensor d_dots, ConstTensor rows, ConstTensor columns, Tensor d_rows, Tensor d_columns) {
  if (rows.dtype() == DType::f64) return ReferenceBackend::group_dots_backward(d_dots, rows, columns, d_rows, d_columns);
  const char* op = "group_dots_backward";
  checks::groups(op, rows, columns, d_dots, DType::f64);
  checks::groups(op, d_rows, d_columns, d_dots, DType::f64);
  const reference::GroupDotsBackward<float> backward{reference::read<double>(d_dots), reference::read<float>(rows),
                                                     reference::read<float>(columns), reference::write<float>(d_rows),
                                                     reference::write<float>(d_columns)};
  parallel_.ranges(backward.rows.rows, grain, [&](int64_t begin, int64_t end) { backward.run(begin, end); });
}

}  // namespace lodestone
