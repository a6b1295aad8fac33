#include "losses/make_loss.h"

#include <algorithm>

#include "losses/matryoshka.h"
#include "losses/settings.h"
#include "losses/sum.h"

namespace lodestone {

namespace {

/// One overload for each alternative of LossOptions.
struct Make {
  std::unique_ptr<Loss> operator()(const InfoNceOptions& o) const { return std::make_unique<InfoNce>(o); }
  std::unique_ptr<Loss> operator()(const GteOptions& o) const { return std::make_unique<Gte>(o); }
  std::unique_ptr<Loss> operator()(const CbbOptions& o) const { return std::make_unique<Cbb>(o); }
  std::unique_ptr<Loss> operator()(const CosentOptions& o) const { return std::make_unique<Cosent>(o); }
  std::unique_ptr<Loss> operator()(const GroupDistillationOptions& o) const { return std::make_unique<GroupDistillation>(o); }
  std::unique_ptr<Loss> operator()(const StabilisedOptions& o) const { return std::make_unique<StabilisedDistillation>(o); }
  std::unique_ptr<Loss> operator()(const MarginMseOptions& o) const { return std::make_unique<MarginMse>(o); }
};

struct Describe {
  std::string operator()(const InfoNceOptions& o) const {
    return cat(o.direction == Direction::both ? "symmetric " : "", "InfoNCE, temperature ", o.temperature);
  }
  std::string operator()(const GteOptions& o) const { return cat("improved contrastive loss (GTE), temperature ", o.temperature); }
  std::string operator()(const CbbOptions& o) const { return cat("cross-GPU batch balance loss (CBB), temperature ", o.temperature); }
  std::string operator()(const CosentOptions& o) const { return cat("CoSENT, temperature ", o.temperature); }
  std::string operator()(const GroupDistillationOptions& o) const { return cat("KL distillation, temperature ", o.temperature); }
  std::string operator()(const StabilisedOptions& o) const { return cat("stabilised distillation, temperature ", o.temperature); }
  std::string operator()(const MarginMseOptions&) const { return "margin MSE"; }
};

/// Negatives for each alternative.
struct Negatives {
  int64_t global, local, group;

  int64_t queries(Candidates candidates) const {  // that are compared with each other
    if (candidates == Candidates::own_group) return 1;
    return candidates == Candidates::this_rank ? local : global;
  }
  int64_t among(Candidates candidates) const { return queries(candidates) * group - 1; }

  NegativeCounts operator()(const InfoNceOptions& o) const {
    return {among(o.candidates), o.direction == Direction::both ? queries(o.candidates) - 1 : 0};
  }
  NegativeCounts operator()(const GteOptions& o) const {
    const int64_t others = queries(o.candidates) - 1;
    return {among(o.candidates) + others, others + others * (o.positive_rivals == PositiveRivals::all_passages ? group : 1)};
  }
  NegativeCounts operator()(const CbbOptions& o) const {
    const int64_t hard = (o.negatives == NegativeScope::all ? global : 1) * (group - 1);
    return {hard + (o.other_positives == OtherPositives::included ? global - 1 : 0)};
  }
  NegativeCounts operator()(const CosentOptions&) const { return {}; }
  NegativeCounts operator()(const GroupDistillationOptions&) const { return {group - 1}; }
  NegativeCounts operator()(const StabilisedOptions& o) const { return {among(o.candidates)}; }
  NegativeCounts operator()(const MarginMseOptions&) const { return {group - 1}; }
};

void check_dims(const std::vector<int64_t>& dims, int64_t embedding) {
  int64_t last = 0;
  for (const int64_t d : dims) {
    if (d <= last) refuse_setting("loss.mrl_dims", cat(d, " follows ", last), "give positive dimensions in ascending order");
    last = d;
  }
  if (last > embedding)
    refuse_setting("loss.mrl_dims", cat(last, " is more than the model's ", embedding, " dimensions"), cat("give at most ", embedding));
}

template <class... Options>
bool any_is(const LossConfig& config) {
  return std::any_of(config.terms.begin(), config.terms.end(),
                     [](const LossTerm& t) { return (std::holds_alternative<Options>(t.options) || ...); });
}

}  // namespace

std::unique_ptr<Loss> make_loss(const LossConfig& config, int64_t embedding) {
  check_dims(config.matryoshka_dims, embedding);
  for (const LossTerm& t : config.terms) {
    std::visit(
        [](const auto& o) {
          if constexpr (requires { o.temperature; }) require_temperature("loss.temperature", o.temperature);
          if constexpr (requires { o.teacher_temperature; }) require_temperature("loss.teacher_temperature", o.teacher_temperature);
        },
        t.options);
    const auto* margin = std::get_if<MarginMseOptions>(&t.options);
    if (margin != nullptr && margin->similarity == Similarity::dot && !config.matryoshka_dims.empty())
      refuse_setting("loss.mrl_dims", "Matryoshka hands unit vectors to a loss that is defined on un-normalised ones",
                     "use similarity: cosine, or leave mrl_dims out");
  }
  std::unique_ptr<Loss> loss;
  if (config.terms.size() == 1 && config.terms[0].weight == 1) {
    loss = std::visit(Make{}, config.terms[0].options);
  } else {
    std::vector<WeightedLoss> terms;
    for (const LossTerm& t : config.terms) terms.push_back({std::visit(Make{}, t.options), t.weight});
    loss = std::make_unique<SumLoss>(std::move(terms));
  }
  if (config.matryoshka_dims.empty()) return loss;
  return std::make_unique<Matryoshka>(std::move(loss), config.matryoshka_dims);
}

std::string describe(const LossConfig& config) {
  std::string text;
  for (const LossTerm& t : config.terms)
    text += cat(text.empty() ? "" : " + ", t.weight == 1 ? "" : cat(t.weight, " x "), std::visit(Describe{}, t.options));
  if (!config.matryoshka_dims.empty()) text += cat("; mean over ", config.matryoshka_dims.size(), " Matryoshka sizes");
  return text;
}

NegativeCounts negatives_per_query(const LossConfig& config, int64_t global, int64_t local, int64_t group) {
  NegativeCounts most;
  for (const LossTerm& t : config.terms) {
    const NegativeCounts counts = std::visit(Negatives{global, local, group}, t.options);
    most = {std::max(most.of_query, counts.of_query), std::max(most.of_positive, counts.of_positive)};
  }
  return most;
}

const LossTerm* idle_term(const LossConfig& config, int64_t queries, int64_t group) {
  for (const LossTerm& t : config.terms)
    if (!std::holds_alternative<CosentOptions>(t.options) && std::visit(Negatives{queries, queries, group}, t.options).of_query == 0)
      return &t;
  return nullptr;
}

bool needs_scores(const LossConfig& config) { return any_is<CosentOptions>(config); }
bool needs_teacher(const LossConfig& config) { return any_is<GroupDistillationOptions, StabilisedOptions, MarginMseOptions>(config); }

}  // namespace lodestone
