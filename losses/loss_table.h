// Which losses there are: one row for each.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "losses/cbb.h"
#include "losses/cosent.h"
#include "losses/distill.h"
#include "losses/gte.h"
#include "losses/info_nce.h"
#include "losses/stabilised_distill.h"

namespace lodestone {

/// The settings of one loss say which loss it is. Each alternative has a row below, its reader in launch/config/config_loss.cpp and, in
/// the header that declares it, refused(); what lacks one of them does not compile.
using LossOptions =
    std::variant<InfoNceOptions, GteOptions, CbbOptions, CosentOptions, GroupDistillationOptions, StabilisedOptions, MarginMseOptions>;

/// How many texts a text is told from, beside the one that belongs to it.
struct NegativeCounts {
  int64_t of_query = 0;     // passages; for GTE other queries too
  int64_t of_positive = 0;  // for symmetric InfoNCE other queries; for GTE these, and other queries' positives or all their passages
  friend bool operator==(const NegativeCounts&, const NegativeCounts&) = default;
};

/// A batch of `global` queries, of which `local` are on this rank, with groups of `group` passages.
struct BatchCounts {
  int64_t global, local, group;
  /// Queries that are compared with each other, and the passages that a query is told from.
  int64_t queries(Candidates candidates) const;
  int64_t others(Candidates candidates) const { return queries(candidates) * group - 1; }
};

/// What a loss reads beside sentence vectors.
enum class LossReads : uint8_t {
  nothing,
  gold_scores,     // of scored pairs, which are compared with each other: there are no negatives
  teacher_scores,  // of each query's own group
};

/// What most losses have in common.
struct CommonLossRow {
  static constexpr LossReads reads = LossReads::nothing;
  static constexpr int64_t bench_group = 1;  // passages per query in `bench`
  /// Whether the lengths of vectors count: such a loss cannot stand under Matryoshka, which hands over unit vectors.
  template <class Options>
  static bool reads_lengths(const Options&) {
    return false;
  }
  /// Losses without the setting add up their scores in double.
  template <class Options>
  static ScorePrecision score_precision(const Options& o) {
    if constexpr (requires { o.score_precision; })
      return o.score_precision;
    else
      return ScorePrecision::f32;
  }
};

/// What is said of rounded scores.
constexpr std::string_view rounding_text(ScorePrecision precision) {
  return precision == ScorePrecision::f32 ? std::string_view() : ", scores of vectors in bf16";
}

/// Made: the class. name: in configurations and `bench`. describe(): one line for tables and model cards.
template <class Options>
struct LossRow;

template <>
struct LossRow<InfoNceOptions> : CommonLossRow {
  using Made = InfoNce;
  static constexpr std::string_view name = "info_nce";
  static std::string describe(const InfoNceOptions& o) {
    return cat(o.direction == Direction::both ? "symmetric " : "", "InfoNCE, temperature ", o.temperature,
               rounding_text(o.score_precision));
  }
  static NegativeCounts negatives(const InfoNceOptions& o, const BatchCounts& n) {
    return {n.others(o.candidates), o.direction == Direction::both ? n.queries(o.candidates) - 1 : 0};
  }
};

template <>
struct LossRow<GteOptions> : CommonLossRow {
  using Made = Gte;
  static constexpr std::string_view name = "gte";
  static std::string describe(const GteOptions& o) {
    return cat("improved contrastive loss (GTE), temperature ", o.temperature, rounding_text(o.score_precision));
  }
  static NegativeCounts negatives(const GteOptions& o, const BatchCounts& n) {
    const int64_t others = n.queries(o.candidates) - 1;
    return {n.others(o.candidates) + others, others + others * (o.positive_rivals == PositiveRivals::all_passages ? n.group : 1)};
  }
};

template <>
struct LossRow<CbbOptions> : CommonLossRow {
  using Made = Cbb;
  static constexpr std::string_view name = "cbb";
  static constexpr int64_t bench_group = 2;
  static std::string describe(const CbbOptions& o) {
    return cat("cross-GPU batch balance loss (CBB), temperature ", o.temperature, rounding_text(o.score_precision));
  }
  static NegativeCounts negatives(const CbbOptions& o, const BatchCounts& n) {
    const int64_t hard = (o.negatives == NegativeScope::all ? n.global : 1) * (n.group - 1);
    return {hard + (o.other_positives == OtherPositives::included ? n.global - 1 : 0)};
  }
};

template <>
struct LossRow<CosentOptions> : CommonLossRow {
  using Made = Cosent;
  static constexpr std::string_view name = "cosent";
  static constexpr LossReads reads = LossReads::gold_scores;
  static std::string describe(const CosentOptions& o) { return cat("CoSENT, temperature ", o.temperature); }
  static NegativeCounts negatives(const CosentOptions&, const BatchCounts&) { return {}; }
};

template <>
struct LossRow<GroupDistillationOptions> : CommonLossRow {
  using Made = GroupDistillation;
  static constexpr std::string_view name = "kl_divergence";
  static constexpr LossReads reads = LossReads::teacher_scores;
  static constexpr int64_t bench_group = 8;
  static std::string describe(const GroupDistillationOptions& o) { return cat("KL distillation, temperature ", o.temperature); }
  static NegativeCounts negatives(const GroupDistillationOptions&, const BatchCounts& n) { return {n.group - 1}; }
};

template <>
struct LossRow<StabilisedOptions> : CommonLossRow {
  using Made = StabilisedDistillation;
  static constexpr std::string_view name = "stabilised_distillation";
  static constexpr LossReads reads = LossReads::teacher_scores;
  static constexpr int64_t bench_group = 2;
  static std::string describe(const StabilisedOptions& o) {
    return cat("stabilised distillation, temperature ", o.temperature, rounding_text(o.score_precision));
  }
  static NegativeCounts negatives(const StabilisedOptions& o, const BatchCounts& n) { return {n.others(o.candidates)}; }
};

template <>
struct LossRow<MarginMseOptions> : CommonLossRow {
  using Made = MarginMse;
  static constexpr std::string_view name = "margin_mse";
  static constexpr LossReads reads = LossReads::teacher_scores;
  static constexpr int64_t bench_group = 8;
  static std::string describe(const MarginMseOptions&) { return "margin MSE"; }
  static NegativeCounts negatives(const MarginMseOptions&, const BatchCounts& n) { return {n.group - 1}; }
  static bool reads_lengths(const MarginMseOptions& o) { return o.similarity == Similarity::dot; }
};

/// visit(row, options): the row of a loss with its settings.
template <class Visit>
auto with_row(const LossOptions& options, Visit visit) {
  return std::visit([&]<class Options>(const Options& o) { return visit(LossRow<Options>{}, o); }, options);
}

/// of(options) for the default settings of each loss, in the order of LossOptions.
template <class Of>
constexpr auto of_each_loss(Of of) {
  return [&]<size_t... i>(std::index_sequence<i...>) { return std::array{of(std::variant_alternative_t<i, LossOptions>{})...}; }
  (std::make_index_sequence<std::variant_size_v<LossOptions>>());
}

/// The names of all losses, in the order of LossOptions.
inline constexpr auto loss_names = of_each_loss([]<class Options>(const Options&) { return LossRow<Options>::name; });

}  // namespace lodestone
