#include "launch/bench/bench_loss.h"

#include <algorithm>
#include <array>
#include <string>

namespace lodestone {

namespace {

template <class Options>
LossConfig plain(int64_t) {
  return {.terms = {{Options{}}}};
}
LossConfig symmetric(int64_t) { return {.terms = {{InfoNceOptions{.direction = Direction::both}}}}; }
LossConfig rounded(int64_t) { return {.terms = {{InfoNceOptions{.score_precision = ScorePrecision::bf16}}}}; }
LossConfig prefixes(int64_t embedding) {
  return {.terms = {{InfoNceOptions{}}}, .matryoshka_dims = {embedding / 4, embedding / 2, embedding}};
}

/// Other settings that are worth a row: each stands behind the loss that its name begins with.
constexpr BenchLoss variations[] = {
    {"info_nce_symmetric", 1, symmetric, "in both directions"},
    {"info_nce_bf16", 1, rounded, "with scores of vectors in bf16"},
    {"info_nce_matryoshka", 1, prefixes, "over a quarter, half and all of the vector"},
};

/// Every loss with its default settings, and the variations.
constexpr auto losses = [] {
  constexpr auto plain_losses = of_each_loss([]<class Options>(const Options&) {
    return BenchLoss{LossRow<Options>::name, LossRow<Options>::bench_group, plain<Options>};
  });
  std::array<BenchLoss, plain_losses.size() + std::size(variations)> all{};
  size_t n = 0;
  for (const BenchLoss& loss : plain_losses) {
    all.at(n++) = loss;
    for (const BenchLoss& variation : variations)
      if (variation.name.substr(0, loss.name.size()) == loss.name) all.at(n++) = variation;
  }
  return all;
}();
static_assert(!losses.back().name.empty(), "a variation belongs to no loss");

}  // namespace

std::span<const BenchLoss> bench_losses() { return losses; }

const BenchLoss& bench_loss(std::string_view name) {
  const auto* const found = std::find_if(std::begin(losses), std::end(losses), [&](const BenchLoss& l) { return l.name == name; });
  if (found != std::end(losses)) return *found;
  std::string known;
  for (const BenchLoss& l : losses) known += cat(known.empty() ? "" : ", ", l.name);
  throw Error(ExitCode::usage, "usage", cat("bench: --loss '", name, "' is not known"), cat("one of ", known));
}

}  // namespace lodestone
