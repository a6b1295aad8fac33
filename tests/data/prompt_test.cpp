// Are prompts whose last token could reach into the text refused?
#include "data/prompt.h"

#include <gtest/gtest.h>

#include <cctype>

#include "core/error.h"

namespace lodestone {
namespace {

/// Ids are the hashes of words; spaces and ASCII punctuation end a word, "[CLS]" is a token of its own.
void encode_words(std::string_view text, std::vector<int32_t>& ids) {
  std::string word;
  const auto end_word = [&] {
    if (!word.empty()) ids.push_back(static_cast<int32_t>(std::hash<std::string>{}(word) & 0xffffff));
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

}  // namespace
}  // namespace lodestone
