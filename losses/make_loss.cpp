#include "losses/make_loss.h"

#include <algorithm>

#include "losses/matryoshka.h"
#include "losses/score_block.h"
#include "losses/sum.h"

namespace lodestone {

namespace {

std::unique_ptr<Loss> make(const LossOptions& options, int64_t tile_elements) {
  return with_row(options, [&]<class Row>(Row, auto o) -> std::unique_ptr<Loss> {
    if constexpr (requires { o.tile_elements; }) o.tile_elements = tile_elements;
    return std::make_unique<typename Row::Made>(o);
  });
}

NegativeCounts negatives(const LossOptions& options, const BatchCounts& batch) {
  return with_row(options, [&](auto row, const auto& o) { return row.negatives(o, batch); });
}

LossReads reads_of(const LossOptions& options) {
  return with_row(options, [](auto row, const auto&) { return row.reads; });
}

bool any_reads(const LossConfig& config, LossReads what) {
  return std::any_of(config.terms.begin(), config.terms.end(), [&](const LossTerm& t) { return reads_of(t.options) == what; });
}

}  // namespace

int64_t BatchCounts::queries(Candidates candidates) const {
  switch (candidates) {
    case Candidates::own_group:
      return 1;
    case Candidates::this_rank:
      return local;
    case Candidates::all_ranks:
      return global;
  }
  throw_internal(__FILE__, __LINE__, "candidates", "no such candidates");
}

std::optional<Refusal> refused(const LossConfig& config) {
  if (auto refusal = refused_terms(config.terms.size())) return refusal;
  for (const LossTerm& t : config.terms) {
    if (auto refusal = std::visit([](const auto& o) { return refused(o); }, t.options)) return refusal;
    if (auto refusal = refused_weight("terms.weight", t.weight)) return refusal;
    const bool lengths = with_row(t.options, [](auto row, const auto& o) { return row.reads_lengths(o); });
    if (lengths && !config.matryoshka_dims.empty())
      return Refusal{"mrl_dims", "Matryoshka hands unit vectors to a loss that is defined on un-normalised ones",
                     "use similarity: cosine, or leave mrl_dims out"};
  }
  int64_t last = 0;
  for (const int64_t d : config.matryoshka_dims) {
    if (d <= last) return Refusal{"mrl_dims", cat(d, " follows ", last), "give positive dimensions in ascending order"};
    last = d;
  }
  return std::nullopt;
}

std::optional<Refusal> refused_dims(const LossConfig& config, int64_t embedding) {
  const int64_t last = config.matryoshka_dims.empty() ? 0 : config.matryoshka_dims.back();
  if (last <= embedding) return std::nullopt;
  return Refusal{"mrl_dims", cat(last, " is more than the model's ", embedding, " dimensions"), cat("give at most ", embedding)};
}

std::unique_ptr<Loss> make_loss(const LossConfig& config, int64_t embedding, Device device) {
  require_settings(refused(config));
  require_settings(refused_dims(config, embedding));
  const int64_t tile_elements = score_tile_elements(device);
  std::unique_ptr<Loss> loss;
  if (config.terms.size() == 1 && config.terms[0].weight == 1) {
    loss = make(config.terms[0].options, tile_elements);
  } else {
    std::vector<WeightedLoss> terms;
    for (const LossTerm& t : config.terms) terms.push_back({make(t.options, tile_elements), t.weight});
    loss = std::make_unique<SumLoss>(std::move(terms));
  }
  if (config.matryoshka_dims.empty()) return loss;
  return std::make_unique<Matryoshka>(std::move(loss), config.matryoshka_dims);
}

std::string describe(const LossConfig& config) {
  std::string text;
  for (const LossTerm& t : config.terms)
    text += cat(text.empty() ? "" : " + ", t.weight == 1 ? "" : cat(t.weight, " x "),
                with_row(t.options, [](auto row, const auto& o) { return row.describe(o); }));
  if (!config.matryoshka_dims.empty()) text += cat("; mean over ", config.matryoshka_dims.size(), " Matryoshka sizes");
  return text;
}

NegativeCounts negatives_per_query(const LossConfig& config, int64_t global, int64_t local, int64_t group) {
  NegativeCounts most;
  for (const LossTerm& t : config.terms) {
    const NegativeCounts counts = negatives(t.options, {global, local, group});
    most = {std::max(most.of_query, counts.of_query), std::max(most.of_positive, counts.of_positive)};
  }
  return most;
}

const LossTerm* idle_term(const LossConfig& config, int64_t queries, int64_t group) {
  for (const LossTerm& t : config.terms)
    if (reads_of(t.options) != LossReads::gold_scores && negatives(t.options, {queries, queries, group}).of_query == 0) return &t;
  return nullptr;
}

bool rounds_scores(const LossConfig& config) {
  return std::any_of(config.terms.begin(), config.terms.end(), [](const LossTerm& t) {
    return with_row(t.options, [](auto row, const auto& o) { return row.score_precision(o) != ScorePrecision::f32; });
  });
}

bool needs_scores(const LossConfig& config) { return any_reads(config, LossReads::gold_scores); }
bool needs_teacher(const LossConfig& config) { return any_reads(config, LossReads::teacher_scores); }

}  // namespace lodestone
