// SourceRules: what is special about a source, by its name and by the configuration.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lodestone {

/// What the configuration says about the sources whose name matches; what it does not say stays as it was.
struct SourceRule {
  std::string match;                         // a source's name, in which * stands for any text
  std::optional<int64_t> repeat{};           // the source counts as so many data sets of its rows, each with epochs of its own
  std::optional<double> share{};             // of all batches, so many come from the sources matched, together
  std::optional<int64_t> max_rows{};         // a source with more rows keeps so many, drawn once by the seed
  std::optional<bool> half_batch{};          // its batches have half the rows
  std::optional<bool> prompt_on_passages{};  // its passages get the prompt of their query
  std::optional<bool> in_batch_negatives{};  // other queries' passages are negatives
  std::optional<int64_t> group{};            // passages of its queries, where the task has more
};

struct SourceTraits {
  int64_t repeat = 1;
  int32_t share = -1;     // the rule that gives its share; -1: none
  int64_t max_rows = -1;  // -1: all
  int64_t group = 0;      // 0: as many as the task has
  bool half_batch = false, prompt_on_passages = false, in_batch_negatives = true;
};

/// Whether a name is what the pattern says, * standing for any text.
bool matches(std::string_view pattern, std::string_view name);
/// Whether it is what one of them says. Without patterns every name is.
bool selects(std::span<const std::string> patterns, std::string_view name);

/// The traits of a source. Its name, FILE or FILE/TYPE, gives the first word (by the conventions of FlagEmbedding): a FILE that contains
/// no_in_batch_neg has no in-batch negatives, nor has a TYPE cls_contrast (piccolo2's); of a TYPE that contains "symmetric" batches have
/// half the rows; symmetric_sts and symmetric_clustering have prompts on passages; queries of an only_1neg have one negative. Then the
/// rules apply, in order: later ones win.
SourceTraits traits_of(std::string_view name, std::span<const SourceRule> rules);

/// Throws Error (usage): impossible values; a rule that matches none of the names; a share whose sources all follow other rules;
/// shares of 1 or more in all where other sources are left, or of other than 1 where none is.
void require_valid(std::span<const SourceRule> rules, std::span<const std::string_view> names);

/// Passages of a query of a source whose traits say `own`, where a task has `group`.
inline int64_t group_within(int64_t own, int64_t group) { return own == 0 ? group : std::min(own, group); }
/// Passages of a query of each source, in the order of the names, where a task has `group`. Empty: that many everywhere.
std::vector<int64_t> source_groups(std::span<const std::string_view> names, std::span<const SourceRule> rules, int64_t group);

/// The prompt flag of each source, in the order of the names: what Framing::prompted_sources takes.
std::vector<uint8_t> prompted_sources(std::span<const std::string_view> names, std::span<const SourceRule> rules);

}  // namespace lodestone
