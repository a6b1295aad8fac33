// Does every refusal of a JSON file say where, and what to do?
#include "data/files/strict_json.h"

#include <gtest/gtest.h>

#include <functional>

#include "data/files/durable.h"
#include "tests/support/temp_dir.h"
#include "tests/support/text_file.h"

namespace lodestone {
namespace {

/// "WHAT; WHERE", of an error that has a remedy.
std::string refusal(const std::function<void(const std::filesystem::path&)>& read, const std::string& text) {
  const test::TempDir dir;
  try {
    read(test::write_text(dir / "a.json", text));
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::checkpoint);
    EXPECT_EQ(error.remedy(), "correct the file, or fetch it again") << error.what();
    EXPECT_NE(error.where().find("file=" + (dir / "a.json").string()), std::string::npos) << error.where();
    return cat(error.what(), "; ", error.where().substr(0, error.where().find("file=")));
  }
  return "";
}

TEST(StrictJson, EveryRefusalSaysWhereAndWhatToDo) {
  const auto whole = [](const std::filesystem::path& file) { (void)read_json_object(file); };
  EXPECT_EQ(refusal(whole, "{\"a\": 1 \"b\"}"),
            "this is not valid JSON (parse error at line 1, column 11: syntax error while parsing object - unexpected string literal; "
            "expected '}'); offset=11 ");
  EXPECT_EQ(refusal(whole, "{\"a\": 1, \"a\": 2}"), "the key \"a\" occurs twice; ");
  EXPECT_EQ(refusal(whole, "[]"), "a JSON object is needed, not array; ");
  EXPECT_EQ(refusal(whole, "{\"a\": " + std::string(70, '[') + std::string(70, ']') + "}"), "nested deeper than 64 levels; ");
  EXPECT_NE(refusal(whole, "{\"a\": 1e999}").find("number overflow"), std::string::npos);
}

TEST(StrictJson, WhereTheLastOfEqualKeysCountsTheRestIsAsStrict) {
  const auto parse = [](const std::filesystem::path& file) {
    try {
      const std::string text = read_text_file(file, 1 << 20, ExitCode::checkpoint);
      EXPECT_EQ(parse_strict_json(text, ExitCode::checkpoint, "F42", RepeatedKeys::last_counts).at("a"), 2);
    } catch (Error& error) {
      throw error.at("file", file.string());
    }
  };
  EXPECT_EQ(refusal(parse, "{\"a\": 1, \"a\": 2}"), "");
  EXPECT_EQ(refusal(parse, "{\"a\": " + std::string(100000, '[') + std::string(100000, ']') + "}"), "nested deeper than 64 levels; ");
  EXPECT_EQ(refusal(parse, "{\"a\": 1} 2"),
            "this is not valid JSON (parse error at line 1, column 10: syntax error while parsing value - unexpected number literal; "
            "expected end of input); offset=10 ");
}

TEST(StrictJson, ValuesOfAnotherTypeAreRefusedByTheirKey) {
  const auto with = [](auto get) { return [get](const std::filesystem::path& file) { (void)get(read_json_object(file), file); }; };
  EXPECT_EQ(refusal(with([](const Json& j, const auto& file) { return json_integer(j, "a", 0, file); }), "{\"a\": 1.5}"),
            "\"a\" must be an integer, not number; ");
  EXPECT_EQ(refusal(with([](const Json& j, const auto& file) { return json_integer(j, "a", 0, file); }), "{\"a\": 9223372036854775808}"),
            "\"a\" is too large; ");
  EXPECT_EQ(refusal(with([](const Json& j, const auto& file) { return json_number(j, "a", 0, file); }), "{\"a\": \"1\"}"),
            "\"a\" must be a number, not string; ");
  EXPECT_EQ(refusal(with([](const Json& j, const auto& file) { return json_flag(j, "a", false, file); }), "{\"a\": 1}"),
            "\"a\" must be true or false, not number; ");
  EXPECT_EQ(refusal(with([](const Json& j, const auto& file) { return json_string(j, "a", "", file); }), "{\"a\": []}"),
            "\"a\" must be a string, not array; ");
}

}  // namespace
}  // namespace lodestone
