// Reads a safetensors file of f64, f32 and i32 tensors: golden values of parity tests.
#pragma once

#include <cstring>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/error.h"

namespace lodestone::test {

/// Every tensor as a vector of doubles (f32 and i32 values are exact), and the file's metadata.
struct Golden {
  std::map<std::string, std::vector<double>> tensors;
  std::map<std::string, std::string> metadata;

  const std::vector<double>& at(const std::string& name) const {
    const auto it = tensors.find(name);
    LODE_CHECK(it != tensors.end(), "the golden file has no tensor ", name);
    return it->second;
  }
};

inline Golden read_golden(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  LODE_CHECK(in.good(), "cannot read ", path);
  const std::vector<char> bytes{std::istreambuf_iterator<char>(in), {}};
  uint64_t header = 0;
  std::memcpy(&header, bytes.data(), 8);
  const auto entries = nlohmann::json::parse(bytes.data() + 8, bytes.data() + 8 + header);
  const auto convert = []<class T>(const char* from, size_t size, T) {
    std::vector<T> values(size / sizeof(T));
    std::memcpy(values.data(), from, size);
    return std::vector<double>(values.begin(), values.end());
  };
  Golden golden;
  for (const auto& [name, entry] : entries.items()) {
    if (name == "__metadata__") {
      golden.metadata = entry.get<std::map<std::string, std::string>>();
      continue;
    }
    const size_t begin = entry["data_offsets"][0], end = entry["data_offsets"][1];
    const char* from = bytes.data() + 8 + header + begin;
    const std::string dtype = entry["dtype"];
    LODE_CHECK(dtype == "F64" || dtype == "F32" || dtype == "I32", path, " holds a tensor of type ", dtype);
    golden.tensors[name] = dtype == "F64"   ? convert(from, end - begin, double{})
                           : dtype == "F32" ? convert(from, end - begin, float{})
                                            : convert(from, end - begin, int32_t{});
  }
  return golden;
}

}  // namespace lodestone::test
