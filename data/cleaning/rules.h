// Rules: which rows are not kept, and why? In the published order of stages.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data/cleaning/block_list.h"
#include "data/cleaning/letters.h"
#include "data/cleaning/row_texts.h"

namespace lodestone {

/// The stages of Conan-embedding's pipeline, in its order: language, heuristic rules, safety, quality, and the score of the pair at last.
/// (Near-duplicates go between rules and safety: data/cleaning/dedup.h.)
enum class Stage : uint8_t { language, heuristics, safety, quality, score };

/// Characters (code points) of a text, by kind.
struct CharacterCounts {
  int64_t characters = 0, letters = 0, digits = 0, spaces = 0, others = 0, of_script = 0;
};
CharacterCounts count_characters(const Letters& letters, std::string_view text, Script script);

/// The share of a text's lines, blank ones left out, that stood in it before. 0 without lines.
double repeated_lines(std::string_view text);

/// A row as rules see it. texts and counts, one for each text, are empty unless a rule asks for them.
struct JudgedRow {
  std::span<const Field> fields;
  std::span<const RowText> texts;
  std::span<const CharacterCounts> counts;
};

/// What a rule reads.
enum class Reads : uint8_t { fields, texts, counts };

struct RowRule {
  Stage stage;
  std::string reason;  // what a row is dropped for, in reports
  Reads reads;
  std::function<bool(const JudgedRow&)> drops;
};

/// What becomes of a row that lacks a score's field.
enum class Missing : uint8_t { refuse, keep, drop };
constexpr std::string_view name_of(Missing value) {
  switch (value) {
    case Missing::refuse:
      return "refuse";
    case Missing::keep:
      return "keep";
    case Missing::drop:
      return "drop";
  }
  return {};
}

/// Which side of a limit is dropped. A score that equals the limit is kept by both.
enum class Limit : uint8_t { least, most };

// Each rule holds for every text of a row, unless it says otherwise.

/// Texts in which less than `least` of the letters are of the script; those without letters have a share of 0.
RowRule script_rule(double least);
/// Texts of white space alone.
RowRule empty_rule();
/// Rows of which a positive is the query, but for white space at the ends.
RowRule same_texts_rule();
/// Texts of fewer or more characters.
RowRule min_characters_rule(int64_t least);
RowRule max_characters_rule(int64_t most);
/// Texts of which more than `most` of the characters that are not white space are neither letters nor digits; or are digits.
RowRule special_characters_rule(double most);
RowRule digits_rule(double most);
/// Texts of which more than `most` of the lines stood in them before.
RowRule repeated_lines_rule(double most);
/// Rows with a host of the list in a text or in the field `url_field` (empty: none).
RowRule blocked_domains_rule(std::shared_ptr<DomainList> list, std::string url_field);
RowRule blocked_words_rule(std::shared_ptr<WordList> list);
/// Rows whose number in the field is below or above the limit; `shown` is the limit as it is to be printed. What holds no number is an
/// Error (data, F30), as is, with Missing::refuse, a row without the field; with Missing::drop it is dropped for "no FIELD".
std::vector<RowRule> score_rules(Stage stage, const std::string& field, Limit limit, double value, const std::string& shown,
                                 Missing missing);

/// All rules of a run.
class Rules {
 public:
  /// script: whose letters are counted for script_rule().
  Rules(TextFields texts, Script script) : text_fields_(std::move(texts)), script_(script) {}
  /// Behind those of its stage and of earlier ones, before those of later ones.
  void add(RowRule rule);
  bool empty() const { return rules_.empty(); }
  /// All reasons, in the order in which rules are asked.
  std::vector<std::string> reasons() const;
  /// The reason of the first rule that drops the row; empty: none does. Throws Error (data, F30).
  std::string_view judge(std::span<const Field> fields);
  const Letters& letters();

 private:
  TextFields text_fields_;
  Script script_;
  std::optional<Letters> letters_;
  std::vector<RowRule> rules_;
  Reads reads_ = Reads::fields;  // the most that a rule reads
  std::vector<RowText> texts_;
  std::vector<CharacterCounts> counts_;
};

}  // namespace lodestone
