#include "launch/bench_loss.h"

#include <algorithm>
#include <string>

namespace lodestone {

namespace {

template <class Options>
LossConfig plain(int64_t) {
  return {.terms = {{Options{}}}};
}
LossConfig symmetric(int64_t) { return {.terms = {{InfoNceOptions{.direction = Direction::both}}}}; }
LossConfig prefixes(int64_t embedding) { return {.terms = {{InfoNceOptions{}}}, .matryoshka_dims = {embedding / 4, embedding / 2, embedding}}; }

// Rows that are gathered from all ranks stand there with their gradient.
int64_t shared(const BatchSize& n, int64_t per_query) { return 2 * n.global * per_query; }
// Some of each query's passages with their gradient: copies where they do not lie one behind another already.
int64_t picked(const BatchSize& n, int64_t queries, int64_t per_query) { return per_query == n.group ? 0 : 2 * queries * per_query; }

// Losses of unit vectors hold these and their gradient; so do those of each query's own group.
int64_t unit(const BatchSize& n) { return 2 * n.texts(); }
int64_t among_passages(const BatchSize& n) { return unit(n) + shared(n, n.group); }
int64_t in_both_directions(const BatchSize& n) { return unit(n) + std::max(shared(n, n.group), picked(n, n.queries, 1) + shared(n, 1)); }
int64_t among_prefixes(const BatchSize& n) { return 2 * n.texts() + among_passages(n); }
int64_t gte(const BatchSize& n) { return unit(n) + picked(n, n.queries, 1) + picked(n, n.global, 1) + shared(n, n.group) + shared(n, 1); }
int64_t shared_queries(const BatchSize& n) { return unit(n) + picked(n, n.queries, 1) + picked(n, n.queries, n.group - 1) + shared(n, 1); }

constexpr BenchLoss losses[] = {
    {"info_nce", 1, plain<InfoNceOptions>, among_passages},
    {"info_nce_symmetric", 1, symmetric, in_both_directions},
    {"info_nce_matryoshka", 1, prefixes, among_prefixes},
    {"gte", 1, plain<GteOptions>, gte},
    {"cbb", 2, plain<CbbOptions>, shared_queries},
    {"cosent", 1, plain<CosentOptions>, unit},
    {"kl_divergence", 8, plain<GroupDistillationOptions>, unit},
    {"stabilised_distillation", 2, plain<StabilisedOptions>, among_passages},
    {"margin_mse", 8, plain<MarginMseOptions>, unit},
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
