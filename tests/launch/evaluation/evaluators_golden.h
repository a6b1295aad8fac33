// What other software says of small inputs: tests/golden/evaluators.json, by tests/parity/make_evaluators_golden.py.
#pragma once

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "launch/evaluation/rows.h"
#include "tests/support/golden_file.h"

namespace lodestone::test {

inline nlohmann::json evaluators_golden(const char* part) {
  std::ifstream file(golden_file("evaluators.json"));
  return nlohmann::json::parse(file).at(part);
}

/// Rows of a list of lists.
struct OwnedRows {
  explicit OwnedRows(const nlohmann::json& lists) : width(std::ssize(lists.at(0))) {
    for (const auto& row : lists)
      for (const double value : row) values.push_back(value);
  }
  Rows rows() const { return {values, width}; }

  std::vector<double> values;
  int64_t width;
};

}  // namespace lodestone::test
