#include "data/cleaning/rules.h"

#include <algorithm>
#include <unordered_set>

namespace lodestone {

namespace {

constexpr std::string_view blanks = " \t\r\n\f\v";

std::string_view trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(blanks);
  return begin == std::string_view::npos ? std::string_view{} : text.substr(begin, text.find_last_not_of(blanks) - begin + 1);
}

/// part / whole, 0 of nothing.
double share(int64_t part, int64_t whole) { return whole == 0 ? 0.0 : static_cast<double>(part) / static_cast<double>(whole); }

/// A rule that drops a row for one of its texts.
RowRule text_rule(std::string reason, std::function<bool(std::string_view)> drops) {
  return {Stage::heuristics, std::move(reason), Reads::texts, [drops = std::move(drops)](const JudgedRow& row) {
            return std::any_of(row.texts.begin(), row.texts.end(), [&](const RowText& t) { return drops(t.text); });
          }};
}

RowRule count_rule(Stage stage, std::string reason, std::function<bool(const CharacterCounts&)> drops) {
  return {stage, std::move(reason), Reads::counts,
          [drops = std::move(drops)](const JudgedRow& row) { return std::any_of(row.counts.begin(), row.counts.end(), drops); }};
}

/// A row's number in a field. Nothing: the row lacks the field.
std::optional<double> number_in(std::span<const Field> fields, const std::string& name) {
  const Field* const field = find_field(fields, name);
  if (field == nullptr) return std::nullopt;
  if (field->kind != Field::Kind::number)
    throw Error(ExitCode::data, "F30", "not a number", "correct the row, or name another field").at("field", name);
  return field->numbers[0];
}

}  // namespace

CharacterCounts count_characters(const Letters& letters, std::string_view text, Script script) {
  CharacterCounts counts;
  const char* const end = text.data() + text.size();
  for (const char* p = text.data(); p < end;) {
    const Decoded next = decode_utf8(p, end);
    p += next.length;
    const Letters::Letter letter = letters.at(next.c);
    const CharacterKind kind = letter.kind();
    ++counts.characters;
    counts.letters += kind == CharacterKind::letter;
    counts.digits += kind == CharacterKind::digit;
    counts.spaces += kind == CharacterKind::space;
    counts.others += kind == CharacterKind::other;
    counts.of_script += script != Script::none && letter.script() == script;
  }
  return counts;
}

double repeated_lines(std::string_view text) {
  std::unordered_set<std::string_view> seen;
  int64_t lines = 0, repeated = 0;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = trimmed(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.empty()) continue;
    ++lines;
    repeated += !seen.insert(line).second;
  }
  return share(repeated, lines);
}

RowRule script_rule(double least) {
  return count_rule(Stage::language, "script", [least](const CharacterCounts& c) { return share(c.of_script, c.letters) < least; });
}

RowRule empty_rule() {
  return text_rule("empty", [](std::string_view text) { return trimmed(text).empty(); });
}

RowRule same_texts_rule() {
  return {Stage::heuristics, "same_texts", Reads::texts, [](const JudgedRow& row) {
            for (const RowText& query : row.texts)
              for (const RowText& other : row.texts)
                if (query.part == RecordPart::query && other.part == RecordPart::positive && trimmed(query.text) == trimmed(other.text))
                  return true;
            return false;
          }};
}

RowRule min_characters_rule(int64_t least) {
  return count_rule(Stage::heuristics, "min_chars", [least](const CharacterCounts& c) { return c.characters < least; });
}

RowRule max_characters_rule(int64_t most) {
  return count_rule(Stage::heuristics, "max_chars", [most](const CharacterCounts& c) { return c.characters > most; });
}

RowRule special_characters_rule(double most) {
  return count_rule(Stage::heuristics, "max_special",
                    [most](const CharacterCounts& c) { return share(c.others, c.characters - c.spaces) > most; });
}

RowRule digits_rule(double most) {
  return count_rule(Stage::heuristics, "max_digits",
                    [most](const CharacterCounts& c) { return share(c.digits, c.characters - c.spaces) > most; });
}

RowRule repeated_lines_rule(double most) {
  return text_rule("max_repeated_lines", [most](std::string_view text) { return repeated_lines(text) > most; });
}

RowRule blocked_domains_rule(std::shared_ptr<DomainList> list, std::string url_field) {
  return {Stage::safety, "blocked_domain", Reads::texts, [list = std::move(list), url_field = std::move(url_field)](const JudgedRow& row) {
            const Field* const url = url_field.empty() ? nullptr : find_field(row.fields, url_field);
            if (url != nullptr && std::any_of(url->texts.begin(), url->texts.end(), [&](std::string_view t) { return list->found_in(t); }))
              return true;
            return std::any_of(row.texts.begin(), row.texts.end(), [&](const RowText& t) { return list->found_in(t.text); });
          }};
}

RowRule blocked_words_rule(std::shared_ptr<WordList> list) {
  RowRule rule = text_rule("blocked_word", [list = std::move(list)](std::string_view text) { return list->found_in(text); });
  rule.stage = Stage::safety;
  return rule;
}

std::vector<RowRule> score_rules(Stage stage, const std::string& field, Limit limit, double value, const std::string& shown,
                                 Missing missing) {
  std::vector<RowRule> rules;
  if (missing == Missing::drop)
    rules.push_back(
        {stage, "no " + field, Reads::fields, [field](const JudgedRow& row) { return find_field(row.fields, field) == nullptr; }});
  rules.push_back({stage, cat(field, limit == Limit::least ? " < " : " > ", shown), Reads::fields,
                   [field, limit, value, missing](const JudgedRow& row) {
                     const std::optional<double> score = number_in(row.fields, field);
                     if (!score && missing == Missing::refuse)
                       throw missing_field(row.fields, field, "score the row, or give --missing keep or --missing drop");
                     if (!score) return false;
                     return limit == Limit::least ? *score < value : *score > value;
                   }});
  return rules;
}

void Rules::add(RowRule rule) {
  reads_ = std::max(reads_, rule.reads);
  const auto behind = std::upper_bound(rules_.begin(), rules_.end(), rule.stage, [](Stage s, const RowRule& r) { return s < r.stage; });
  rules_.insert(behind, std::move(rule));
}

std::vector<std::string> Rules::reasons() const {
  std::vector<std::string> all;
  all.reserve(rules_.size());
  for (const RowRule& rule : rules_) all.push_back(rule.reason);
  return all;
}

const Letters& Rules::letters() {
  if (!letters_) letters_.emplace();
  return *letters_;
}

std::string_view Rules::judge(std::span<const Field> fields) {
  if (reads_ != Reads::fields) text_fields_.read(fields, texts_);
  if (reads_ == Reads::counts) {
    counts_.clear();
    for (const RowText& text : texts_) counts_.push_back(count_characters(letters(), text.text, script_));
  }
  const JudgedRow row{fields, texts_, counts_};
  for (const RowRule& rule : rules_)
    if (rule.drops(row)) return rule.reason;
  return {};
}

}  // namespace lodestone
