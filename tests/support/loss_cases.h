// Cases of losses written as JSON: which loss with which options, on which vectors and scores. The golden file and the comparison
// with sentence-transformers are made of them; tests/parity/losses_st.py writes them.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "losses/cosent.h"
#include "losses/distill.h"
#include "losses/gte.h"
#include "losses/info_nce.h"
#include "losses/matryoshka.h"
#include "tests/support/loss_problem.h"

namespace lodestone::test {

inline std::unique_ptr<Loss> make_case_loss(const nlohmann::json& c) {
  const std::string name = c.at("loss");
  const nlohmann::json& options = c.at("options");
  const auto number = [&](const char* key) { return options.at(key).get<double>(); };
  if (name == "info_nce") return std::make_unique<InfoNce>(InfoNceOptions{.temperature = number("temperature")});
  if (name == "symmetric_info_nce")
    return std::make_unique<InfoNce>(InfoNceOptions{.temperature = number("temperature"), .direction = Direction::both});
  if (name == "gte")
    return std::make_unique<Gte>(GteOptions{.temperature = number("temperature"), .positive_rivals = PositiveRivals::all_passages});
  if (name == "cosent") return std::make_unique<Cosent>(CosentOptions{.temperature = number("temperature")});
  if (name == "kl_divergence")
    return std::make_unique<GroupDistillation>(
        GroupDistillationOptions{.temperature = number("temperature"), .teacher_temperature = number("teacher_temperature")});
  if (name == "margin_mse")
    return std::make_unique<MarginMse>(
        MarginMseOptions{.similarity = options.at("similarity") == "dot" ? Similarity::dot : Similarity::cosine});
  LODE_CHECK(false, "no loss is called ", name);
  return {};
}

/// With its prefixes, where the case has some.
inline std::unique_ptr<Loss> make_loss_of(const nlohmann::json& c) {
  std::unique_ptr<Loss> loss = make_case_loss(c);
  if (!c.contains("matryoshka_dims")) return loss;
  return std::make_unique<Matryoshka>(std::move(loss), c.at("matryoshka_dims").get<std::vector<int64_t>>());
}

inline LossProblem problem_of(const nlohmann::json& c) {
  LossProblem problem(c.at("n"), c.at("group"), c.at("width"));
  const auto set = [&](const char* key, std::vector<double>& numbers) {
    const size_t count = numbers.size();
    numbers = c.at(key).get<std::vector<double>>();
    LODE_CHECK(numbers.size() == count, "case ", c.at("name"), " has ", numbers.size(), " ", key, " instead of ", count);
  };
  set("queries", problem.queries);
  set("passages", problem.passages);
  set("scores", problem.scores);
  set("teacher_scores", problem.teacher_scores);
  return problem;
}

/// Queries first, then passages.
inline std::vector<double> whole_gradient(const LossAnswer& answer) {
  std::vector<double> all = answer.d_queries;
  all.insert(all.end(), answer.d_passages.begin(), answer.d_passages.end());
  return all;
}

}  // namespace lodestone::test
