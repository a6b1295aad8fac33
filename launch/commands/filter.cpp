// lodestone filter: JSON lines in, those of them out that no rule drops.
#include <limits>

#include "data/cleaning/rules.h"
#include "launch/command.h"
#include "launch/commands/cleaned.h"

namespace lodestone {

const char* const filter_usage =
    R"(usage: lodestone filter IN.jsonl[.gz] --output OUT.jsonl[.gz] [options]

Copies the rows that no rule drops, byte for byte and in their order. A row is counted for the first rule that drops it: rules are asked
in the order of this list, which is that of Conan-embedding's pipeline. A rule on texts holds for each text of a row.

language
  --script NAME:SHARE   at least so much of a text's letters are of the script: han, kana, hangul, latin, cyrillic, greek, arabic,
                        hebrew, devanagari or thai
rules
  --rules A,B           empty: texts of white space; same_texts: a positive that is the query
  --min-chars N         characters of a text, at least
  --max-chars N         and at most
  --max-special SHARE   at most so much of a text, white space left out, is neither letter nor digit
  --max-digits SHARE    at most so much of it is digits
  --max-repeated-lines SHARE  at most so much of its lines stood in it before
safety
  --blocked-domains FILE  one domain a line, with all hosts below it; in texts, and in the field that --url-field NAME names
  --blocked-words FILE  one word or phrase a line, found as whole words in any capitals
  --at-most FIELD:X,... scores of classifiers for what nobody wants: rows above X are dropped
quality
  --at-least FIELD:X,...  scores of classifiers for what is wanted: rows below X are dropped
score of the pair
  --score FIELD         the field of the score
  --min X               rows below X are dropped, X itself is kept
  --preset NAME         in place of --min: conan (0.4) or bge (0.43)

  --missing POLICY      a row without a score's field: refuse, keep or drop (default refuse)
)";

