// Does every rule drop what it says, at its limit and not beside it, and in the published order?
#include "data/cleaning/rules.h"

#include <gtest/gtest.h>

#include "data/files/strict_json.h"
#include "data/records/jsonl.h"
#include "tests/support/temp_dir.h"
#include "tests/support/text_file.h"

namespace lodestone {
namespace {

using test::TempDir;
using test::write_text;

class CleaningRules : public ::testing::Test {
 protected:
  /// The reason of a row, which is given as JSON; "kept" without one, and an error's code and words.
  std::string reason(Rules& rules, const std::string& row) {
    JsonLines lines(LineReader::whole(write_text(dir_ / "row.jsonl", row + "\n")));
    if (!lines.next()) return "no row";
    try {
      const std::string_view reason = rules.judge(lines.fields());
      return reason.empty() ? "kept" : std::string(reason);
    } catch (const Error& error) {
      return cat(error.code(), ' ', error.what());
    }
  }
  static Rules rules_of(std::vector<RowRule> all, Script script = Script::none, std::vector<std::string> fields = {}) {
    Rules rules(TextFields(std::move(fields)), script);
    for (RowRule& rule : all) rules.add(std::move(rule));
    return rules;
  }
  /// The reason of a pair of texts.
  std::string of_pair(Rules rules, const std::string& query, const std::string& positive) {
    return reason(rules, Json{{"query", query}, {"pos", {positive}}}.dump());
  }
  TempDir dir_;
};

TEST_F(CleaningRules, AScoreAtTheThresholdIsKeptAndOneBelowIsDropped) {
  Rules conan = rules_of(score_rules(Stage::score, "s", Limit::least, 0.4, "0.4", Missing::refuse));
  EXPECT_EQ(reason(conan, R"({"s": 0.3999})"), "s < 0.4");
  EXPECT_EQ(reason(conan, R"({"s": 0.4})"), "kept");
  EXPECT_EQ(reason(conan, R"({"s": 0.39999999999999997})"), "s < 0.4") << "the number before 0.4 in double precision";
  EXPECT_EQ(reason(conan, R"({"s": 4e-1})"), "kept");
  EXPECT_EQ(reason(conan, R"({"s": 1})"), "kept");
  Rules bge = rules_of(score_rules(Stage::score, "s", Limit::least, 0.43, "0.43", Missing::refuse));
  EXPECT_EQ(reason(bge, R"({"s": 0.4299})"), "s < 0.43");
  EXPECT_EQ(reason(bge, R"({"s": 0.43})"), "kept");
  Rules most = rules_of(score_rules(Stage::safety, "toxic", Limit::most, 0.5, "0.5", Missing::refuse));
  EXPECT_EQ(reason(most, R"({"toxic": 0.5})"), "kept");
  EXPECT_EQ(reason(most, R"({"toxic": 0.501})"), "toxic > 0.5");
}

TEST_F(CleaningRules, ARowWithoutAScoreIsRefusedKeptOrDropped) {
  const auto rules = [](Missing missing) { return rules_of(score_rules(Stage::score, "s", Limit::least, 0.4, "0.4", missing)); };
  Rules refusing = rules(Missing::refuse), keeping = rules(Missing::keep), dropping = rules(Missing::drop);
  for (const std::string row : {R"({"a": 1, "b": 2})", R"({"a": 1, "b": 2, "s": null})"}) {
    EXPECT_EQ(reason(refusing, row).substr(0, 30), "F30 the row has no field s; it");
    EXPECT_EQ(reason(keeping, row), "kept");
    EXPECT_EQ(reason(dropping, row), "no s");
  }
  for (Rules* all : {&refusing, &keeping, &dropping}) {
    EXPECT_EQ(reason(*all, R"({"s": "0.5"})"), "F30 not a number");
    EXPECT_EQ(reason(*all, R"({"s": 0.1})"), "s < 0.4");
  }
}

TEST_F(CleaningRules, LengthsAreCountedInCharacters) {
  EXPECT_EQ(of_pair(rules_of({min_characters_rule(4)}), "四个字符", "four"), "kept");
  EXPECT_EQ(of_pair(rules_of({min_characters_rule(4)}), "四个字符", "fou"), "min_chars");
  EXPECT_EQ(of_pair(rules_of({max_characters_rule(4)}), "四个字符", "äöüß"), "kept");
  EXPECT_EQ(of_pair(rules_of({max_characters_rule(4)}), "四个字符", "äöüß!"), "max_chars");
}

TEST_F(CleaningRules, SpecialCharactersAndDigitsAreSharesOfWhatIsNotWhiteSpace) {
  // Of "ab !?" two of four are special, of "a1 22" three of four digits.
  EXPECT_EQ(of_pair(rules_of({special_characters_rule(0.5)}), "ab !?", "ab"), "kept");
  EXPECT_EQ(of_pair(rules_of({special_characters_rule(0.49)}), "ab !?", "ab"), "max_special");
  EXPECT_EQ(of_pair(rules_of({special_characters_rule(0)}), "naïve 北京 हिन्दी 12", "ab"), "kept") << "marks are parts of letters";
  EXPECT_EQ(of_pair(rules_of({digits_rule(0.75)}), "a1 22", "ab"), "kept");
  EXPECT_EQ(of_pair(rules_of({digits_rule(0.74)}), "ab", "a1 22"), "max_digits");
}

TEST_F(CleaningRules, RepeatedLinesAreThoseThatStoodBefore) {
  EXPECT_EQ(repeated_lines(""), 0);
  EXPECT_EQ(repeated_lines("a\nb\n\nc"), 0);
  EXPECT_EQ(repeated_lines("a\nb\n\n a \nc"), 0.25) << "blank lines and white space at the ends do not count";
  EXPECT_EQ(repeated_lines("a\r\na\r\na\r\na"), 0.75);
  EXPECT_EQ(of_pair(rules_of({repeated_lines_rule(0.25)}), "a\nb\na\nc", "x"), "kept");
  EXPECT_EQ(of_pair(rules_of({repeated_lines_rule(0.24)}), "a\nb\na\nc", "x"), "max_repeated_lines");
}

TEST_F(CleaningRules, EmptyTextsAndPositivesThatAreTheQueryAreDropped) {
  EXPECT_EQ(of_pair(rules_of({empty_rule()}), "a", " \n\t"), "empty");
  EXPECT_EQ(of_pair(rules_of({empty_rule()}), "a", " b"), "kept");
  EXPECT_EQ(of_pair(rules_of({same_texts_rule()}), "a b", " a b\n"), "same_texts");
  EXPECT_EQ(of_pair(rules_of({same_texts_rule()}), "a b", "a c"), "kept");
  Rules rules = rules_of({same_texts_rule()});
  EXPECT_EQ(reason(rules, R"({"query": "q", "pos": ["p", "q"]})"), "same_texts") << "any positive";
  EXPECT_EQ(reason(rules, R"({"query": "q", "pos": ["p"], "neg": ["q"]})"), "kept") << "a negative may be";
}

TEST_F(CleaningRules, AScriptIsAShareOfTheLetters) {
  const auto han = [](double least) { return rules_of({script_rule(least)}, Script::han); };
  EXPECT_EQ(of_pair(han(0.5), "北京 ab 12 !!", "北京"), "kept") << "two of four letters";
  EXPECT_EQ(of_pair(han(0.51), "北京 ab", "北京"), "script");
  EXPECT_EQ(of_pair(han(0.1), "北京", "12 !!"), "script") << "no letters";
  const std::pair<Script, std::string> texts[] = {
      {Script::kana, "ひらがなカタカナ"}, {Script::hangul, "한국어"},  {Script::latin, "Größe ﬁ Ｗ"}, {Script::cyrillic, "Москва"},
      {Script::greek, "Ἀθῆναι"},          {Script::arabic, "العربية"}, {Script::hebrew, "עברית"},     {Script::devanagari, "हिन्दी"},
      {Script::thai, "ภาษาไทย"},          {Script::han, "々汉漢𠀀"}};
  const Letters letters;
  for (const auto& [script, text] : texts)
    for (const auto& [other, unused] : texts) {
      const CharacterCounts counts = count_characters(letters, text, other);
      EXPECT_EQ(counts.of_script, script == other ? counts.letters : 0) << text << " as " << name_of(other);
    }
}

TEST_F(CleaningRules, BlockedDomainsAreFoundInTextsAndInTheirField) {
  const auto list = std::make_shared<DomainList>(write_text(dir_ / "domains", "bad.example\n\n*.Worse.example\n"));
  Rules rules = rules_of({blocked_domains_rule(list, "url")});
  for (const std::string text : {"see https://www.BAD.example/a?b=c.", "at bad.example:80", "It is bad.example.", "请看www.bad.example网站",
                                 "a.b.worse.example", "x@bad.example"})
    EXPECT_EQ(reason(rules, Json{{"query", "q"}, {"pos", {"p", text}}}.dump()), "blocked_domain") << text;
  for (const std::string text : {"notbad.example", "bad.example.org", "bad example", "bad-example", "example", "3.14 and so on ..."})
    EXPECT_EQ(reason(rules, Json{{"query", text}, {"pos", {"p"}}}.dump()), "kept") << text;
  EXPECT_EQ(reason(rules, R"({"query": "q", "pos": "p", "url": "http://bad.example"})"), "blocked_domain");
  EXPECT_EQ(reason(rules, R"({"query": "q", "pos": "p", "url": null})"), "kept");
  EXPECT_THROW(DomainList(write_text(dir_ / "bad", "a.example\nhttp://b.example\n")), Error);
}

TEST_F(CleaningRules, BlockedWordsAreWholeWordsAndPhrases) {
  const Letters letters;
  const auto list = std::make_shared<WordList>(write_text(dir_ / "words", "Casino\nfree  money\n赌博\n"), letters);
  Rules rules = rules_of({blocked_words_rule(list)});
  for (const std::string text : {"a CASINO!", "get free\nmoney now", "Free-money", "在线赌博网站", "«casino»"})
    EXPECT_EQ(reason(rules, Json{{"query", "q"}, {"pos", {text}}}.dump()), "blocked_word") << text;
  for (const std::string text : {"casinos", "free of money", "赌 a 博", "money free", ""})
    EXPECT_EQ(reason(rules, Json{{"query", "q"}, {"pos", {text}}}.dump()), "kept") << text;
  EXPECT_THROW(WordList(write_text(dir_ / "bad", "a\n+++\n"), letters), Error);
}

TEST_F(CleaningRules, AreAskedInThePublishedOrderOfStages) {
  const auto list = std::make_shared<DomainList>(write_text(dir_ / "domains", "bad.example\n"));
  std::vector<RowRule> all = score_rules(Stage::score, "s", Limit::least, 0.4, "0.4", Missing::refuse);
  all.push_back(score_rules(Stage::quality, "fluent", Limit::least, 0.5, "0.5", Missing::refuse)[0]);
  all.push_back(blocked_domains_rule(list, ""));
  all.push_back(min_characters_rule(3));
  all.push_back(script_rule(0.5));
  Rules rules = rules_of(std::move(all), Script::latin);
  EXPECT_EQ(rules.reasons(), (std::vector<std::string>{"script", "min_chars", "blocked_domain", "fluent < 0.5", "s < 0.4"}));
  const std::pair<std::string, std::string> rows[] = {
      {R"({"query": "北", "pos": "bad.example", "fluent": 0, "s": 0})", "script"},
      {R"({"query": "q", "pos": "bad.example", "fluent": 0, "s": 0})", "min_chars"},
      {R"({"query": "query", "pos": "bad.example", "fluent": 0, "s": 0})", "blocked_domain"},
      {R"({"query": "query", "pos": "good", "fluent": 0, "s": 0})", "fluent < 0.5"},
      {R"({"query": "query", "pos": "good", "fluent": 1, "s": 0})", "s < 0.4"},
      {R"({"query": "query", "pos": "good", "fluent": 1, "s": 1})", "kept"}};
  for (const auto& [row, expected] : rows) EXPECT_EQ(reason(rules, row), expected);
}

TEST_F(CleaningRules, ReadTheTextsThatTrainingReadsOrNamedOnes) {
  Rules rules = rules_of({min_characters_rule(3)});
  EXPECT_EQ(reason(rules, R"({"text": "long", "text_pos": "longer", "title": "t"})"), "kept") << "other fields are no texts";
  EXPECT_EQ(reason(rules, R"({"anchor": "long", "positive": "longer", "negative_1": "ok?", "negative_2": "no"})"), "min_chars");
  EXPECT_EQ(reason(rules, R"({"title": "t", "body": "b"})"), "F30 the row names no query");
  EXPECT_EQ(reason(rules, R"({"query": "q", "text": "t"})"), "F30 two names for one part of a row: query and text");
  EXPECT_EQ(reason(rules, R"({"query": "long", "pos": 3})"), "F30 neither a text nor a list of texts");
  Rules named = rules_of({same_texts_rule(), min_characters_rule(3)}, Script::none, {"title", "body"});
  EXPECT_EQ(reason(named, R"({"title": "long", "body": "longer", "query": "q"})"), "kept");
  EXPECT_EQ(reason(named, R"({"title": "long", "body": "long"})"), "same_texts");
  EXPECT_EQ(reason(named, R"({"title": "long"})"), "F30 the row has no field body; it has title");
}

}  // namespace
}  // namespace lodestone
