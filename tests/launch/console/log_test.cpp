// Is an error one line that a person can read, whatever it quotes?
#include "launch/console/log.h"

#include <gtest/gtest.h>

namespace lodestone {
namespace {

TEST(ErrorLine, LeavesOutTheMiddleOfALongMessage) {
  const std::string quoted(100'000, '(');
  const Error error = Error(ExitCode::data, "F30", cat("begin ", quoted, " end"), "correct it").at("file", "a.json");
  const std::string line = error_line(error);
  EXPECT_LT(line.size(), 1000u);
  EXPECT_TRUE(line.starts_with("error: F30 begin (((")) << line;
  EXPECT_NE(line.find("( ... ("), std::string::npos) << line;
  EXPECT_TRUE(line.ends_with("((( end; file=a.json; do: correct it")) << line;
}

TEST(ErrorLine, IsOfText) {
  EXPECT_EQ(error_line(Error(ExitCode::data, "F30", "a\nb\x1b[2J\xff", "correct it")), "error: F30 a\\x0ab\\x1b[2J\\xff; do: correct it");
}

}  // namespace
}  // namespace lodestone
