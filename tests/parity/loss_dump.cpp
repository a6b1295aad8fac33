// Writes value and gradient of losses on given vectors, in f64, for comparison with sentence-transformers.
//   loss_dump CASES.json > ANSWERS.json
// CASES.json as tests/parity/losses_st.py writes it; ANSWERS.json: {case name: {"loss": x, "gradient": [queries, then passages]}}
#include <fstream>
#include <iostream>

#include "tests/support/loss_cases.h"

using namespace lodestone;

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: loss_dump CASES.json\n";
    return 2;
  }
  try {
    auto answers = nlohmann::json::object();
    const auto file = nlohmann::json::parse(std::ifstream(argv[1]));
    for (const auto& c : file.at("cases")) {
      const test::LossAnswer answer = test::answer_alone(*test::make_loss_of(c), test::problem_of(c));
      answers[c.at("name").get<std::string>()] = {{"loss", answer.loss}, {"gradient", test::whole_gradient(answer)}};
    }
    std::cout << answers << '\n';
  } catch (const std::exception& e) {
    std::cerr << "error: " << e.what() << '\n';
    return 1;
  }
  return 0;
}
