// Are prompts whose last token could reach into the text refused?
#include "data/text/prompt.h"

#include <gtest/gtest.h>

#include <cctype>
#include <fstream>

#include "core/error.h"
#include "data/batches/collate.h"
#include "tests/data/batches/fake_rows.h"
#include "tests/support/temp_dir.h"

namespace lodestone {
namespace {

/// Ids are the hashes of words; spaces and ASCII punctuation end a word, "[CLS]" is a token of its own.
void encode_words(std::string_view text, std::vector<int32_t>& ids) {
  std::string word;
  const auto end_word = [&] {
    if (!word.empty()) ids.push_back(static_cast<int32_t>(std::hash<std::string>{}(word)&0xffffff));
    word.clear();
  };
  for (size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (text.substr(i).starts_with("[CLS]")) {
      end_word();
      ids.push_back(101);
      i += 4;
    } else if (std::isspace(c) != 0) {
      end_word();
    } else if (std::ispunct(c) != 0) {
      end_word();
      word = static_cast<char>(c);
      end_word();
    } else {
      word += static_cast<char>(c);
    }
  }
  end_word();
}

const std::vector<std::string> special_tokens = {"[CLS]"};

TEST(Prompt, EndingInASpaceOrPunctuationIsTakenAsItIs) {
  for (const char* prompt : {"query: ", "query:", "Represent this sentence: ", "a b\n"}) {
    std::vector<int32_t> expected;
    encode_words(prompt, expected);
    EXPECT_EQ(prompt_ids(prompt, encode_words, special_tokens), expected) << prompt;
  }
  EXPECT_TRUE(prompt_ids("", encode_words, special_tokens).empty());
}

TEST(Prompt, EndingInsideAWordIsRefused) {
  for (const char* prompt : {"query", "query: find", "see 7"}) {
    try {
      prompt_ids(prompt, encode_words, special_tokens);
      ADD_FAILURE() << prompt;
    } catch (const Error& error) {
      EXPECT_EQ(error.exit_code(), ExitCode::usage);
      EXPECT_NE(std::string(error.what()).find(cat('"', prompt, '"')), std::string::npos) << error.what();
      EXPECT_FALSE(error.remedy().empty());
    }
  }
}

TEST(Prompt, EndingInsideASpecialTokenIsRefused) { EXPECT_THROW(prompt_ids("tag [", encode_words, special_tokens), Error); }

Tokenizer small_tokenizer(const test::TempDir& dir, bool lower_case) {
  std::ofstream vocab(dir / "vocab.txt");
  for (const char* token :
       {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "query",  "que",    "##ry", ":", "find", "f",   "##ind", "a", "##a",
        "b",     "##b",   "ab",    "1",     "##1",    "\u4e2d", "\uff1a", "!",    "[", "]",    "cls", "mask",  "e", "##e"}) {
    vocab << token << '\n';
  }
  vocab.close();
  return Tokenizer::from_vocab(dir / "vocab.txt", {.lower_case = lower_case, .strip_accents = lower_case});
}

TEST(Prompt, BeforeIdsOfATextEqualsTokenisingTheWholeString) {
  const test::TempDir dir;
  for (const bool lower_case : {true, false}) {
    const Tokenizer tokenizer = small_tokenizer(dir, lower_case);
    for (const std::string prompt : {"", "query: ", "query:", "find a b! ", "\u4e2d", "\u4e2d\uff1a", "[MASK] query: ", "unknown word: "}) {
      for (const std::string text :
           {"ab", "a 1b", "queryfind", "\u0301a", "e\u0301", "\u4e2d\u4e2d", ": !", "  ab", "", "[SEP] a", "]", "MASK]", "1", "\u93fa"}) {
        std::vector<int32_t> ids, whole;
        tokenizer.encode(text, ids);
        tokenizer.encode(prompt + text, whole);
        const test::FakeRows rows({{.query = ids, .positives = {{1}}}});
        const Framing framing = make_framing(tokenizer, prompt, "", {});
        for (const int64_t m : {12, 24}) {
          Batch batch;
          const std::vector<int64_t> only = {0};
          Collator({.query_max_len = m}, framing).collate(rows, {.rows = only}, batch);
          std::vector<int32_t> expected(whole.begin(), whole.begin() + std::min<std::ptrdiff_t>(m - 2, std::ssize(whole)));
          expected.insert(expected.begin(), tokenizer.cls_id());
          expected.push_back(tokenizer.sep_id());
          EXPECT_EQ(std::vector<int32_t>(batch.ids.begin(), batch.ids.begin() + batch.offsets[1]), expected)
              << '"' << prompt << "\" \"" << text << '"';
        }
      }
    }
  }
}

TEST(Prompt, OfTheRealTokenizerIsRefusedInsideATokenOnly) {
  const test::TempDir dir;
  const Tokenizer tokenizer = small_tokenizer(dir, true);
  for (const char* prompt : {"query", "find a", "1", "query: [", "query: [MA"})
    EXPECT_THROW(prompt_ids(prompt, tokenizer), Error) << prompt;
  for (const char* prompt : {"query ", "find!", "\u4e2d", "query: [MASK]"}) EXPECT_NO_THROW(prompt_ids(prompt, tokenizer)) << prompt;
}

}  // namespace
}  // namespace lodestone
