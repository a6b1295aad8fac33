// Is every damaged gzip file refused, and every sound one read to its last byte?
#include "tests/support/gzip.h"

#include <gtest/gtest.h>

#include "data/records/byte_stream.h"
#include "tests/data/corpus/pack_support.h"

namespace lodestone {
namespace {

using test::error_of;
using test::gzip;
using test::pack_files;
using test::TempDir;
using test::write_text;

std::string lines(int n) {
  std::string text;
  for (int i = 0; i < n; ++i) text += cat(R"({"query": "q )", i, R"(", "pos": "p )", i * 7919 % 10007, "\"}\n");
  return text;
}

std::string read_gzip(const std::filesystem::path& file) {
  std::string all;
  const auto stream = open_gzip(file);
  for (std::string piece(1000, '\0');;) {
    const size_t got = stream->read(piece);
    if (got == 0) return all;
    all.append(piece, 0, got);
  }
}

class Gzip : public ::testing::Test {
 protected:
  std::string error(const std::string& bytes, const std::string& name = "a.jsonl.gz") {
    write_text(dir_ / name, bytes);
    return error_of(
        [&] {
          pack_files(dir_ / "c", {dir_ / name});
          std::filesystem::remove_all(dir_ / "c");
        },
        dir_.path());
  }
  TempDir dir_;
  const std::string text_ = lines(20000), packed_ = gzip(text_);
};

TEST_F(Gzip, IsReadToTheLastByte) {
  EXPECT_EQ(read_gzip(write_text(dir_ / "a.gz", packed_)), text_);
  EXPECT_EQ(read_gzip(write_text(dir_ / "b.gz", packed_ + gzip("") + gzip("more\n"))), text_ + "more\n");
  EXPECT_EQ(error(packed_), "no error");
}
TEST_F(Gzip, IsKnownByItsContentWhateverItsName) { EXPECT_EQ(error(packed_, "a.jsonl"), "no error"); }

TEST_F(Gzip, TruncationIsRefusedWhereverItIs) {
  for (const size_t keep : {size_t{5}, size_t{30}, packed_.size() / 2, packed_.size() - 9, packed_.size() - 8, packed_.size() - 1})
    EXPECT_EQ(error(packed_.substr(0, keep)),
              cat("3 F33 the gzip file is truncated; file=a.jsonl.gz offset=", keep, "; do: fetch it again"));
  const std::string two = packed_ + packed_;
  EXPECT_EQ(error(two.substr(0, packed_.size() + 4)),
            cat("3 F33 the gzip file is truncated; file=a.jsonl.gz offset=", packed_.size() + 4, "; do: fetch it again"));
}
TEST_F(Gzip, WrongChecksumIsRefused) {
  std::string damaged = packed_;
  damaged[damaged.size() - 6] ^= 1;
  EXPECT_EQ(error(damaged),
            cat("3 F33 damaged gzip data: incorrect data check; file=a.jsonl.gz offset=", packed_.size() - 4, "; do: fetch it again"));
}
TEST_F(Gzip, WrongLengthIsRefused) {
  std::string damaged = packed_;
  damaged[damaged.size() - 1] ^= 1;
  EXPECT_EQ(error(damaged),
            cat("3 F33 damaged gzip data: incorrect length check; file=a.jsonl.gz offset=", packed_.size(), "; do: fetch it again"));
}
TEST_F(Gzip, FlippedBitsAreRefused) {
  for (size_t i = 20; i < packed_.size(); i += packed_.size() / 23) {
    std::string damaged = packed_;
    damaged[i] ^= 4;
    EXPECT_NE(error(damaged), "no error") << i;
    std::filesystem::remove_all(dir_ / "c");
  }
}
TEST_F(Gzip, TrailingBytesAreRefused) {
  for (const std::string& tail : {std::string("x"), std::string("\0\0\0\0", 4), std::string("{\"query\"")})
    EXPECT_EQ(error(packed_ + tail), cat("3 F33 bytes that are not gzip follow the end of the compressed data; file=a.jsonl.gz offset=",
                                         packed_.size(), "; do: fetch it again or cut them off"));
}
TEST_F(Gzip, AnotherContentUnderTheNameIsRefused) {
  EXPECT_EQ(error(text_), "3 F33 named .gz but not gzip data; file=a.jsonl.gz offset=0; do: rename it or fetch it again");
}
TEST_F(Gzip, ABombIsRefused) {
  std::string line = "{\"query\": \"q\", \"pos\": \"" + std::string(1000000, 'x') + "\"}\n", all;
  for (int i = 0; i < 90; ++i) all += line;
  const std::string message = error(gzip(all));
  EXPECT_TRUE(message.starts_with("3 F33 expands more than 200-fold; file=a.jsonl.gz offset=")) << message;
  EXPECT_TRUE(message.ends_with("; do: decompress it yourself if you trust it")) << message;
}

}  // namespace
}  // namespace lodestone
