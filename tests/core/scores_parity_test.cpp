// Does a fast backend, of the CPU or of a device, do to matrices of scores and to groups of passages what the reference does?
#include <limits>

#include "tests/core/operation_parity.h"

namespace lodestone::test {

constexpr double inf = std::numeric_limits<double>::infinity();

/// Scores are wide whatever activations are: f32, and on a device f64 too.
static std::vector<ParitySetting> wide_settings() {
  std::vector<ParitySetting> all = parity_settings();
  std::erase_if(all, [](const ParitySetting& setting) { return setting.dtype == DType::bf16; });
  return all;
}

class ScoresParity : public OperationParity {
 protected:
  /// What is f64 on every backend.
  Operand exact(Shape shape, uint64_t seed, double spread = 1) { return operand(shape, DType::f64, seed, spread); }
  Operand zero_total() { return exact({1}, 0, 0); }
  /// As expect_same, where minus infinity is at the same places.
  void expect_same_scores(const char* what, const Operand& o, double share) {
    const std::vector<double> got = fast_values(o);
    double largest = 1e-6;
    for (const double v : o.exact) largest = std::max(largest, v == -inf ? 0 : std::abs(v));
    for (size_t i = 0; i < got.size(); ++i) {
      ASSERT_EQ(got[i] == -inf, o.exact[i] == -inf) << what << " element " << i << " of " << o.fast.shape();
      if (o.exact[i] != -inf) {
        ASSERT_NEAR(got[i], o.exact[i], share * largest) << what << " element " << i << " of " << o.fast.shape();
      }
    }
  }
  /// Sets some elements of both to minus infinity.
  void leave_out(const Operand& o, std::initializer_list<size_t> places) {
    for (const size_t i : places) o.reference.host<double>()[i] = -inf;
    set_fast(o);
  }
};
INSTANTIATE_TEST_SUITE_P(All, ScoresParity, testing::ValuesIn(wide_settings()), name_of_setting);

struct BandOf {
  Shape shape;
  Band band;
};
const BandOf bands[] = {{{1, 1}, {}},        {{7, 9}, {0, 1, 2}},     {{7, 9}, {6, -1, 3}},
                        {{7, 9}, {2, 0, 5}}, {{70, 900}, {5, 3, 17}}, {{70, 900}, {0, 0, 900}},
                        {{1003}, {}},        {{0, 9}, {0, 1, 2}}};

// Values are moved, not computed with: the same bits.
TEST_P(ScoresParity, BandsAreFilledReadAndWritten) {
  for (const auto& [shape, band] : bands) {
    const Operand x = wide(shape, 1), y = exact({shape[0], band.width}, 2);
    run([&, band = band](Backend& be, auto pick) { be.read_band(pick(x), band, pick(y)); });
    expect_same("read", y, 0);
    run([&, band = band](Backend& be, auto pick) { be.fill_band(pick(x), band, -inf); });
    expect_same_scores("filled", x, 0);
    const Operand other = exact({shape[0], band.width}, 3);
    run([&, band = band](Backend& be, auto pick) { be.write_band(pick(other), band, pick(x)); });
    expect_same("written", x, 0);
  }
}

// One addition in f32, a unit of 6e-8; sums run in double over equal values, in an order that a backend is free to choose: 63,000 units of
// 1e-16 at the very most.
TEST_P(ScoresParity, BandsAreAddedToAndSummed) {
  for (const auto& [shape, band] : bands) {
    const Operand x = wide(shape, 1), total = zero_total();
    run([&, band = band](Backend& be, auto pick) { be.add_band_sum(pick(x), band, -0.75, pick(total)); });
    EXPECT_NEAR(fast_values(total)[0], total.exact[0], 1e-11);
    run([&, band = band](Backend& be, auto pick) { be.add_to_band(pick(x), band, 0.3); });
    expect_same("added to", x, 1.2e-7);
  }
}

TEST_P(ScoresParity, ElementsAreMasked) {
  const int64_t n = 40, m = 300;
  std::vector<int64_t> offsets{0};
  std::vector<int32_t> columns;
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t k = 0; k < i % 4; ++k) columns.push_back(static_cast<int32_t>((i * 31 + k * 101) % m));
    offsets.push_back(std::ssize(columns));
  }
  const ConstTensor places = view(std::span(columns)), first = view(std::span(offsets));
  const Operand x = wide({n, m}, 1), tile = wide({10, m}, 2);
  run([&](Backend& be, auto pick) {
    be.mask_elements(pick(first), pick(places), pick(x));
    be.mask_elements(pick(first.slice({7, 18})), pick(places), pick(tile));
  });
  expect_same_scores("masked", x, 0);
  expect_same_scores("masked tile", tile, 0);
  EXPECT_GT(std::count(x.exact.begin(), x.exact.end(), -inf), 50);
}

