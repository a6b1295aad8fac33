#include "launch/bench/bench_loss.h"

#include <algorithm>
#include <string>

namespace lodestone {

namespace {

template <class Options>
LossConfig plain(int64_t) {
  return {.terms = {{Options{}}}};
}
LossConfig symmetric(int64_t) { return {.terms = {{InfoNceOptions{.direction = Direction::both}}}}; }
LossConfig prefixes(int64_t embedding) {
  return {.terms = {{InfoNceOptions{}}}, .matryoshka_dims = {embedding / 4, embedding / 2, embedding}};
}

constexpr BenchLoss losses[] = {
    {"info_nce", 1, plain<InfoNceOptions>},
    {"info_nce_symmetric", 1, symmetric},
    {"info_nce_matryoshka", 1, prefixes},
    {"gte", 1, plain<GteOptions>},
    {"cbb", 2, plain<CbbOptions>},
    {"cosent", 1, plain<CosentOptions>},
    {"kl_divergence", 8, plain<GroupDistillationOptions>},
    {"stabilised_distillation", 2, plain<StabilisedOptions>},
    {"margin_mse", 8, plain<MarginMseOptions>},
};

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
