// Are rows that are kept written byte for byte and in order, and the others put aside with their reasons?
#include "data/cleaning/pass.h"

#include <gtest/gtest.h>

#include "data/cleaning/row_texts.h"
#include "tests/support/gzip.h"
#include "tests/support/temp_dir.h"
#include "tests/support/text_file.h"

namespace lodestone {
namespace {

using test::gzip;
using test::read_text;
using test::TempDir;
using test::write_text;

/// Keeps rows with "keep".
RowVerdict keep_marked(std::span<const Field> fields) {
  if (find_field(fields, "broken") != nullptr) throw Error(ExitCode::data, "F30", "not for this judge", "mend it");
  return {find_field(fields, "keep") != nullptr ? "" : "unmarked", R"("note":1,)"};
}

class CleaningPasses : public ::testing::Test {
 protected:
  /// Runs over a file of that content; what was kept is in kept_, what was dropped in dropped_.
  void run(const std::string& content, int64_t allowed_bad_rows = 0, const std::string& name = "rows.jsonl") {
    const auto file = write_text(dir_ / name, content);
    std::filesystem::remove(dir_ / "kept.jsonl");
    std::filesystem::remove(dir_ / "dropped.jsonl");
    LineWriter kept(dir_ / "kept.jsonl"), dropped(dir_ / "dropped.jsonl");
    tally_ = Tally({std::string(bad_row_reason), "unmarked", "never"});
    CleaningPass pass({"", allowed_bad_rows}, keep_marked, tally_, &dropped);
    pass.run(file, "rows", kept, [](int64_t) {});
    kept.publish();
    dropped.publish();
    kept_ = read_text(dir_ / "kept.jsonl");
    dropped_ = read_text(dir_ / "dropped.jsonl");
  }
  TempDir dir_;
  Tally tally_{{}};
  std::string kept_, dropped_;
};

TEST_F(CleaningPasses, KeepBytesAndOrder) {
  const std::string odd = "{\"keep\" :1,  \"\\u0041\":\"\\u00e9\\/\", \"big\":123456789012345678, \"x\": 1.50e+1}";
  run(odd + "\r\n\n{\"a\": 2}\n  {\"keep\":2}\t\n{\"keep\": 3}");
  EXPECT_EQ(kept_, odd + "\r\n  {\"keep\":2}\t\n{\"keep\": 3}\n") << "a blank line is no row, and the last one gets an end";
  const std::string file = (dir_ / "rows.jsonl").string();
  EXPECT_EQ(dropped_, "{\"reason\":\"unmarked\",\"file\":\"" + file + "\",\"line\":3,\"note\":1,\"row\":{\"a\": 2}}\n");
  EXPECT_EQ(tally_.rows(), 4);
  EXPECT_EQ(tally_.kept(), 3);
}

TEST_F(CleaningPasses, ReadAndWriteGzip) {
  std::string text;
  for (int i = 0; i < 50'000; ++i) text += cat("{\"keep\": ", i * 7919 % 50021, "}\n");
  run(gzip(text), 0, "rows.jsonl.gz");
  EXPECT_EQ(kept_, text);
  LineWriter packed(dir_ / "out.jsonl.gz");
  for (std::string_view left = text; !left.empty(); left.remove_prefix(left.find('\n') + 1)) packed.write(left.substr(0, left.find('\n')));
  packed.publish();
  EXPECT_LT(std::filesystem::file_size(dir_ / "out.jsonl.gz"), text.size() / 2);
  std::string again;
  const auto stream = open_gzip(dir_ / "out.jsonl.gz");
  for (std::string piece(1000, '\0');;) {
    const size_t got = stream->read(piece);
    if (got == 0) break;
    again.append(piece, 0, got);
  }
  EXPECT_EQ(again, text);
}

TEST_F(CleaningPasses, CountReasonsBySource) {
  run("{\"keep\":1,\"source\":\"a\"}\n{\"source\":\"a\"}\n{\"task\":\"b\"}\n{\"keep\":1,\"source\":3}\n");
  const OrderedJson none{{"bad_row", 0}, {"unmarked", 0}, {"never", 0}}, one{{"bad_row", 0}, {"unmarked", 1}, {"never", 0}};
  const OrderedJson expected{{"rows", 4},
                             {"kept", 2},
                             {"dropped", {{"bad_row", 0}, {"unmarked", 2}, {"never", 0}}},
                             {"sources",
                              {{"a", {{"rows", 2}, {"kept", 1}, {"dropped", one}}},
                               {"b", {{"rows", 1}, {"kept", 0}, {"dropped", one}}},
                               {"rows", {{"rows", 1}, {"kept", 1}, {"dropped", none}}}}}};
  EXPECT_EQ(tally_.json().dump(), expected.dump());
}

TEST_F(CleaningPasses, KeepFewSourcesApart) {
  Tally tally({});
  for (int i = 0; i < 3000; ++i) tally.add(cat("source ", i), "");
  EXPECT_EQ(tally.sources().size(), 1001u);
  EXPECT_EQ(tally.sources().at(std::string(Tally::more_sources)).rows, 2000);
}

TEST_F(CleaningPasses, RefuseBadRowsByTheirPlaceOrDropThem) {
  const std::string content = "{\"keep\": 1}\n{\"keep\": \n{\"broken\": 1}\n{\"keep\": \"\xff\"}\n{\"keep\": 4}\n";
  try {
    run(content, 2);
    FAIL() << "three rows are bad";
  } catch (const BadRow& bad) {
    EXPECT_EQ(bad.code(), "F31");
    EXPECT_EQ(bad.where(), cat("file=", (dir_ / "rows.jsonl").string(), " line=4 offset=46"));
  }
  EXPECT_FALSE(std::filesystem::exists(dir_ / "kept.jsonl")) << "nothing has a name that is not whole";
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir_.path()), {}), 1) << "and nothing else is left";
  run(content, 3);
  EXPECT_EQ(kept_, "{\"keep\": 1}\n{\"keep\": 4}\n");
  EXPECT_EQ(tally_.dropped(bad_row_reason), 3);
  EXPECT_NE(dropped_.find(R"("line":3,"error":"F30 not for this judge","text":"{\"broken\": 1}"})"), std::string::npos) << dropped_;
  EXPECT_NE(dropped_.find(R"("text":"{\"keep\": \"\\xff\"}"})"), std::string::npos) << dropped_;
}

}  // namespace
}  // namespace lodestone
