// Is a vocabulary that does not fill the model's table noticed, and a padded table left alone?
#include "data/models/vocabulary_fit.h"

#include <gtest/gtest.h>

#include <fstream>

#include "core/error.h"
#include "tests/support/temp_dir.h"

namespace lodestone {
namespace {

class VocabularyFit : public testing::Test {
 protected:
  VocabularyFit() { std::ofstream(folder_ / "vocab.txt") << "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nword\n"; }
  Tokenizer tokenizer() const { return Tokenizer::from_folder(folder_.path()); }
  static EncoderConfig table(int64_t rows) {
    EncoderConfig encoder;
    encoder.vocab = rows;
    return encoder;
  }
  test::TempDir folder_;
};

TEST_F(VocabularyFit, OneThatFillsTheTableIsSilent) { EXPECT_TRUE(check_vocabulary(tokenizer(), table(6), folder_.path()).empty()); }

TEST_F(VocabularyFit, OneBeyondTheTableIsRefused) {
  try {
    check_vocabulary(tokenizer(), table(5), folder_.path());
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::checkpoint);
    EXPECT_EQ(error.code(), "F42");
    EXPECT_STREQ(error.what(), "the tokenizer has 6 tokens, the model only 5");
  }
}

TEST_F(VocabularyFit, AShorterOneIsWarnedOfUnlessTwoFilesSayTheSame) {
  const std::vector<std::string> lines = check_vocabulary(tokenizer(), table(8), folder_.path());
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(lines[0].find("the vocabulary has 6 tokens, the model's table 8 rows"), 0u) << lines[0];
  EXPECT_NE(lines[0].find(folder_.path().string()), std::string::npos);
  const test::TempDir padded;
  tokenizer().write_files(512, padded.path());  // vocab.txt and tokenizer.json
  EXPECT_TRUE(check_vocabulary(Tokenizer::from_folder(padded.path()), table(8), padded.path()).empty());
}

}  // namespace
}  // namespace lodestone
