// Do operations on matrices of scores and on groups of passages give what a hand calculation gives, and gradients what differences give?
#include <limits>

#include "core/cosent.h"
#include "core/cpu/reference/reference_backend.h"
#include "core/group_losses.h"
#include "tests/core/op_fixture.h"

namespace lodestone {
namespace {

using test::dot;
using test::expect_gradient;
using test::matrix;
using test::random_values;
using Values = std::vector<double>;
using Floats = std::vector<float>;

constexpr double inf = std::numeric_limits<double>::infinity();

template <class T>
Tensor vec(std::vector<T>& v) {
  return view(std::span<T>(v));
}
template <class T>
Tensor rows_of(std::vector<T>& v, int64_t columns) {
  return vec(v).reshape({std::ssize(v) / columns, columns});
}

/// Elements of x [n,columns] where its band lies, counted by a definition of its own: a pair of loops over all elements.
template <class T>
std::vector<T*> elements_in(std::vector<T>& x, int64_t columns, Band band) {
  std::vector<T*> in_band;
  for (int64_t i = 0; i < std::ssize(x) / columns; ++i)
    for (int64_t j = 0; j < columns; ++j)
      if (j >= band.first + i * band.stride && j < band.first + i * band.stride + band.width)
        in_band.push_back(&x[static_cast<size_t>(i * columns + j)]);
  return in_band;
}

/// Bands of [4,6], with the elements that they hold.
const Band bands[] = {
    {0, 0, 1},   // the first column
    {2, 0, 3},   // some columns
    {0, 0, 6},   // everything
    {0, 1, 1},   // a diagonal
    {1, 1, 2},   // two columns wide, one further each row
    {0, 2, 0},   // nothing
    {5, -1, 1},  // backwards
    {3, -1, 3},
};

template <class T>
class BandOperations : public testing::Test {};
using Wide = testing::Types<float, double>;
TYPED_TEST_SUITE(BandOperations, Wide);

TYPED_TEST(BandOperations, FillingSetsABandAndNothingElse) {
  ReferenceBackend be;
  std::vector<TypeParam> x(12, TypeParam{1});
  be.fill_band(rows_of(x, 4), {.first = 0, .stride = 1, .width = 2}, 7);
  EXPECT_EQ(x, (std::vector<TypeParam>{7, 7, 1, 1, 1, 7, 7, 1, 1, 1, 7, 7}));
  be.fill_band(rows_of(x, 4), {.first = 3, .stride = -1, .width = 1}, -inf);
  const auto least = -std::numeric_limits<TypeParam>::infinity();
  EXPECT_EQ(x, (std::vector<TypeParam>{7, 7, 1, least, 1, 7, least, 1, 1, least, 7, 7}));
  be.fill_band(rows_of(x, 4), {.first = 1, .stride = 0, .width = 3}, 0);
  EXPECT_EQ(x, (std::vector<TypeParam>{7, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0}));
}

TYPED_TEST(BandOperations, AddingReadingWritingAndSummingSeeTheSameElements) {
  ReferenceBackend be;
  for (const Band& band : bands) {
    std::vector<TypeParam> x(24);
    for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<TypeParam>(i + 1);
    std::vector<TypeParam> expected = x;
    const std::vector<TypeParam*> in_band = elements_in(expected, 6, band);
    ASSERT_EQ(std::ssize(in_band), 4 * band.width);
    Values read(in_band.size()), total{0.5};
    be.read_band(rows_of(x, 6), band, vec(read).reshape({4, band.width}));
    be.add_band_sum(rows_of(x, 6), band, -2, vec(total));
    double sum = 0;
    for (size_t k = 0; k < in_band.size(); ++k) {
      EXPECT_EQ(read[k], static_cast<double>(*in_band[k]));
      sum += read[k];
    }
    EXPECT_EQ(total[0], 0.5 - 2 * sum);
    be.add_to_band(rows_of(x, 6), band, 0.25);
    for (TypeParam* element : in_band) *element += TypeParam{0.25};
    EXPECT_EQ(x, expected);
    for (double& value : read) value = 100 - value;
    be.write_band(vec(read).reshape({4, band.width}), band, rows_of(x, 6));
    for (size_t k = 0; k < in_band.size(); ++k) *in_band[k] = static_cast<TypeParam>(read[k]);
    EXPECT_EQ(x, expected);
  }
}

TYPED_TEST(BandOperations, AVectorIsAMatrixOfOneColumn) {
  ReferenceBackend be;
  std::vector<TypeParam> x{1, 2, 3};
  Values read(3), total{10};
  be.add_to_band(vec(x), {}, 1);
  be.read_band(vec(x), {}, vec(read).reshape({3, 1}));
  EXPECT_EQ(read, (Values{2, 3, 4}));
  be.add_band_sum(vec(x), {}, 2, vec(total));
  EXPECT_EQ(total[0], 28);
  be.write_band(vec(read).reshape({3, 1}), {}, vec(x));
  be.fill_band(vec(x).slice({1, 3}), {}, 9);
  EXPECT_EQ(x, (std::vector<TypeParam>{2, 9, 9}));
  be.fill_band(Tensor(vec(x).bytes(), dtype_of<TypeParam>, {0, 3}), {.first = 5, .width = 4}, 1);  // no rows: nothing to refuse
  EXPECT_EQ(x, (std::vector<TypeParam>{2, 9, 9}));
}

TYPED_TEST(BandOperations, WhatLiesOutsideIsRefused) {
  ReferenceBackend be;
  std::vector<TypeParam> x(12);
  Values y(12), total(1);
  const Tensor m = rows_of(x, 4);
  for (const Band& band : {Band{-1, 0, 1}, {4, 0, 1}, {2, 0, 3}, {2, 1, 1}, {1, -1, 1}, {0, 0, -1}}) {
    EXPECT_THROW(be.fill_band(m, band, 1), Error);
    EXPECT_THROW(be.add_to_band(m, band, 1), Error);
    EXPECT_THROW(be.add_band_sum(m, band, 1, vec(total)), Error);
  }
  EXPECT_THROW(be.read_band(m, {0, 0, 4}, vec(y).reshape({4, 3})), Error);
  EXPECT_THROW(be.write_band(vec(y).reshape({3, 4}), {0, 0, 3}, m), Error);
  EXPECT_THROW(be.fill_band(vec(x), {.first = 0, .stride = 0, .width = 2}, 1), Error);
  EXPECT_THROW(be.add_band_sum(m, {}, 1, vec(y)), Error);
}

// In f32 100,000,001 is not to be had, nor a sum that passes it.
TEST(ScoreOperations, SumsAreTakenInDouble) {
  ReferenceBackend be;
  Floats x{1e8f, 1, -1e8f, 1}, none(4);
  Values total{0};
  be.add_band_sum(rows_of(x, 2), {.width = 2}, 1, vec(total));
  EXPECT_EQ(total[0], 2);
  be.add_differences(vec(x), vec(none), vec(total));
  EXPECT_EQ(total[0], 4);
  be.add_differences(vec(none), vec(x), vec(total));
  EXPECT_EQ(total[0], 2);
  Values dots(1);
  Floats ones(4, 1.0f);
  be.group_dots(rows_of(x, 4), rows_of(ones, 4), rows_of(dots, 1));
  EXPECT_EQ(dots[0], 2);
}

TEST(ScoreOperations, MaskedElementsAreMinusInfinityInTheirRows) {
  ReferenceBackend be;
  Floats x(12, 1.0f);
  std::vector<int64_t> offsets{0, 2, 2, 3};
  std::vector<int32_t> columns{3, 0, 1}, none;
  be.mask_elements(vec(offsets), vec(columns), rows_of(x, 4));
  const auto least = -std::numeric_limits<float>::infinity();
  EXPECT_EQ(x, (Floats{least, 1, 1, least, 1, 1, 1, 1, 1, least, 1, 1}));
  // A tile: rows 1 and 2 of the same matrix, with the columns of all.
  Floats tile(8, 1.0f);
  be.mask_elements(vec(offsets).slice({1, 4}), vec(columns), rows_of(tile, 4));
  EXPECT_EQ(tile, (Floats{1, 1, 1, 1, 1, least, 1, 1}));
  std::vector<int64_t> empty(4);
  be.mask_elements(vec(empty), vec(none), rows_of(x, 4));
  EXPECT_THROW(be.mask_elements(vec(offsets), vec(columns), rows_of(x, 3)), Error);
}

TEST(ScoreOperations, LogarithmsOfSumsAreAddedWithoutOverflow) {
  ReferenceBackend be;
  Values part{std::log(3.0), 1000, -1000, -inf, 5, -inf}, total{std::log(2.0), 1000, -1000, 5, -inf, -inf};
  be.log_add(vec(part), vec(total));
  EXPECT_NEAR(total[0], std::log(5.0), 1e-15);
  EXPECT_NEAR(total[1], 1000 + std::log(2.0), 1e-12);
  EXPECT_NEAR(total[2], -1000 + std::log(2.0), 1e-12);
  EXPECT_EQ((Values{total[3], total[4], total[5]}), (Values{5, 5, -inf}));
  Values broken{NAN}, other{1};
  be.log_add(vec(broken), vec(other));
  EXPECT_TRUE(std::isnan(other[0]));
  const auto least = -std::numeric_limits<float>::infinity();
  Floats in{0.1f, least, 2, least}, out{0.3f, 1, least, least};
  be.log_add(vec(in), vec(out));
  EXPECT_FLOAT_EQ(out[0], static_cast<float>(std::log(std::exp(0.1) + std::exp(0.3))));
  EXPECT_EQ((Floats{out[1], out[2], out[3]}), (Floats{1, 2, least}));
}

TEST(ScoreOperations, ExponentialsLogarithmsAndDifferencesOfVectors) {
  ReferenceBackend be;
  Values a{1, 0, -inf}, b{1, std::log(2.0), 3}, y(3);
  be.exp_difference(vec(a), vec(b), vec(y));
  EXPECT_EQ(y[0], 1);
  EXPECT_NEAR(y[1], 0.5, 1e-15);
  EXPECT_EQ(y[2], 0);
  Values top{1, 2, 3}, sums{1, std::exp(1.0), 0};
  be.add_log(vec(top), vec(sums), vec(y));
  EXPECT_EQ(y[0], 1);
  EXPECT_NEAR(y[1], 3, 1e-15);
  EXPECT_EQ(y[2], -inf);
  Values total{1};
  be.add_differences(vec(top), vec(b).slice({0, 3}), vec(total));
  EXPECT_NEAR(total[0], 1 + 6 - (4 + std::log(2.0)), 1e-15);
}

TEST(ScoreOperations, ScalingSetsAndMayWorkInPlace) {
  ReferenceBackend be;
  Values x{1, -2, 3}, y(3, 9.0);
  be.scale(-2, vec(x), vec(y));
  EXPECT_EQ(y, (Values{-2, 4, -6}));
  be.scale(0.5, vec(y), vec(y));
  EXPECT_EQ(y, (Values{-1, 2, -3}));
  Floats f{1, 2};
  be.scale(3, vec(f), vec(f));
  EXPECT_EQ(f, (Floats{3, 6}));
}

TEST(ScoreOperations, RowsMeetTheirOwnGroups) {
  ReferenceBackend be;
  Values rows{1, 2, 3, 4}, columns{1, 0, 0, 1, 1, 1, 2, 0, 0, 2, -1, 1}, scores(6, 9.0), dots(6, 9.0);
  const Tensor q = matrix(rows, 2, 2), p = matrix(columns, 6, 2);
  be.group_products(q, p, matrix(scores, 2, 3));
  EXPECT_EQ(scores, (Values{1, 2, 3, 6, 8, 1}));
  be.group_dots(q, p, matrix(dots, 2, 3));
  EXPECT_EQ(dots, scores);
  Values d{1, 0, 2, 0, 1, -1}, d_rows(4, 1.0), d_columns(12, 1.0);
  be.group_products_backward(matrix(d, 2, 3), q, p, matrix(d_rows, 2, 2), matrix(d_columns, 6, 2));
  EXPECT_EQ(d_rows, (Values{4, 3, 2, 2})) << "is added";
  EXPECT_EQ(d_columns, (Values{2, 3, 1, 1, 3, 5, 1, 1, 4, 5, -2, -3}));
  be.group_dots_backward(matrix(d, 2, 3), q, p, matrix(d_rows, 2, 2), matrix(d_columns, 6, 2));
  EXPECT_EQ(d_rows, (Values{3, 2, 1, 1})) << "is set";
  EXPECT_EQ(d_columns, (Values{1, 2, 0, 0, 2, 4, 0, 0, 3, 4, -3, -4}));
}

TEST(ScoreOperationGradients, ProductsAndDotsOfGroups) {
  ReferenceBackend be;
  const int64_t n = 3, G = 4, E = 5;
  Values rows = random_values(n * E, 1), columns = random_values(n * G * E, 2), r = random_values(n * G, 3), scores(r.size());
  const Tensor q = matrix(rows, n, E), p = matrix(columns, n * G, E), d = matrix(r, n, G), y = matrix(scores, n, G);
  for (const bool dots : {false, true}) {
    const auto loss = [&] { return (dots ? be.group_dots(q, p, y) : be.group_products(q, p, y)), dot(r, scores); };
    // Products add to what is there, dots set it.
    Values d_rows(rows.size(), dots ? NAN : 1.0), d_columns(columns.size(), dots ? NAN : 1.0);
    const Tensor dq = matrix(d_rows, n, E), dp = matrix(d_columns, n * G, E);
    dots ? be.group_dots_backward(d, q, p, dq, dp) : be.group_products_backward(d, q, p, dq, dp);
    if (!dots)
      for (Values* gradient : {&d_rows, &d_columns})
        for (double& v : *gradient) v -= 1;
    expect_gradient("rows", rows, d_rows, loss);
    expect_gradient("columns", columns, d_columns, loss);
  }
}

/// Scores of three groups of four, a teacher's, and a gradient that holds something.
struct Groups {
  Values scores = random_values(12, 1, 3), teacher = random_values(12, 2, 2), d = random_values(12, 3), total{0.75};
  Tensor s() { return matrix(scores, 3, 4); }
  Tensor t() { return matrix(teacher, 3, 4); }
  Tensor ds() { return matrix(d, 3, 4); }
  /// What the pure function says.
  template <class Function>
  void expect(const char* what, Function pure) {
    Values expected = Groups().d;
    const double loss = pure(expected);
    EXPECT_EQ(total[0], 0.75 + loss) << what;
    EXPECT_EQ(d, expected) << what;
    EXPECT_NE(d, Groups().d) << what;
  }
};

TEST(GroupLossOperations, AddWhatTheirPureFunctionsGive) {
  ReferenceBackend be;
  Groups ce, bce, kept, removed, mse;
  be.group_loss(GroupCrossEntropy{}, ce.s(), {}, 0.3, ce.ds(), vec(ce.total));
  ce.expect("cross-entropy", [&](std::span<double> d) { return group_cross_entropy(ce.scores, 4, 0.3, d); });
  be.group_loss(GroupBinaryCrossEntropy{}, bce.s(), {}, 0.3, bce.ds(), vec(bce.total));
  bce.expect("binary cross-entropy", [&](std::span<double> d) { return group_binary_cross_entropy(bce.scores, 4, 0.3, d); });
  for (const Entropy entropy : {Entropy::kept, Entropy::removed}) {
    Groups& g = entropy == Entropy::kept ? kept : removed;
    be.group_loss(GroupTeacherEntropy{0.4, entropy}, g.s(), g.t(), 0.3, g.ds(), vec(g.total));
    g.expect("distillation", [&](std::span<double> d) {
      return group_distillation(g.scores, {.scores = g.teacher, .temperature = 0.4}, 4, entropy, 0.3, d);
    });
  }
  EXPECT_GT(kept.total[0], removed.total[0] + 0.01);
  EXPECT_EQ(kept.d, removed.d);
  be.group_loss(GroupMarginMse{}, mse.s(), mse.t(), 0.3, mse.ds(), vec(mse.total));
  mse.expect("margin mse", [&](std::span<double> d) { return group_margin_mse(mse.scores, mse.teacher, 4, 0.3, d); });
}

template <class T>
void expect_cascade() {
  ReferenceBackend be;
  Groups g;
  std::vector<int64_t> order{2, 0, 3, 1, 0, 1, 2, 3, 3, 2, 1, 0};
  Values log_weights = random_values(12, 5), expected(12);
  std::vector<T> others{static_cast<T>(0.5), -std::numeric_limits<T>::infinity(), static_cast<T>(2)};
  const std::vector<T> before = others;
  be.group_cascade(g.s(), vec(order).reshape({3, 4}), matrix(log_weights, 3, 4), vec(others), g.ds(), vec(g.total));
  double loss = 0;
  for (size_t i = 0; i < 3; ++i) {
    const auto row = [&]<class E>(const std::vector<E>& all) { return std::span(all).subspan(4 * i, 4); };
    const CascadeLoss one = group_cascade({row(g.scores), row(order), row(log_weights), static_cast<double>(before[i])},
                                          std::span(expected).subspan(4 * i, 4), {});
    loss += one.loss;
    EXPECT_EQ(others[i], static_cast<T>(one.others_normaliser));
  }
  EXPECT_EQ(g.total[0], 0.75 + loss);
  EXPECT_EQ(g.d, expected) << "is set";
}

TEST(GroupLossOperations, TheCascadeIsThatOfItsRowsOneByOne) {
  expect_cascade<double>();
  expect_cascade<float>();
}

TEST(CosentOperation, GivesACallerItsPairsOfWhatThePureFunctionGives) {
  ReferenceBackend be;
  Values cosines{0.8, 0.3, 0.5, 0.5, -0.4}, gold{1, 0, 1, 0.5, 0.5}, work(15), below(5), above(5), expected(5);
  std::vector<int64_t> order{1, 3, 4, 0, 2};
  const double loss = cosent({.cosines = cosines, .gold = gold, .order = order, .temperature = 0.2}, {below, above}, expected);
  EXPECT_GT(loss, 0.1);
  double shares = 0;
  for (const Slice own : {Slice{0, 2}, Slice{2, 2}, Slice{2, 5}}) {
    Values d(static_cast<size_t>(own.count()), NAN), total{0.75};
    be.cosent(vec(cosines), vec(gold), vec(order), 0.2, 0.5, own, matrix(work, 3, 5), vec(d), vec(total));
    for (size_t i = 0; i < d.size(); ++i) EXPECT_EQ(d[i], 0.5 * expected[static_cast<size_t>(own.begin) + i]) << "is set";
    shares += total[0] - 0.75;
  }
  EXPECT_NEAR(shares, 0.5 * loss, 1e-15);
  Values d(5), none, total{0.75};
  be.cosent(vec(none), vec(none), ConstTensor(nullptr, DType::i64, {0}), 0.2, 1, {0, 0}, matrix(none, 3, 0), vec(none), vec(total));
  EXPECT_EQ(total[0], 0.75) << "no pairs, no loss";
  const auto call = [&](Tensor gold_scores, Slice own, Tensor room) {
    be.cosent(vec(cosines), gold_scores, vec(order), 0.2, 1, own, room, vec(d), vec(total));
  };
  EXPECT_NO_THROW(call(vec(gold), {0, 5}, matrix(work, 3, 5)));
  EXPECT_THROW(call(vec(gold), {0, 4}, matrix(work, 3, 5)), Error);
  EXPECT_THROW(call(vec(gold), {1, 6}, matrix(work, 3, 5)), Error);
  EXPECT_THROW(call(vec(gold), {0, 5}, matrix(work, 5, 3)), Error);
  EXPECT_THROW(call(vec(total), {0, 5}, matrix(work, 3, 5)), Error);
}

TEST(GroupLossOperations, OperandsThatDoNotFitAreRefused) {
  ReferenceBackend be;
  Groups g;
  Values two(2);
  Floats narrow(12);
  std::vector<int64_t> order(12);
  EXPECT_THROW(be.group_loss(GroupCrossEntropy{}, g.s(), {}, 1, matrix(g.d, 4, 3), vec(g.total)), Error);
  EXPECT_THROW(be.group_loss(GroupCrossEntropy{}, g.s(), {}, 1, g.ds(), vec(two)), Error);
  EXPECT_THROW(be.group_loss(GroupBinaryCrossEntropy{}, rows_of(narrow, 4), {}, 1, g.ds(), vec(g.total)), Error);
  EXPECT_THROW(be.group_loss(GroupTeacherEntropy{1, Entropy::kept}, g.s(), matrix(g.teacher, 4, 3), 1, g.ds(), vec(g.total)), Error);
  EXPECT_THROW(be.group_loss(GroupMarginMse{}, matrix(g.scores, 12, 1), matrix(g.teacher, 12, 1), 1, matrix(g.d, 12, 1), vec(g.total)),
               Error);
  EXPECT_THROW(be.group_cascade(g.s(), vec(order).reshape({3, 4}), g.t(), vec(two), g.ds(), vec(g.total)), Error);
  Values rows(6), columns(24);
  EXPECT_NO_THROW(be.group_products(matrix(rows, 3, 2), matrix(columns, 12, 2), g.ds()));
  EXPECT_THROW(be.group_products(matrix(rows, 2, 3), matrix(columns, 8, 3), g.ds()), Error);
  EXPECT_THROW(be.group_products(matrix(rows, 3, 2), matrix(columns, 8, 3), g.ds()), Error);
  EXPECT_THROW(be.group_products(matrix(rows, 3, 2), matrix(columns, 12, 2), rows_of(narrow, 4)), Error);
  EXPECT_THROW(be.group_dots(matrix(rows, 3, 2), matrix(columns, 12, 2), rows_of(narrow, 4)), Error);
}

}  // namespace
}  // namespace lodestone
