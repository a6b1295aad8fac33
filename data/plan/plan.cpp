// How a plan draws sources and orders rows.
#include "data/plan/plan.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <string_view>
#include <utility>

#include "core/error.h"
#include "data/plan/draw_sources.h"
#include "data/plan/permutation.h"

namespace lodestone {
namespace {

constexpr const char* merged_name = "other";
constexpr const char* mixed_name = "all";

Error bad_plan(const std::string& what, std::string remedy) { return Error(ExitCode::usage, "plan", what, std::move(remedy)); }

void require_valid(const PlanConfig& config) {
  if (config.global_batch < 1) {
    throw bad_plan(cat("the global batch is ", config.global_batch, " rows"), "give a global batch of at least 1");
  }
  if (config.batches < 0) throw bad_plan(cat("the run has ", config.batches, " batches"), "give a number of steps of at least 0");
  if (!std::isfinite(config.alpha) || config.alpha < 0) {
    throw bad_plan(cat("alpha is ", config.alpha), "give an alpha from 0 (uniform) to 1 (proportional to size)");
  }
  if (config.batches > std::numeric_limits<int32_t>::max()) {
    throw bad_plan(cat(config.batches, " batches are more than 2147483647"), "take fewer steps");
  }
}

[[noreturn]] void refuse_small(const PlanConfig& config, const std::vector<PlanSource>& small) {
  std::string names;
  const size_t shown = std::min<size_t>(small.size(), 5);
  for (size_t i = 0; i < shown; ++i) names += cat(i == 0 ? "" : ", ", small[i].name, " (", small[i].rows, " rows)");
  if (small.size() > shown) names += cat(" and ", small.size() - shown, " more");
  throw bad_plan(cat(small.size() == 1 ? "source " : "sources ", names, small.size() == 1 ? " is" : " are",
                     " smaller than the global batch of ", small[0].batch, " rows"),
                 config.small_sources == SmallSources::refuse
                     ? "set small_sources to merge, lower the global batch, or leave the source out"
                     : "lower the global batch, or leave the source out");
}

std::string listed(const std::vector<PlanSource>& sources) {
  std::string names;
  for (size_t i = 0; i < std::min<size_t>(sources.size(), 5); ++i) names += cat(i == 0 ? "" : ", ", sources[i].name);
  return sources.size() > 5 ? cat(names, " and ", sources.size() - 5, " more") : names;
}

/// Sources of the corpus as the plan's own, with the traits that the rules and their names give them.
std::vector<PlanSource> with_traits(const PlanConfig& config, const std::vector<PlanSource>& sources) {
  std::vector<PlanSource> result;
  std::set<std::string_view> names;
  for (size_t i = 0; i < sources.size(); ++i) {
    const PlanSource& source = sources[i];
    if (!selects(config.only, source.name)) continue;
    if (!names.insert(source.name).second) throw bad_plan(cat("two sources are called ", source.name), "rename one");
    const SourceTraits traits = traits_of(source.name, config.rules);
    const int64_t rows = traits.max_rows < 0 ? source.rows : std::min(source.rows, traits.max_rows);
    result.push_back({.name = source.name,
                      .rows = rows,
                      .members = {{source.corpus_source >= 0 ? source.corpus_source : static_cast<int32_t>(i), 0, rows, source.rows}},
                      .batch = traits.half_batch ? std::max<int64_t>(config.global_batch / 2, 1) : config.global_batch,
                      .repeat = traits.repeat,
                      .share = traits.share,
                      .group = traits.group,
                      .in_batch_negatives = traits.in_batch_negatives});
  }
  for (const std::string& pattern : config.only) {
    if (std::none_of(names.begin(), names.end(), [&](std::string_view name) { return matches(pattern, name); })) {
      throw bad_plan(cat("task ", config.task, " has no source \"", pattern, "\""), cat("the corpus has ", listed(sources)));
    }
  }
  const std::vector<std::string_view> all(names.begin(), names.end());
  require_valid(config.rules, all);
  return result;
}

/// Whether batches may mix rows of both.
bool alike(const PlanSource& a, const PlanSource& b) {
  return a.batch == b.batch && a.share == b.share && a.group == b.group && a.in_batch_negatives == b.in_batch_negatives;
}

std::string merged_title(const char* name, const PlanConfig& config, const PlanSource& like) {
  return cat(name, like.share < 0 ? "" : cat(", share of ", config.rules[static_cast<size_t>(like.share)].match),
             like.batch < config.global_batch ? ", half batch" : "", like.group == 0 ? "" : cat(", groups of ", like.group),
             like.in_batch_negatives ? "" : ", no_in_batch_neg");
}

/// Merges `source` into the source of `merged` that it may share batches with.
void merge(const PlanConfig& config, const char* name, const PlanSource& source, std::vector<PlanSource>& merged) {
  auto into = std::find_if(merged.begin(), merged.end(), [&](const PlanSource& m) { return alike(m, source); });
  if (into == merged.end()) {
    merged.push_back({.name = merged_title(name, config, source),
                      .batch = source.batch,
                      .share = source.share,
                      .group = source.group,
                      .in_batch_negatives = source.in_batch_negatives});
    into = merged.end() - 1;
  }
  for (PlanMember member : source.members) {
    member.first += into->rows;
    member.repeat = source.repeat;
    into->members.push_back(member);
  }
  into->rows += source.rows;
}

/// Merged members that come equally often are no matter of rounds: the whole source is repeated.
void simplify_repeats(PlanSource& merged) {
  const int64_t repeat = merged.members.front().repeat;
  if (std::any_of(merged.members.begin(), merged.members.end(), [&](const PlanMember& m) { return m.repeat != repeat; })) return;
  merged.repeat = repeat;
  for (PlanMember& member : merged.members) member.repeat = 1;
}

/// One source a share, all its batches of the global batch's size.
std::vector<PlanSource> mixed_sources(const PlanConfig& config, std::vector<PlanSource> sources) {
  std::vector<PlanSource> mixed;
  for (PlanSource& source : sources) {
    source.batch = config.global_batch;
    const auto other = std::find_if(sources.begin(), sources.end(), [&](const PlanSource& s) { return s.share == source.share; });
    if (other->in_batch_negatives != source.in_batch_negatives) {
      throw bad_plan(
          cat("mixed batches cannot leave out the in-batch negatives of ", source.in_batch_negatives ? other->name : source.name, " alone"),
          "choose another batching, or give all sources the same use_inbatch_neg (data.rules)");
    }
    if (other->group != source.group)
      throw bad_plan(cat("mixed batches cannot have groups of one size for ", other->name, " and of another for ", source.name),
                     "choose another batching, or give all sources the same group_size");
    merge(config, mixed_name, source, mixed);
  }
  for (PlanSource& source : mixed) {
    simplify_repeats(source);
    if (SourceBatches(Key(), source).per_epoch() == 0) {
      throw bad_plan(cat(mixed.size() == 1 ? "the corpus" : source.name, " has ", source.rows, " rows, fewer than the global batch of ",
                         config.global_batch),
                     "lower the global batch");
    }
  }
  return mixed;
}

}  // namespace

std::vector<PlanSource> resolve_sources(const PlanConfig& config, const std::vector<PlanSource>& given) {
  require_valid(config);
  if (given.empty()) throw bad_plan("the corpus has no sources", "pack at least one source");
  std::vector<PlanSource> sources = with_traits(config, given);
  if (config.batching == Batching::mixed) return mixed_sources(config, std::move(sources));
  const auto first_small = std::stable_partition(sources.begin(), sources.end(), [](const PlanSource& s) { return s.rows >= s.batch; });
  const std::vector<PlanSource> small(first_small, sources.end());
  sources.erase(first_small, sources.end());
  if (small.empty()) return sources;
  if (config.small_sources == SmallSources::refuse) refuse_small(config, small);
  std::vector<PlanSource> merged;
  for (const PlanSource& source : small) {
    const auto named = std::find_if(sources.begin(), sources.end(), [&](const PlanSource& s) {
      return s.name == merged_title(merged_name, config, source) && alike(s, source);
    });
    if (named != sources.end()) {  // a source that is called as the merged one joins it
      merge(config, merged_name, *named, merged);
      sources.erase(named);
    }
    merge(config, merged_name, source, merged);
  }
  for (PlanSource& source : merged) {
    simplify_repeats(source);
    if (SourceBatches(Key(), source).per_epoch() == 0) {
      std::vector<PlanSource> theirs;
      for (const PlanSource& s : small)
        if (alike(s, source)) theirs.push_back(s);
      refuse_small(config, theirs);
    }
    sources.push_back(std::move(source));
  }
  return sources;
}

int64_t batches_for_epochs(const PlanConfig& config, const std::vector<PlanSource>& sources, double epochs) {
  if (!std::isfinite(epochs) || epochs < 0) throw bad_plan(cat("the run has ", epochs, " epochs"), "give a number of epochs of at least 0");
  int64_t with_share = 0, without = 0;
  for (const PlanSource& source : resolve_sources(config, sources)) {
    (source.share < 0 ? without : with_share) += source.repeat * SourceBatches(Key(), source).per_epoch();
  }
  double shares = 0;
  for (const SourceRule& rule : config.rules) shares += rule.share.value_or(0);
  const double batches = without == 0 ? static_cast<double>(with_share) : static_cast<double>(without) / (1 - shares);
  return static_cast<int64_t>(std::ceil(epochs * batches - 1e-9));
}

Plan::Plan(PlanConfig config, const std::vector<PlanSource>& sources)
    : config_(std::move(config)), key_(Key(config_.seed).with("plan").with(config_.task)), sources_(resolve_sources(config_, sources)) {
  for (const PlanSource& source : sources_) batches_.emplace_back(key_.with(source.name), source);
  SourceDraws draws = draw_sources(key_, config_, sources_, batches_);
  drawn_ = std::move(draws.drawn);
  probability_ = std::move(draws.probability);
  position_.reserve(drawn_.size());
  std::vector<int32_t> count(sources_.size(), 0);
  for (const int32_t source : drawn_) position_.push_back(count[static_cast<size_t>(source)]++);
}

void Plan::batch(int64_t draw, Part& out) const {
  LODE_CHECK(draw >= 0 && draw < config_.batches, "batch ", draw, " of a plan of ", config_.batches);
  const auto d = static_cast<size_t>(draw), source = static_cast<size_t>(drawn_[d]);
  const SourceBatches& batches = batches_[source];
  out.source = drawn_[d];
  out.epoch = position_[d] / batches.per_epoch();
  int64_t b = position_[d] % batches.per_epoch();
  auto order = static_cast<uint64_t>(out.epoch);
  if (config_.batching == Batching::epoch_static) {  // each data set that a source counts as has batches of its own
    b = Permutation(key_.with(sources_[source].name).with("batches").with(order), batches.per_epoch())(b);
    order %= static_cast<uint64_t>(sources_[source].repeat);
  }
  batches.rows(order, b, out.rows);
}

double Plan::probability(int32_t source) const { return probability_.at(static_cast<size_t>(source)); }

bool Plan::repeats_rows() const {
  std::vector<int64_t> draws(sources_.size(), 0);
  for (const int32_t source : drawn_) ++draws[static_cast<size_t>(source)];
  for (size_t s = 0; s < sources_.size(); ++s)
    if (draws[s] > batches_[s].per_epoch() || (draws[s] > 0 && batches_[s].rows_per_epoch() > sources_[s].rows)) return true;
  return false;
}

int64_t Plan::smallest_batch() const {
  const auto smaller = [](const PlanSource& a, const PlanSource& b) { return a.batch < b.batch; };
  return std::min_element(sources_.begin(), sources_.end(), smaller)->batch;
}

SourceRow Plan::locate(int32_t source, int64_t k) const {
  const PlanSource& from = sources_.at(static_cast<size_t>(source));
  LODE_CHECK(k >= 0 && k < from.rows, "row ", k, " of source ", from.name, " of ", from.rows, " rows");
  const auto after = std::upper_bound(from.members.begin(), from.members.end(), k,
                                      [](int64_t position, const PlanMember& member) { return position < member.first; });
  const PlanMember& member = *(after - 1);  // of several that start at k (empty ones), the last: the one that has rows
  if (member.rows == member.all_rows) return {member.source, k - member.first};
  const Permutation drawn(key_.with("used").with(static_cast<uint64_t>(member.source)), member.all_rows);
  return {member.source, drawn(k - member.first)};
}

void require_ranks_for_batch(int64_t global_batch, int world) {
  if (world <= global_batch) return;
  throw Error(ExitCode::usage, "F13", cat(world, " ranks for a global batch of ", global_batch, " rows: each rank needs at least one"),
              cat("start 1 to ", global_batch, " ranks, or raise train.global_batch"));
}

}  // namespace lodestone
