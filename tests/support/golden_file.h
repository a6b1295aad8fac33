// Where golden values lie.
#pragma once

#include <cstdlib>
#include <string>

namespace lodestone::test {

/// The path of a file of tests/golden: in the source folder, or where the tests were carried to another machine (launch/bundle.sh), below
/// the copy of tests/ that LODESTONE_TEST_DATA names.
inline std::string golden_file(const std::string& name) {
  const char* const moved = std::getenv("LODESTONE_TEST_DATA");
  return std::string(moved != nullptr ? moved : LODE_TEST_DATA) + "/golden/" + name;
}

}  // namespace lodestone::test
