// Are texts read as their file holds them, and a file that holds something else refused?
#include "data/records/texts.h"

#include <gtest/gtest.h>

#include <fstream>

#include "core/error.h"
#include "tests/support/temp_dir.h"

namespace lodestone {
namespace {

class Texts : public ::testing::Test {
 protected:
  std::filesystem::path file(const std::string& name, const std::string& content) {
    std::ofstream(dir_ / name, std::ios::binary) << content;
    return dir_ / name;
  }
  std::string refusal(const std::filesystem::path& path, TextFormat format = TextFormat::automatic, const std::string& field = "text") {
    try {
      read_texts(path, format, field);
      return "read";
    } catch (const Error& error) {
      EXPECT_EQ(error.exit_code(), ExitCode::data);
      return cat(error.code(), ' ', error.what(), "; do: ", error.remedy());
    }
  }
  test::TempDir dir_;
};

using List = std::vector<std::string>;

TEST_F(Texts, OfATextFileAreItsLines) {
  EXPECT_EQ(read_texts(file("a.txt", "one\r\n\n{ two\nthree"), TextFormat::automatic, "text"), (List{"one", "", "{ two", "three"}));
  EXPECT_EQ(read_texts(file("cr.txt", "a\r\r\n"), TextFormat::automatic, "text"), List{"a\r"}) << "only the line end goes";
  EXPECT_EQ(refusal(file("empty.txt", "")).substr(0, 3), "F32");
  EXPECT_EQ(refusal(file("latin.txt", "a\nb\xe9\n")), "F31 the text is not UTF-8; do: convert the file to UTF-8");
}

TEST_F(Texts, OfJsonLinesAreAField) {
  const auto path = file("a.jsonl", "{\"_id\": \"1\", \"text\": \"a \\\"b\\\"\"}\n\n{\"text\": \"\", \"title\": \"t\"}\n");
  EXPECT_EQ(read_texts(path, TextFormat::automatic, "text"), (List{"a \"b\"", ""})) << "the field, not the source of the line";
  EXPECT_EQ(refusal(path, TextFormat::automatic, "title"),
            "F30 the object has no field title; it has _id, text; do: name the field of the texts with --field");
  EXPECT_EQ(read_texts(path, TextFormat::lines, "text").size(), 3u) << "asked for, its lines are texts";
  EXPECT_EQ(refusal(file("n.jsonl", "{\"text\": 3}\n")), "F30 the field holds no text; do: name the field of the texts with --field");
  EXPECT_EQ(refusal(file("b.jsonl", "{\"text\": \"a\"}\nplain\n")), "F30 not valid JSON; do: correct the row");
}

TEST_F(Texts, OfAFileOfAnotherNameAreNotGuessedWhereItBeginsWithAnObject) {
  const auto path = file("a.txt", "{\"text\": \"a\"}\n{\"text\": \"b\"}\n");
  EXPECT_EQ(refusal(path).substr(0, 66), "F30 the first line is a JSON object, and a text a line is read; do");
  EXPECT_EQ(read_texts(path, TextFormat::jsonl, "text"), (List{"a", "b"}));
  EXPECT_EQ(read_texts(path, TextFormat::lines, "text")[1], "{\"text\": \"b\"}");
}

}  // namespace
}  // namespace lodestone
