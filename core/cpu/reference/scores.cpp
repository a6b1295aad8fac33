// Reference loops: bands and masks of matrices of scores, sums in double, a query and its own group of passages.
#include <algorithm>
#include <cmath>
#include <limits>

#include "core/checks.h"
#include "core/cosent.h"
#include "core/cpu/reference/group_dots.h"
#include "core/cpu/reference/reference_backend.h"
#include "core/cpu/reference/views.h"
#include "core/group_losses.h"

namespace lodestone {

using reference::for_dtype;
using reference::read;
using reference::write;

namespace {

/// Calls visit(element of x, its number in the band) row by row.
template <class T, class View, class Visit>
void each_in_band(View x, Band band, Visit visit) {
  const int64_t columns = x.shape().rank() == 1 ? 1 : x.dim(1);
  const auto elements = x.template host<T>();
  size_t number = 0;
  for (int64_t i = 0; i < x.dim(0); ++i)
    for (int64_t k = 0; k < band.width; ++k) visit(elements[static_cast<size_t>(i * columns + band.first + i * band.stride + k)], number++);
}

double& value_of(Tensor total) { return total.host<double>()[0]; }

}  // namespace

void ReferenceBackend::add_differences(ConstTensor a, ConstTensor b, Tensor total) {
  checks::alike("add_differences", a, b);
  checks::total("add_differences", total);
  for_dtype("add_differences", a.dtype(), [&]<class T>(T) {
    const auto x = a.host<T>(), y = b.host<T>();
    double sum = 0;
    for (size_t i = 0; i < x.size(); ++i) sum += static_cast<double>(x[i]) - static_cast<double>(y[i]);
    value_of(total) += sum;
  });
}

void ReferenceBackend::fill_band(Tensor x, Band band, double value) {
  checks::band("fill_band", x, band);
  for_dtype("fill_band", x.dtype(),
            [&]<class T>(T) { each_in_band<T>(x, band, [&](T& element, size_t) { element = static_cast<T>(value); }); });
}

void ReferenceBackend::add_to_band(Tensor x, Band band, double value) {
  checks::band("add_to_band", x, band);
  for_dtype("add_to_band", x.dtype(),
            [&]<class T>(T) { each_in_band<T>(x, band, [&](T& element, size_t) { element += static_cast<T>(value); }); });
}

void ReferenceBackend::read_band(ConstTensor x, Band band, Tensor y) {
  checks::band_values("read_band", x, band, y);
  const auto out = y.host<double>();
  for_dtype("read_band", x.dtype(),
            [&]<class T>(T) { each_in_band<T>(x, band, [&](const T& element, size_t k) { out[k] = static_cast<double>(element); }); });
}

void ReferenceBackend::write_band(ConstTensor y, Band band, Tensor x) {
  checks::band_values("write_band", x, band, y);
  const auto in = y.host<double>();
  for_dtype("write_band", x.dtype(),
            [&]<class T>(T) { each_in_band<T>(x, band, [&](T& element, size_t k) { element = static_cast<T>(in[k]); }); });
}

void ReferenceBackend::add_band_sum(ConstTensor x, Band band, double alpha, Tensor total) {
  checks::band("add_band_sum", x, band);
  checks::total("add_band_sum", total);
  double sum = 0;
  for_dtype("add_band_sum", x.dtype(),
            [&]<class T>(T) { each_in_band<T>(x, band, [&](const T& element, size_t) { sum += static_cast<double>(element); }); });
  value_of(total) += alpha * sum;
}

void ReferenceBackend::mask_elements(ConstTensor offsets, ConstTensor columns, Tensor x) {
  checks::masked_elements("mask_elements", offsets, columns, x);
  if (columns.empty()) return;
  const auto first = offsets.host<int64_t>();
  const auto masked = columns.host<int32_t>();
  for_dtype("mask_elements", x.dtype(), [&]<class T>(T) {
    const auto out = write<T>(x);
    for (int64_t i = 0; i < out.rows; ++i)
      for (int64_t k = first[static_cast<size_t>(i)]; k < first[static_cast<size_t>(i) + 1]; ++k)
        out(i, masked[static_cast<size_t>(k)]) = -std::numeric_limits<T>::infinity();
  });
}

void ReferenceBackend::log_add(ConstTensor part, Tensor total) {
  checks::alike("log_add", part, total);
  for_dtype("log_add", total.dtype(), [&]<class T>(T) {
    const auto in = part.host<T>();
    const auto out = total.host<T>();
    for (size_t i = 0; i < out.size(); ++i) {
      const auto a = static_cast<double>(in[i]), b = static_cast<double>(out[i]), top = std::max(a, b);
      if (top > -HUGE_VAL || std::isnan(a + b)) out[i] = static_cast<T>(top + std::log(std::exp(a - top) + std::exp(b - top)));
    }
  });
}

void ReferenceBackend::exp_difference(ConstTensor a, ConstTensor b, Tensor y) {
  checks::alike("exp_difference", a, b);
  checks::alike("exp_difference", a, y);
  for_dtype("exp_difference", y.dtype(), [&]<class T>(T) {
    const auto x = a.host<T>(), less = b.host<T>();
    const auto out = y.host<T>();
    for (size_t i = 0; i < out.size(); ++i) out[i] = std::exp(x[i] - less[i]);
  });
}

void ReferenceBackend::add_log(ConstTensor a, ConstTensor b, Tensor y) {
  checks::alike("add_log", a, b);
  checks::alike("add_log", a, y);
  for_dtype("add_log", y.dtype(), [&]<class T>(T) {
    const auto x = a.host<T>(), sum = b.host<T>();
    const auto out = y.host<T>();
    for (size_t i = 0; i < out.size(); ++i) out[i] = x[i] + std::log(sum[i]);
  });
}

// A product for every row: the fast backend's own where it has one.
void ReferenceBackend::group_products(ConstTensor rows, ConstTensor columns, Tensor scores) {
  checks::groups("group_products", rows, columns, scores, rows.dtype());
  const int64_t group = scores.dim(1);
  for (int64_t i = 0; i < rows.dim(0); ++i)
    gemm(Op::none, rows.rows(i, i + 1), Op::transpose, columns.rows(i * group, (i + 1) * group), 1, 0, scores.rows(i, i + 1));
}

void ReferenceBackend::group_products_backward(ConstTensor d_scores, ConstTensor rows, ConstTensor columns, Tensor d_rows,
                                               Tensor d_columns) {
  const char* op = "group_products_backward";
  checks::groups(op, rows, columns, d_scores, rows.dtype());
  checks::groups(op, d_rows, d_columns, d_scores, rows.dtype());
  const int64_t group = d_scores.dim(1);
  for (int64_t i = 0; i < rows.dim(0); ++i) {
    const ConstTensor d = d_scores.rows(i, i + 1);
    gemm(Op::none, d, Op::none, columns.rows(i * group, (i + 1) * group), 1, 1, d_rows.rows(i, i + 1));
    gemm(Op::transpose, d, Op::none, rows.rows(i, i + 1), 1, 1, d_columns.rows(i * group, (i + 1) * group));
  }
}

void ReferenceBackend::group_dots(ConstTensor rows, ConstTensor columns, Tensor dots) {
  checks::groups("group_dots", rows, columns, dots, DType::f64);
  for_dtype("group_dots", rows.dtype(),
            [&]<class T>(T) { reference::group_dots(read<T>(rows), read<T>(columns), write<double>(dots), 0, rows.dim(0)); });
}

void ReferenceBackend::group_dots_backward(ConstTensor d_dots, ConstTensor rows, ConstTensor columns, Tensor d_rows, Tensor d_columns) {
  const char* op = "group_dots_backward";
  checks::groups(op, rows, columns, d_dots, DType::f64);
  checks::groups(op, d_rows, d_columns, d_dots, DType::f64);
  for_dtype(op, rows.dtype(), [&]<class T>(T) {
    const reference::GroupDotsBackward<T> backward{read<double>(d_dots), read<T>(rows), read<T>(columns), write<T>(d_rows),
                                                   write<T>(d_columns)};
    backward.run(0, rows.dim(0));
  });
}

void ReferenceBackend::group_loss(const GroupLoss& loss, ConstTensor scores, ConstTensor teacher, double weight, Tensor d_scores,
                                  Tensor total) {
  checks::group_loss(loss, scores, teacher, d_scores, total);
  const auto taught = teacher.empty() ? std::span<const double>() : teacher.host<double>();
  value_of(total) += lodestone::group_loss(loss, scores.host<double>(), taught, scores.dim(1), weight, d_scores.host<double>());
}

void ReferenceBackend::group_cascade(ConstTensor scores, ConstTensor order, ConstTensor log_weights, Tensor others, Tensor d_scores,
                                     Tensor total) {
  checks::group_cascade(scores, order, log_weights, others, d_scores, total);
  const auto group = static_cast<size_t>(scores.dim(1));
  for_dtype("group_cascade", others.dtype(), [&]<class T>(T) {
    const auto normalisers = others.host<T>();
    double loss = 0;
    for (size_t i = 0; i < normalisers.size(); ++i) {
      const auto row = [&]<class E>(std::span<E> all) { return all.subspan(i * group, group); };
      const CascadeRow cascade{.logits = row(scores.host<double>()),
                               .order = row(order.host<int64_t>()),
                               .log_weights = row(log_weights.host<double>()),
                               .others = static_cast<double>(normalisers[i])};
      const CascadeLoss result = lodestone::group_cascade(cascade, row(d_scores.host<double>()), {});
      loss += result.loss;
      normalisers[i] = static_cast<T>(result.others_normaliser);
    }
    value_of(total) += loss;
  });
}

void ReferenceBackend::cosent(ConstTensor cosines, ConstTensor gold, ConstTensor order, double temperature, double weight, Slice own,
                              Tensor work, Tensor d_cosines, Tensor total) {
  checks::cosent(cosines, gold, order, own, work, d_cosines, total);
  const int64_t n = cosines.count();
  if (n == 0) return;
  const CosentInput in{
      .cosines = cosines.host<double>(), .gold = gold.host<double>(), .order = order.host<int64_t>(), .temperature = temperature};
  const CosentScratch scratch{work.rows(0, 1).host<double>(), work.rows(1, 2).host<double>()};
  const std::span<double> d = work.rows(2, 3).host<double>();
  const double loss = lodestone::cosent(in, scratch, d);
  const std::span<const double> d_own = d.subspan(static_cast<size_t>(own.begin), static_cast<size_t>(own.count()));
  std::transform(d_own.begin(), d_own.end(), d_cosines.host<double>().begin(), [&](double x) { return x * weight; });
  value_of(total) += weight * loss * static_cast<double>(own.count()) / static_cast<double>(n);
}

}  // namespace lodestone
