// What the operations of losses ask of a GPU: core/cuda/softmax.cu, scores.cu, groups.cu and group_losses.cu.
#include "core/null/counting_backend.h"

namespace lodestone {

namespace {

constexpr double exponential = 16;  // FLOPs that other units make while special ones make one

template <class... Tensors>
double bytes(const Tensors&... x) {
  return (0.0 + ... + static_cast<double>(x.size_bytes()));
}

int64_t elements_of(ConstTensor x, Band band) { return x.dim(0) * band.width; }
double bytes_of(ConstTensor x, Band band) { return static_cast<double>(elements_of(x, band)) * static_cast<double>(size_of(x.dtype())); }

}  // namespace

// A sum in double is two kernels, of which the second has nothing to do to speak of.
void CountingBackend::sum(double flops, double bytes) {
  work_.push_back({.kind = WorkKind::scores, .dtype = DType::f64, .other_flops = flops, .bytes = bytes, .launches = 2});
}

// ---- rows of logits and scores ----------------------------------------------------------------------------------

void CountingBackend::log_sum_exp_rows(ConstTensor x, double scale, Tensor lse) {
  NullBackend::log_sum_exp_rows(x, scale, lse);
  elements(WorkKind::scores, x.count(), exponential, 2 * bytes(x) + bytes(lse));
}

void CountingBackend::softmax_rows(Tensor x, double scale, ConstTensor lse, double weight) {
  NullBackend::softmax_rows(x, scale, lse, weight);
  elements(WorkKind::scores, x.count(), exponential, 2 * bytes(x) + bytes(lse));
}

void CountingBackend::cross_entropy_forward(ConstTensor logits, ConstTensor labels, int64_t first, Tensor lse, Tensor target) {
  NullBackend::cross_entropy_forward(logits, labels, first, lse, target);
  elements(WorkKind::scores, logits.count(), exponential, 2 * bytes(logits) + bytes(labels, lse));
}

void CountingBackend::cross_entropy_backward(Tensor logits, ConstTensor labels, int64_t first, ConstTensor lse, double weight,
                                             Tensor d_logits) {
  NullBackend::cross_entropy_backward(logits, labels, first, lse, weight, d_logits);
  elements(WorkKind::scores, logits.count(), exponential, bytes(logits, d_logits, labels, lse));
}

void CountingBackend::add_differences(ConstTensor a, ConstTensor b, Tensor total) {
  NullBackend::add_differences(a, b, total);
  sum(2 * static_cast<double>(a.count()), bytes(a, b));
}

// ---- matrices of scores -----------------------------------------------------------------------------------------

void CountingBackend::fill_band(Tensor x, Band band, double value) {
  NullBackend::fill_band(x, band, value);
  elements(WorkKind::scores, elements_of(x, band), 0, bytes_of(x, band));
}

void CountingBackend::add_to_band(Tensor x, Band band, double value) {
  NullBackend::add_to_band(x, band, value);
  elements(WorkKind::scores, elements_of(x, band), 1, 2 * bytes_of(x, band));
}

void CountingBackend::read_band(ConstTensor x, Band band, Tensor y) {
  NullBackend::read_band(x, band, y);
  elements(WorkKind::scores, elements_of(x, band), 0, bytes_of(x, band) + bytes(y));
}

void CountingBackend::write_band(ConstTensor y, Band band, Tensor x) {
  NullBackend::write_band(y, band, x);
  elements(WorkKind::scores, elements_of(x, band), 0, bytes_of(x, band) + bytes(y));
}

void CountingBackend::add_band_sum(ConstTensor x, Band band, double alpha, Tensor total) {
  NullBackend::add_band_sum(x, band, alpha, total);
  sum(static_cast<double>(elements_of(x, band)), bytes_of(x, band));
}

void CountingBackend::mask_elements(ConstTensor offsets, ConstTensor columns, Tensor x) {
  NullBackend::mask_elements(offsets, columns, x);
  const double written = static_cast<double>(columns.count()) * static_cast<double>(size_of(x.dtype()));
  elements(WorkKind::scores, columns.count(), 0, bytes(offsets, columns) + written);
}

void CountingBackend::log_add(ConstTensor part, Tensor total) {
  NullBackend::log_add(part, total);
  elements(WorkKind::scores, total.count(), 3 * exponential, bytes(part) + 2 * bytes(total));
}

void CountingBackend::exp_difference(ConstTensor a, ConstTensor b, Tensor y) {
  NullBackend::exp_difference(a, b, y);
  elements(WorkKind::scores, y.count(), exponential, bytes(a, b, y));
}

void CountingBackend::add_log(ConstTensor a, ConstTensor b, Tensor y) {
  NullBackend::add_log(a, b, y);
  elements(WorkKind::scores, y.count(), exponential, bytes(a, b, y));
}

// ---- a query and its own group of passages ----------------------------------------------------------------------

// 2 E FLOPs a product of two rows, without tensor cores; backward as many for each of the two gradients.
void CountingBackend::group_products(ConstTensor rows, ConstTensor columns, Tensor scores) {
  NullBackend::group_products(rows, columns, scores);
  elements(WorkKind::scores, columns.count(), 2, bytes(rows, columns, scores));
}

void CountingBackend::group_products_backward(ConstTensor d_scores, ConstTensor rows, ConstTensor columns, Tensor d_rows,
                                              Tensor d_columns) {
  NullBackend::group_products_backward(d_scores, rows, columns, d_rows, d_columns);
  elements(WorkKind::scores, columns.count(), 4, bytes(d_scores, rows, columns) + 2 * bytes(d_rows, d_columns));
}

void CountingBackend::group_dots(ConstTensor rows, ConstTensor columns, Tensor dots) {
  NullBackend::group_dots(rows, columns, dots);
  elements(WorkKind::scores, columns.count(), 2, bytes(rows, columns, dots));
}

void CountingBackend::group_dots_backward(ConstTensor d_dots, ConstTensor rows, ConstTensor columns, Tensor d_rows, Tensor d_columns) {
  NullBackend::group_dots_backward(d_dots, rows, columns, d_rows, d_columns);
  elements(WorkKind::scores, columns.count(), 4, bytes(d_dots, rows, columns, d_rows, d_columns));
}

void CountingBackend::group_loss(const GroupLoss& loss, ConstTensor scores, ConstTensor teacher, double weight, Tensor d_scores,
                                 Tensor total) {
  NullBackend::group_loss(loss, scores, teacher, weight, d_scores, total);
  elements(WorkKind::scores, scores.count(), 4 * exponential, bytes(scores, teacher, d_scores, d_scores));
  sum(static_cast<double>(scores.dim(0)), 0);
}

void CountingBackend::group_cascade(ConstTensor scores, ConstTensor order, ConstTensor log_weights, Tensor others, Tensor d_scores,
                                    Tensor total) {
  NullBackend::group_cascade(scores, order, log_weights, others, d_scores, total);
  elements(WorkKind::scores, scores.count(), 8 * exponential, bytes(scores, order, log_weights, d_scores) + 2 * bytes(others));
  sum(static_cast<double>(scores.dim(0)), 0);
}

void CountingBackend::cosent(ConstTensor cosines, ConstTensor gold, ConstTensor order, double temperature, double weight, Slice own,
                             Tensor work, Tensor d_cosines, Tensor total) {
  NullBackend::cosent(cosines, gold, order, temperature, weight, own, work, d_cosines, total);
  elements(WorkKind::scores, cosines.count(), 5 * exponential, bytes(cosines, gold, order, work), own.count() > 0 ? 3 : 2);
}

}  // namespace lodestone
