// Reference loops: cross-entropy over a vocabulary, tile after tile, and choosing rows.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "core/checks.h"
#include "core/cpu/reference/reference_backend.h"
#include "core/cpu/reference/views.h"

namespace lodestone {

using reference::for_dtype;
using reference::read;
using reference::write;

void ReferenceBackend::cross_entropy_forward(ConstTensor logits, ConstTensor labels, int64_t first, Tensor lse, Tensor target) {
  checks::cross_entropy("cross_entropy_forward", logits, labels, lse);
  checks::row_statistic("cross_entropy_forward", logits, target);
  for_dtype("cross_entropy_forward", logits.dtype(), [&]<class T>(T) {
    const auto x = read<T>(logits);
    const auto label = labels.host<int32_t>();
    const auto sums = write<T>(lse), targets = write<T>(target);
    for (int64_t i = 0; i < x.rows; ++i) {
      const T before = first == 0 ? -std::numeric_limits<T>::infinity() : sums[i];
      const T top = std::max(before, *std::max_element(x.row(i), x.row(i) + x.columns));
      T sum = std::exp(before - top);
      for (int64_t j = 0; j < x.columns; ++j) sum += std::exp(x(i, j) - top);
      sums[i] = top + std::log(sum);
      const int64_t j = label[static_cast<size_t>(i)] - first;
      if (j >= 0 && j < x.columns) targets[i] = x(i, j);
    }
  });
}

void ReferenceBackend::cross_entropy_backward(Tensor logits, ConstTensor labels, int64_t first, ConstTensor lse, double weight,
                                              Tensor d_logits) {
  checks::cross_entropy("cross_entropy_backward", logits, labels, lse);
  checks::same("cross_entropy_backward", "d_logits", logits, d_logits);
  for_dtype("cross_entropy_backward", logits.dtype(), [&]<class T>(T) {
    const auto x = read<T>(logits), sums = read<T>(lse);
    const auto label = labels.host<int32_t>();
    const auto d = write<T>(d_logits);
    for (int64_t i = 0; i < x.rows; ++i)
      for (int64_t j = 0; j < x.columns; ++j)
        d(i, j) = static_cast<T>(weight) * (std::exp(x(i, j) - sums[i]) - (label[static_cast<size_t>(i)] == first + j ? T{1} : T{0}));
  });
}

void ReferenceBackend::select_rows(ConstTensor x, ConstTensor places, Tensor y) {
  checks::chosen_rows("select_rows", x, places, y);
  const size_t row = static_cast<size_t>(x.dim(1)) * size_of(x.dtype());
  const auto place = reference::places_below("select_rows", places, x.dim(0));
  for (size_t i = 0; i < place.size(); ++i) std::memcpy(y.bytes() + i * row, x.bytes() + static_cast<size_t>(place[i]) * row, row);
}

void ReferenceBackend::place_rows(ConstTensor x, ConstTensor places, Tensor y) {
  checks::chosen_rows("place_rows", y, places, x);
  const size_t row = static_cast<size_t>(x.dim(1)) * size_of(x.dtype());
  const auto place = reference::places_below("place_rows", places, y.dim(0));
  for (size_t i = 0; i < place.size(); ++i) std::memcpy(y.bytes() + static_cast<size_t>(place[i]) * row, x.bytes() + i * row, row);
}

}  // namespace lodestone
