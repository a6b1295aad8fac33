// Every contrastive loss with each of its settings: what the tests that hold for all of them run over.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "losses/cbb.h"
#include "losses/gte.h"
#include "losses/info_nce.h"
#include "losses/matryoshka.h"
#include "losses/stabilised_distill.h"
#include "losses/sum.h"

namespace lodestone::test {

/// Whether a text's gradient comes from other ranks' rows too.
enum class GradientsTravel : uint8_t { no, yes };

struct ContrastiveCase {
  std::string name;
  std::function<std::unique_ptr<Loss>()> make;
  GradientsTravel gradients = GradientsTravel::yes;
};

inline std::unique_ptr<Loss> sum_of_info_nce_and_cbb(int64_t tile_elements) {
  std::vector<WeightedLoss> terms;
  terms.push_back({std::make_unique<InfoNce>(InfoNceOptions{.temperature = 0.2, .tile_elements = tile_elements}), 0.75});
  terms.push_back({std::make_unique<Cbb>(CbbOptions{.temperature = 0.3, .tile_elements = tile_elements}), 2});
  return std::make_unique<SumLoss>(std::move(terms));
}

/// Tiles are as small as they may be, 64 rows, unless told otherwise.
inline std::vector<ContrastiveCase> contrastive_cases(int64_t tile_elements = 1) {
  const auto info_nce = [tile_elements](InfoNceOptions options) {
    options.temperature = 0.2;
    options.tile_elements = tile_elements;
    return [options] { return std::make_unique<InfoNce>(options); };
  };
  const auto gte = [tile_elements](GteOptions options) {
    options.temperature = 0.2;
    options.tile_elements = tile_elements;
    return [options] { return std::make_unique<Gte>(options); };
  };
  const auto cbb = [tile_elements](CbbOptions options) {
    options.temperature = 0.2;
    options.tile_elements = tile_elements;
    return [options] { return std::make_unique<Cbb>(options); };
  };
  const auto stabilised = [tile_elements](StabilisedOptions options) {
    options.temperature = 0.2;
    options.teacher_temperature = 0.5;
    options.tile_elements = tile_elements;
    return [options] { return std::make_unique<StabilisedDistillation>(options); };
  };
  return {
      {"InfoNCE", info_nce({})},
      {"InfoNCE, own group", info_nce({.candidates = Candidates::own_group}), GradientsTravel::no},
      {"InfoNCE, symmetric", info_nce({.direction = Direction::both})},
      {"InfoNCE, duplicates masked", info_nce({.duplicates = Duplicates::masked})},
      {"InfoNCE, symmetric, duplicates masked", info_nce({.direction = Direction::both, .duplicates = Duplicates::masked})},
      {"GTE", gte({})},
      {"GTE, positive once", gte({.positive_terms = PositiveTerms::once})},
      {"GTE, all rivals", gte({.positive_rivals = PositiveRivals::all_passages})},
      {"GTE, own group", gte({.positive_rivals = PositiveRivals::all_passages, .candidates = Candidates::own_group}), GradientsTravel::no},
      {"GTE, duplicates masked", gte({.duplicates = Duplicates::masked})},
      {"GTE, positive once, all rivals, duplicates masked",
       gte({.positive_terms = PositiveTerms::once, .positive_rivals = PositiveRivals::all_passages, .duplicates = Duplicates::masked})},
      {"CBB", cbb({})},
      {"CBB, other positives", cbb({.other_positives = OtherPositives::included})},
      {"CBB, own negatives", cbb({.negatives = NegativeScope::own}), GradientsTravel::no},
      {"CBB, own negatives, other positives", cbb({.negatives = NegativeScope::own, .other_positives = OtherPositives::included})},
      {"CBB, duplicates masked", cbb({.duplicates = Duplicates::masked})},
      {"CBB, other positives, duplicates masked", cbb({.other_positives = OtherPositives::included, .duplicates = Duplicates::masked})},
      {"CBB, own negatives, other positives, duplicates masked",
       cbb({.negatives = NegativeScope::own, .other_positives = OtherPositives::included, .duplicates = Duplicates::masked})},
      {"stabilised distillation", stabilised({})},
      {"stabilised distillation, released code", stabilised({.order = RewardOrder::released_code})},
      {"stabilised distillation, duplicates masked", stabilised({.duplicates = Duplicates::masked})},
      {"stabilised distillation, own group", stabilised({.candidates = Candidates::own_group}), GradientsTravel::no},
      {"Matryoshka CBB",
       [cbb] {
         return std::make_unique<Matryoshka>(cbb({})(), std::vector<int64_t>{2, 5});
       }},
      {"InfoNCE and CBB", [tile_elements] { return sum_of_info_nce_and_cbb(tile_elements); }},
  };
}

}  // namespace lodestone::test