namespace {

constexpr double lowest = std::numeric_limits<double>::lowest(), highest = std::numeric_limits<double>::max();

/// Thresholds of published systems.
enum class ScorePreset : uint8_t { conan, bge };
constexpr std::string_view name_of(ScorePreset value) {
  switch (value) {
    case ScorePreset::conan:
      return "conan";
    case ScorePreset::bge:
      return "bge";
  }
  return {};
}
const char* threshold_of(ScorePreset value) {
  switch (value) {
    case ScorePreset::conan:
      return "0.4";  // cosine of bge-large-zh-v1.5
    case ScorePreset::bge:
      return "0.43";  // cosine of Text2Vec-Chinese
  }
  throw_internal(__FILE__, __LINE__, "value", "no such preset");
}

/// NAME:X of the option `name`, cut at the last colon.
std::pair<std::string, std::string> name_and_number(const Options& given, const std::string& name, const std::string& text) {
  const size_t colon = text.rfind(':');
  if (colon == std::string::npos || colon == 0) given.refuse(cat(name, " is ", text, ", not NAME:NUMBER"));
  return {text.substr(0, colon), text.substr(colon + 1)};
}

struct ScriptShare {
  Script script = Script::none;
  double least = 0;
};

ScriptShare script_share(const Options& given) {
  if (!given.has("--script")) return {};
  const auto [name, share] = name_and_number(given, "--script", given.text("--script", ""));
  const double least = given.number_in("--script", share, 0, 1);
  std::string all;
  for (const Script script : values_of<Script>()) {
    if (script == Script::none) continue;
    if (name_of(script) == name) return {script, least};
    all += cat(all.empty() ? "" : ", ", name_of(script));
  }
  given.refuse(cat("--script names ", name, ", not one of ", all));
}

void add_text_rules(const Options& given, Rules& rules) {
  for (const std::string& name : given.list("--rules")) {
    if (name != "empty" && name != "same_texts") given.refuse(cat("--rules names ", name, ", not one of empty, same_texts"));
    rules.add(name == "empty" ? empty_rule() : same_texts_rule());
  }
  if (given.has("--min-chars")) rules.add(min_characters_rule(given.integer("--min-chars", 0, 0)));
  if (given.has("--max-chars")) rules.add(max_characters_rule(given.integer("--max-chars", 0, 0)));
  if (given.has("--max-special")) rules.add(special_characters_rule(given.number("--max-special", 1, 0, 1)));
  if (given.has("--max-digits")) rules.add(digits_rule(given.number("--max-digits", 1, 0, 1)));
  if (given.has("--max-repeated-lines")) rules.add(repeated_lines_rule(given.number("--max-repeated-lines", 1, 0, 1)));
}

void add_block_lists(const Options& given, Rules& rules) {
  const std::string url_field = given.text("--url-field", "");
  if (!url_field.empty() && !given.has("--blocked-domains")) given.refuse("--url-field is for --blocked-domains");
  if (given.has("--blocked-domains"))
    rules.add(blocked_domains_rule(std::make_shared<DomainList>(given.text("--blocked-domains", "")), url_field));
  if (given.has("--blocked-words"))
    rules.add(blocked_words_rule(std::make_shared<WordList>(given.text("--blocked-words", ""), rules.letters())));
}

void add_score_rules(const Options& given, Rules& rules) {
  const Missing missing = given.choice("--missing", Missing::refuse);
  const auto add = [&](Stage stage, Limit limit, const std::string& option, const std::string& field, const std::string& value) {
    for (RowRule& rule : score_rules(stage, field, limit, given.number_in(option, value, lowest, highest), value, missing))
      rules.add(std::move(rule));
  };
  const auto add_list = [&](Stage stage, Limit limit, const std::string& option) {
    for (const std::string& part : given.list(option)) {
      const auto [field, value] = name_and_number(given, option, part);
      add(stage, limit, option, field, value);
    }
  };
  add_list(Stage::safety, Limit::most, "--at-most");
  add_list(Stage::quality, Limit::least, "--at-least");
  const bool preset = given.has("--preset");
  if (preset && given.has("--min")) given.refuse("--preset and --min both give the threshold: leave one out");
  if (given.has("--score") != (preset || given.has("--min"))) given.refuse("--score FIELD and --min X, or --preset, belong together");
  if (!given.has("--score")) return;
  const std::string value = preset ? threshold_of(given.choice("--preset", ScorePreset::conan)) : given.text("--min", "");
  add(Stage::score, Limit::least, "--min", given.text("--score", ""), value);
}

Rules rules_of(const Options& given) {
  const ScriptShare script = script_share(given);
  Rules rules(TextFields(given.list("--fields")), script.script);
  if (script.script != Script::none) rules.add(script_rule(script.least));
  add_text_rules(given, rules);
  add_block_lists(given, rules);
  add_score_rules(given, rules);
  if (rules.empty()) given.refuse("no rule is given");
  return rules;
}

}  // namespace

int run_filter(World& world, std::span<const std::string> arguments) {
  std::vector<std::string> names = cleaning_option_names();
  names.insert(names.end(), {"--script", "--rules", "--min-chars", "--max-chars", "--max-special", "--max-digits", "--max-repeated-lines",
                             "--blocked-domains", "--url-field", "--blocked-words", "--at-most", "--at-least", "--score", "--min",
                             "--preset", "--missing"});
  const Options given(arguments, "filter", names);
  if (given.positional().size() != 1) given.refuse("give one input");
  Rules rules = rules_of(given);
  Cleaning cleaning(world, given, "filter", arguments);
  std::vector<std::string> reasons = rules.reasons();
  if (cleaning.settings().allowed_bad_rows > 0) reasons.insert(reasons.begin(), std::string(bad_row_reason));
  Tally tally(std::move(reasons));
  LineWriter kept(cleaning.out());
  cleaning.run(
      [&](std::span<const Field> fields) {
        return RowVerdict{rules.judge(fields), {}};
      },
      tally, [&](size_t) -> LineWriter& { return kept; });
  kept.publish();
  cleaning.finish_side_files(tally, OrderedJson::object());
  cleaning.print_summary(tally);
  return static_cast<int>(ExitCode::finished);
}

}  // namespace lodestone