TEST_P(ScoresParity, VectorsOfLogarithms) {
  for (const int64_t n : {4, 1003}) {
    const Operand part = wide({n}, 1, 30), total = wide({n}, 2, 30);
    leave_out(part, {0, 1});
    leave_out(total, {1, 2});
    run([&](Backend& be, auto pick) { be.log_add(pick(part), pick(total)); });
    expect_same_scores("log_add", total, tolerance(wide_dtype()));
    const Operand a = wide({n}, 3, 3), b = wide({n}, 4, 3), y = wide({n}, 5), z = wide({n}, 6);
    leave_out(a, {3});
    run([&](Backend& be, auto pick) { be.exp_difference(pick(a), pick(b), pick(y)); });
    expect_same("exp_difference", y, {.condition = 6});  // the largest exponent
    EXPECT_EQ(fast_values(y)[3], 0);
    run([&](Backend& be, auto pick) { be.add_log(pick(b), pick(y), pick(z)); });  // y is positive but for one
    expect_same_scores("add_log", z, tolerance(wide_dtype()));
    EXPECT_EQ(z.exact[3], -inf);
    const Operand scaled = wide({n}, 7);
    run([&](Backend& be, auto pick) { be.scale(-0.3, pick(b), pick(scaled)); });
    expect_same("scale", scaled, 1.2e-7);
    const Operand sum = zero_total();
    run([&](Backend& be, auto pick) { be.add_differences(pick(b), pick(scaled), pick(sum)); });
    EXPECT_NEAR(fast_values(sum)[0], sum.exact[0], 1.2e-7 * static_cast<double>(n));  // of what was rounded in `scaled`
    const Operand c = wide({n}, 8), equal = zero_total();
    run([&](Backend& be, auto pick) { be.add_differences(pick(b), pick(c), pick(equal)); });
    EXPECT_NEAR(fast_values(equal)[0], equal.exact[0], 1e-11);
  }
}

TEST_P(ScoresParity, GroupsOfPassages) {
  for (const auto& [n, G, E] : {std::tuple{1, 1, 1}, {3, 2, 3}, {5, 3, 20}, {33, 8, 384}, {3, 2, 516}, {2, 70, 33}, {0, 4, 4}}) {
    const Operand rows = wide({n, E}, 1), columns = wide({n * G, E}, 2), scores = wide({n, G}, 3), dots = exact({n, G}, 4);
    run([&](Backend& be, auto pick) {
      be.group_products(pick(rows), pick(columns), pick(scores));
      be.group_dots(pick(rows), pick(columns), pick(dots));
    });
    expect_same("products", scores, {.terms = E});
    expect_same("dots", dots, {.terms = E});
    const Operand d = wide({n, G}, 5), d_exact = exact({n, G}, 6), d_rows = wide({n, E}, 7), d_columns = wide({n * G, E}, 8);
    run([&](Backend& be, auto pick) { be.group_products_backward(pick(d), pick(rows), pick(columns), pick(d_rows), pick(d_columns)); });
    expect_same("d_rows of products", d_rows, {.terms = G});
    expect_same("d_columns of products", d_columns);
    run([&](Backend& be, auto pick) { be.group_dots_backward(pick(d_exact), pick(rows), pick(columns), pick(d_rows), pick(d_columns)); });
    expect_same("d_rows of dots", d_rows, {.terms = G});
    expect_same("d_columns of dots", d_columns);
  }
}

// Rows that need not begin at a multiple of 16 bytes, whatever their width.
TEST_P(ScoresParity, GroupsOfPassagesThatLieOtherwise) {
  const int64_t n = 5, G = 3, E = 20;
  const Operand rows = wide({n * E + 1}, 1), columns = wide({n * G * E + 1}, 2), scores = wide({n, G}, 3), dots = exact({n, G}, 4);
  const Operand d_rows = wide({n * E + 1}, 5), d_columns = wide({n * G * E + 1}, 6), e_rows = wide({n, E}, 7),
                e_columns = wide({n * G, E}, 8);
  run([&](Backend& be, auto pick) {
    const Tensor r = behind_the_first(pick(rows), {n, E}), c = behind_the_first(pick(columns), {n * G, E});
    be.group_products(r, c, pick(scores));
    be.group_dots(r, c, pick(dots));
    be.group_products_backward(pick(scores), r, c, behind_the_first(pick(d_rows), {n, E}), behind_the_first(pick(d_columns), {n * G, E}));
    be.group_dots_backward(pick(dots), r, c, pick(e_rows), pick(e_columns));
  });
  expect_same("products", scores, {.terms = E});
  expect_same("dots", dots, {.terms = E});
  expect_same("d_rows of products", d_rows, {.terms = G * E});
  expect_same("d_columns of products", d_columns, {.terms = E});
  expect_same("d_rows of dots", e_rows, {.terms = G});
  expect_same("d_columns of dots", e_columns);
}

