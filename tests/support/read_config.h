// Configurations as tests give them: a text, and keys over it.
#pragma once

#include <gtest/gtest.h>

#include <fstream>

#include "launch/config/config.h"
#include "tests/support/temp_dir.h"

namespace lodestone::test {

inline constexpr const char* smallest = "model: {folder: m}\ndata: {train: c}\ntrain: {output_dir: r, steps: 10}\n";

inline RunConfig read(const std::string& text, std::vector<std::string> overrides = {}) {
  const TempDir dir;
  const std::filesystem::path path = dir / "run.yaml";
  std::ofstream(path) << text;
  return read_run_config(std::span(&path, 1), overrides);
}

/// What is refused of the smallest configuration with these keys; empty: nothing.
inline std::string failure(std::vector<std::string> overrides) {
  try {
    read(smallest, std::move(overrides));
  } catch (const Error& e) {
    EXPECT_EQ(e.exit_code(), ExitCode::usage);
    EXPECT_FALSE(e.remedy().empty());
    return e.what();
  }
  return "";
}

}  // namespace lodestone::test
