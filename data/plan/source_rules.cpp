// How names and rules become the traits of a source.
#include "data/plan/source_rules.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/error.h"

namespace lodestone {
namespace {

Error bad_rule(const SourceRule& rule, const std::string& what, std::string remedy) {
  return Error(ExitCode::usage, "sources", cat("the rule for sources \"", rule.match, "\" ", what), std::move(remedy));
}

void require_values(const SourceRule& rule) {
  if (rule.match.empty()) throw bad_rule(rule, "names no source", "give match a source's name, or a pattern with *");
  if (rule.repeat && *rule.repeat < 1) throw bad_rule(rule, cat("repeats them ", *rule.repeat, " times"), "give repeat at least 1");
  if (rule.repeat && *rule.repeat > 1000) throw bad_rule(rule, cat("repeats them ", *rule.repeat, " times"), "give repeat at most 1000");
  if (rule.share && !(*rule.share > 0 && *rule.share <= 1))
    throw bad_rule(rule, cat("gives a share of ", *rule.share), "give share a number above 0, at most 1");
  if (rule.max_rows && *rule.max_rows < 1) throw bad_rule(rule, cat("keeps ", *rule.max_rows, " rows"), "give max_rows at least 1");
  if (rule.group && *rule.group < 1)
    throw bad_rule(rule, cat("gives queries ", *rule.group, " passages"), "give group_size at least 1: the positive");
}

}  // namespace

bool matches(std::string_view pattern, std::string_view name) {
  const size_t star = pattern.find('*');
  if (star == std::string_view::npos) return pattern == name;
  if (!name.starts_with(pattern.substr(0, star))) return false;
  pattern.remove_prefix(star + 1);
  name.remove_prefix(star);
  for (size_t skipped = 0; skipped <= name.size(); ++skipped) {
    if (matches(pattern, name.substr(skipped))) return true;
  }
  return false;
}

bool selects(std::span<const std::string> patterns, std::string_view name) {
  return patterns.empty() ||
         std::any_of(patterns.begin(), patterns.end(), [&](const std::string& pattern) { return matches(pattern, name); });
}

SourceTraits traits_of(std::string_view name, std::span<const SourceRule> rules) {
  const size_t slash = name.rfind('/');
  const std::string_view type = slash == std::string_view::npos ? std::string_view{} : name.substr(slash + 1);
  SourceTraits traits;
  traits.in_batch_negatives = name.find("no_in_batch_neg") == std::string_view::npos && type != "cls_contrast";
  traits.half_batch = type.find("symmetric") != std::string_view::npos;
  traits.prompt_on_passages = type == "symmetric_sts" || type == "symmetric_clustering";
  if (type == "only_1neg") traits.group = 2;
  for (size_t r = 0; r < rules.size(); ++r) {
    const SourceRule& rule = rules[r];
    if (!matches(rule.match, name)) continue;
    if (rule.share) traits.share = static_cast<int32_t>(r);
    traits.repeat = rule.repeat.value_or(traits.repeat);
    traits.max_rows = rule.max_rows.value_or(traits.max_rows);
    traits.group = rule.group.value_or(traits.group);
    traits.half_batch = rule.half_batch.value_or(traits.half_batch);
    traits.prompt_on_passages = rule.prompt_on_passages.value_or(traits.prompt_on_passages);
    traits.in_batch_negatives = rule.in_batch_negatives.value_or(traits.in_batch_negatives);
  }
  return traits;
}

void require_valid(std::span<const SourceRule> rules, std::span<const std::string_view> names) {
  double shares = 0;
  for (size_t r = 0; r < rules.size(); ++r) {
    const SourceRule& rule = rules[r];
    require_values(rule);
    if (std::none_of(names.begin(), names.end(), [&](std::string_view name) { return matches(rule.match, name); })) {
      std::string have;
      for (size_t i = 0; i < std::min<size_t>(names.size(), 5); ++i) have += cat(i == 0 ? "" : ", ", names[i]);
      throw bad_rule(rule, "matches none", cat("the corpus has ", have, names.size() > 5 ? cat(" and ", names.size() - 5, " more") : ""));
    }
    if (!rule.share) continue;
    shares += *rule.share;
    const auto is_theirs = [&](std::string_view name) { return traits_of(name, rules).share == static_cast<int32_t>(r); };
    if (std::none_of(names.begin(), names.end(), is_theirs))
      throw bad_rule(rule, "gives a share, but later rules give all of them another", "leave one out");
  }
  if (shares == 0) return;
  const bool rest = std::any_of(names.begin(), names.end(), [&](std::string_view name) { return traits_of(name, rules).share < 0; });
  if (rest ? shares > 1 - 1e-9 : std::abs(shares - 1) > 1e-9) {
    throw Error(ExitCode::usage, "sources", cat("the shares of sources add up to ", shares),
                rest ? "leave something for the sources without a share: less than 1" : "every source has a share: let them add up to 1");
  }
}

std::vector<int64_t> source_groups(std::span<const std::string_view> names, std::span<const SourceRule> rules, int64_t group) {
  std::vector<int64_t> groups;
  for (const std::string_view name : names) groups.push_back(group_within(traits_of(name, rules).group, group));
  if (std::all_of(groups.begin(), groups.end(), [&](int64_t g) { return g == group; })) groups.clear();
  return groups;
}

std::vector<uint8_t> prompted_sources(std::span<const std::string_view> names, std::span<const SourceRule> rules) {
  std::vector<uint8_t> prompted;
  for (const std::string_view name : names) prompted.push_back(traits_of(name, rules).prompt_on_passages ? 1 : 0);
  return prompted;
}

}  // namespace lodestone