// All in double on both sides: sums of at most 300 rows, of exponents up to 10.
TEST_P(ScoresParity, LossesOfGroups) {
  for (const auto& [n, G] : {std::pair{1, 2}, {30, 5}, {300, 8}}) {
    const Operand scores = exact({n, G}, 1, 10), teacher = exact({n, G}, 2, 3), d = exact({n, G}, 3), total = zero_total();
    run([&](Backend& be, auto pick) {
      be.group_loss(GroupCrossEntropy{}, pick(scores), {}, 0.3, pick(d), pick(total));
      be.group_loss(GroupBinaryCrossEntropy{}, pick(scores), {}, 0.3, pick(d), pick(total));
      be.group_loss(GroupTeacherEntropy{0.7, Entropy::kept}, pick(scores), pick(teacher), 0.3, pick(d), pick(total));
      be.group_loss(GroupTeacherEntropy{0.7, Entropy::removed}, pick(scores), pick(teacher), 0.3, pick(d), pick(total));
      be.group_loss(GroupMarginMse{}, pick(scores), pick(teacher), 0.3, pick(d), pick(total));
    });
    expect_same("loss", total, {.terms = n, .condition = 10});
    expect_same("d_scores", d, {.terms = n, .condition = 10});
    EXPECT_GT(total.exact[0], 0);
  }
}

// Sums of at most 300 groups of 8, of exponents up to 10.
TEST_P(ScoresParity, TheCascadeOfStabilisedDistillation) {
  for (const auto& [n, G] : {std::pair{4, 1}, {30, 5}, {300, 8}}) {
    std::vector<int64_t> order;
    for (int64_t i = 0; i < n; ++i)
      for (int64_t g = 0; g < G; ++g) order.push_back((i + 3 * g) % G);  // G is not a multiple of 3: a permutation
    const ConstTensor places = view(std::span(order)).reshape({n, G});
    const Operand scores = exact({n, G}, 1, 10), log_weights = exact({n, G}, 2, 3), d = exact({n, G}, 3), total = zero_total();
    const Operand others = wide({n}, 4, 10);
    leave_out(others, {0, 2});
    run([&](Backend& be, auto pick) {
      be.group_cascade(pick(scores), pick(places), pick(log_weights), pick(others), pick(d), pick(total));
    });
    expect_same("loss", total, {.terms = n * G, .condition = 10});
    expect_same("d_scores", d, {.terms = n * G, .condition = 10});
    expect_same("normalisers", others, 1.2e-7);
  }
}

// Sums along the order of at most 500 pairs; exponents of differences of cosines, up to 2 / 0.05.
TEST_P(ScoresParity, CosentOfAllPairs) {
  for (const int64_t n : {0, 1, 7, 500}) {
    std::vector<int64_t> order(static_cast<size_t>(n));
    std::vector<double> gold(order.size());
    for (size_t i = 0; i < order.size(); ++i) {
      order[i] = static_cast<int64_t>(order.size() - 1 - i);
      const size_t grade = i / 3;  // three of each
      gold[static_cast<size_t>(order[i])] = static_cast<double>(grade);
    }
    const Slice own{n / 3, n};
    const Operand cosines = exact({n}, 1), d = exact({own.count()}, 2), work = exact({3, n}, 3), total = zero_total();
    const ConstTensor places = view(std::span(std::as_const(order))), scores = view(std::span(std::as_const(gold)));
    run([&](Backend& be, auto pick) {
      be.cosent(pick(cosines), pick(scores), pick(places), 0.05, 0.3, own, pick(work), pick(d), pick(total));
    });
    expect_same("loss", total, {.terms = std::max(n, int64_t{1})});
    expect_same("d_cosines", d, {.terms = n, .condition = 40});
  }
}

}  // namespace lodestone::test
