// Are the ids Hugging Face's, is the work linear, and do all ways to open a tokenizer agree?
#include "data/text/tokenizer.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "data/text/tokenizer_kind.h"
#include "data/text/tokenizer_spec.h"
#include "launch/console/allocations.h"
#include "tests/support/golden_file.h"
#include "tests/support/temp_dir.h"

namespace lodestone {
namespace {

using Json = nlohmann::json;
using Ids = std::vector<int32_t>;

TokenizerSpec small_spec() {
  TokenizerSpec spec;
  spec.tokens = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "un",     "##aff", "##able",   "a",       "##a",
                 "b",     "##b",   "中",    ",",     "aaaa",   "##aaaa", "é",     "##\u302E", "##\u302A"};
  spec.word_piece_tokens = static_cast<int64_t>(spec.tokens.size());
  for (int32_t id = 0; id < 5; ++id) spec.added.push_back({spec.tokens[static_cast<size_t>(id)], id});
  return spec;
}

Ids encode(const Tokenizer& tokenizer, std::string_view text) {
  Ids ids;
  tokenizer.encode(text, ids);
  return ids;
}

std::string repeat(std::string_view part, int times) {
  std::string text;
  for (int i = 0; i < times; ++i) text += part;
  return text;
}

Json golden() { return Json::parse(std::ifstream(test::golden_file("tokenizer.json"))); }

TokenizerSpec golden_spec(const Json& golden, const Json& one) {
  TokenizerSpec spec;
  spec.tokens = golden["vocab"].get<std::vector<std::string>>();
  spec.word_piece_tokens = static_cast<int64_t>(spec.tokens.size());
  for (int32_t id = 0; id < 5; ++id) spec.added.push_back({spec.tokens[static_cast<size_t>(id)], id});
  spec.options.lower_case = one["lower_case"];
  spec.options.strip_accents = one["strip_accents"];
  spec.options.clean_text = one["clean_text"];
  spec.options.split_chinese_characters = one["split_chinese_characters"];
  return spec;
}

TEST(Tokenizer, GivesTheGoldenIdsOfHuggingFaceUnderAllOptionsWithAndWithoutMemory) {
  const Json all = golden();
  for (const Json& one : all["cases"]) {
    const Tokenizer tokenizer(golden_spec(all, one));
    Tokenizer::Scratch scratch;
    for (int round = 0; round < 2; ++round) {  // the second one finds its words in the cache
      for (size_t i = 0; i < all["texts"].size(); ++i) {
        const std::string text = all["texts"][i];
        Ids ids;
        tokenizer.encode(text, scratch, ids);
        EXPECT_EQ(ids, one["ids"][i].get<Ids>()) << one["name"] << ": " << text;
        EXPECT_EQ(encode(tokenizer, text), ids) << one["name"] << ": " << text;
      }
    }
  }
}

TEST(Tokenizer, CutsTheLongestTokenFromLeftToRight) {
  const Tokenizer tokenizer(small_spec());
  EXPECT_EQ(encode(tokenizer, "unaffable"), (Ids{5, 6, 7}));
  EXPECT_EQ(encode(tokenizer, "aaaaaaa"), (Ids{14, 9, 9, 9}));
  EXPECT_EQ(encode(tokenizer, "UNaffable,a中b"), (Ids{5, 6, 7, 13, 8, 12, 10}));
  EXPECT_EQ(encode(tokenizer, "unaffablex a"), (Ids{1, 8})) << "one part that cannot be spelt makes the whole word unknown";
}

TEST(Tokenizer, AppendsToIdsAndGivesNoneForEmptyText) {
  const Tokenizer tokenizer(small_spec());
  Ids ids{42};
  tokenizer.encode("", ids);
  tokenizer.encode(" \t", ids);
  tokenizer.encode("a", ids);
  EXPECT_EQ(ids, (Ids{42, 8}));
}

TEST(Tokenizer, RecognisesSpecialTokensOnlyAsWritten) {
  const Tokenizer tokenizer(small_spec());
  EXPECT_EQ(encode(tokenizer, "[SEP][CLS]a[MASK]"), (Ids{3, 2, 8, 4}));
  EXPECT_EQ(encode(tokenizer, "[sep]"), (Ids{1, 1, 1}));
  EXPECT_EQ(encode(tokenizer, "[[SEP]"), (Ids{1, 3}));
}

TEST(Tokenizer, PutsMarksIntoCanonicalOrder) {
  const Tokenizer tokenizer(small_spec());  // U+302A has class 218 and comes before U+302E with class 224
  EXPECT_EQ(encode(tokenizer, "a\u302E\u302A"), encode(tokenizer, "a\u302A\u302E"));
  EXPECT_NE(encode(tokenizer, "a\u302E"), encode(tokenizer, "a"));
}

TEST(Tokenizer, TakesTheAddedTokenThatBeginsFirstAndOfThoseTheLongest) {
  TokenizerSpec spec = small_spec();
  spec.added = {{"b", 10}, {"bun", 5}, {"abc", 8}};
  EXPECT_EQ(encode(Tokenizer(spec), "abun b"), (Ids{8, 5, 10}));
}

TEST(Tokenizer, WordsOverTheLimitAreUnknownAndCharactersCountNotBytes) {
  TokenizerSpec spec = small_spec();
  spec.options.max_characters_per_word = 4;
  spec.options.lower_case = spec.options.strip_accents = false;
  const Tokenizer tokenizer(spec);
  EXPECT_EQ(encode(tokenizer, "aaaa"), (Ids{14}));
  EXPECT_EQ(encode(tokenizer, "aaaaa"), (Ids{1}));
  EXPECT_EQ(encode(tokenizer, "éaaa"), (Ids{16, 9, 9, 9}));
  EXPECT_EQ(encode(tokenizer, "éaaaa"), (Ids{1}));
}

TEST(Tokenizer, BytesThatAreNotUtf8AreDroppedLikeTheReplacementCharacter) {
  const Tokenizer tokenizer(small_spec());
  for (const std::string bad : {"\xFF", "\xC3", "\xE4\xB8", "\xF0\x9F\x98", "\x80", "\xF4\x90\x80\x80", "\xC0\x80"})
    EXPECT_EQ(encode(tokenizer, "a" + bad), (Ids{8})) << "read past the end?";
  EXPECT_EQ(encode(tokenizer,
                   "a\xFF\xFE"
                   "a"),
            (Ids{8, 9}));
}

TEST(Tokenizer, WorkOnHostileTextsIsLinear) {
  const Tokenizer tokenizer(small_spec());
  const int mib = 1 << 20;
  const std::vector<std::pair<std::string, size_t>> texts = {
      {std::string(mib, 'a'), 1},  // one word far too long
      {std::string(26000, 'a'), 1},
      {repeat(repeat("a", 100) + " ", mib / 101), 25 * (mib / 101)},  // words just short enough, in the longest pieces
      {repeat("\u0301", 100000), 0},                                  // marks that are dropped
      {repeat("\u302E\u302A", 50000), 1},                             // marks that are kept, all out of order
      {repeat("a\u302E\u302A", 50000), 1},
      {std::string(mib, '['), mib},
      {repeat("[SEP", mib / 4), 2 * (mib / 4)},
      {repeat("[SEP]", mib / 4), mib / 4},
      {repeat("中", mib / 3), mib / 3},
      {repeat("각", 100000), 1},
  };
  Tokenizer::Scratch scratch;
  for (const auto& [text, count] : texts) {
    const int64_t before = scratch.steps();
    Ids ids;
    tokenizer.encode(text, scratch, ids);
    EXPECT_EQ(ids.size(), count) << text.substr(0, 12);
    EXPECT_LE(scratch.steps() - before, 3 * static_cast<int64_t>(text.size())) << text.substr(0, 12);
  }
}

TEST(Tokenizer, AllocatesNothingOnceItHasSeenSuchTexts) {
  const Tokenizer tokenizer(small_spec());
  Tokenizer::Scratch scratch;
  const std::string text = repeat("unaffable a\u302E\u302A é中 [SEP] 각 ", 100) + std::string(2000, 'x');
  Ids ids;
  tokenizer.encode(text, scratch, ids);
  const Ids first = ids;
  ids.clear();
  const uint64_t before = heap_allocations();
  tokenizer.encode(text, scratch, ids);
  EXPECT_EQ(heap_allocations() - before, 0u);
  EXPECT_EQ(ids, first);
}

TEST(Tokenizer, AScratchMayChangeBetweenTokenizers) {
  TokenizerSpec spec = small_spec();
  const Tokenizer one(spec);
  std::swap(spec.tokens[8], spec.tokens[10]);
  const Tokenizer other(spec);
  Tokenizer::Scratch scratch;
  for (int round = 0; round < 2; ++round) {
    Ids ids;
    one.encode("a b", scratch, ids);
    other.encode("a b", scratch, ids);
    EXPECT_EQ(ids, (Ids{8, 10, 10, 8}));
  }
}

TEST(Tokenizer, SeveralThreadsMayEncodeAtOnce) {
  const Tokenizer tokenizer(small_spec());
  const std::string text = repeat("unaffable a,b 中 é ", 2000);
  const Ids expected = encode(tokenizer, text);
  std::vector<Ids> found(4);
  std::vector<std::thread> threads;
  threads.reserve(found.size());
  for (Ids& ids : found)
    threads.emplace_back([&ids, &tokenizer, &text] {
      Tokenizer::Scratch scratch;
      tokenizer.encode(text, scratch, ids);
    });
  for (std::thread& thread : threads) thread.join();
  for (const Ids& ids : found) EXPECT_EQ(ids, expected);
}

TEST(Tokenizer, FingerprintDependsOnEverythingThatIdsDependOn) {
  const TokenizerSpec spec = small_spec();
  std::vector<TokenizerSpec> others(9, spec);
  others[0].options.lower_case = false;
  others[1].options.strip_accents = false;
  others[2].options.clean_text = false;
  others[3].options.split_chinese_characters = false;
  others[4].options.max_characters_per_word = 99;
  others[5].options.continuing_prefix = "@@";
  std::swap(others[6].tokens[8], others[6].tokens[9]);
  others[7].added.pop_back();
  others[8].unk = "a";
  const uint64_t fingerprint = Tokenizer(spec).fingerprint();
  EXPECT_EQ(Tokenizer(spec).fingerprint(), fingerprint);
  for (size_t i = 0; i < others.size(); ++i) EXPECT_NE(Tokenizer(others[i]).fingerprint(), fingerprint) << i;
}

/// Another kind of tokenizer: every byte is a token of its own, and those after a blank begin a word.
class Bytes final : public TokenizerKind {
 public:
  Bytes()
      : TokenizerKind(
            {.tokens = std::vector<std::string>(261), .cls = 256, .sep = 257, .pad = 258, .unk = 259, .mask = 260, .fingerprint = 7}) {}
  struct Count final : Memory {
    int64_t bytes = 0;
    int64_t steps() const override { return bytes; }
  };
  std::unique_ptr<Memory> make_memory(Remember) const override { return std::make_unique<Count>(); }
  void encode(std::string_view text, Memory& memory, std::vector<int32_t>& ids) const override {
    for (const char c : text) ids.push_back(static_cast<unsigned char>(c));
    static_cast<Count&>(memory).bytes += static_cast<int64_t>(text.size());
  }
  bool continues_word(int32_t id) const override { return id != ' '; }
  void write_files(int64_t, const std::filesystem::path&) const override {}
};

TEST(Tokenizer, MayBeOfAnotherKindAndAScratchMayChangeToIt) {
  const Tokenizer words(small_spec()), bytes(std::make_unique<Bytes>());
  Tokenizer::Scratch scratch;
  for (int round = 0; round < 2; ++round) {
    Ids ids;
    words.encode("a", scratch, ids);
    bytes.encode("a b", scratch, ids);
    EXPECT_EQ(ids, (Ids{8, 'a', ' ', 'b'}));
    EXPECT_EQ(scratch.steps(), 3);
  }
  EXPECT_EQ(encode(bytes, "z"), (Ids{'z'}));
  EXPECT_EQ(bytes.vocab_size(), 261);
  EXPECT_EQ(bytes.mask_id(), 260);
  EXPECT_TRUE(bytes.continues_word('a'));
}

}  // namespace
}  // namespace lodestone
