// How a plan draws sources and orders rows.
#include "data/plan.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <utility>

#include "core/error.h"
#include "core/rng.h"
#include "data/permutation.h"

namespace lodestone {
namespace {

constexpr const char* merged_name = "other";
constexpr const char* mixed_name = "all";

Error bad_plan(std::string what, std::string remedy) {
  return Error(ExitCode::usage, "plan", std::move(what), std::move(remedy));
}

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
                     " smaller than the global batch of ", config.global_batch, " rows"),
                 config.small_sources == SmallSources::refuse
                     ? "set small_sources to merge, lower the global batch, or leave the source out"
                     : "lower the global batch, or leave the source out");
}

void append_members(const PlanSource& source, PlanSource& merged) {
  for (const PlanMember& member : source.members) merged.members.push_back({member.source, merged.rows + member.first});
  merged.rows += source.rows;
}

}  // namespace

std::vector<PlanSource> resolve_sources(const PlanConfig& config, const std::vector<PlanSource>& sources) {
  require_valid(config);
  if (sources.empty()) throw bad_plan("the corpus has no sources", "pack at least one source");
  std::vector<PlanSource> resolved, small;
  PlanSource all{mixed_name, 0, {}};
  std::set<std::string> names;
  for (size_t i = 0; i < sources.size(); ++i) {
    if (!names.insert(sources[i].name).second) throw bad_plan(cat("two sources are called ", sources[i].name), "rename one");
    const bool is_small = sources[i].rows < config.global_batch;
    const PlanSource source{sources[i].name, sources[i].rows, {{static_cast<int32_t>(i), 0}}};
    (is_small ? small : resolved).push_back(source);
    append_members(source, all);
  }
  if (config.batching == Batching::mixed) {
    if (all.rows < config.global_batch) {
      throw bad_plan(cat("the corpus has ", all.rows, " rows, fewer than the global batch of ", config.global_batch), "lower the global batch");
    }
    return {std::move(all)};
  }
  if (small.empty()) return resolved;
  if (config.small_sources == SmallSources::refuse) refuse_small(config, small);
  PlanSource merged{merged_name, 0, {}};
  const auto named = std::find_if(resolved.begin(), resolved.end(), [](const PlanSource& s) { return s.name == merged_name; });
  if (named != resolved.end()) {
    append_members(*named, merged);
    resolved.erase(named);
  }
  for (const PlanSource& source : small) append_members(source, merged);
  if (merged.rows < config.global_batch) refuse_small(config, small);
  resolved.push_back(std::move(merged));
  return resolved;
}

int64_t batches_for_epochs(const PlanConfig& config, const std::vector<PlanSource>& sources, double epochs) {
  if (!std::isfinite(epochs) || epochs < 0) throw bad_plan(cat("the run has ", epochs, " epochs"), "give a number of epochs of at least 0");
  int64_t batches = 0;
  for (const PlanSource& source : resolve_sources(config, sources)) batches += source.rows / config.global_batch;
  return static_cast<int64_t>(std::ceil(epochs * static_cast<double>(batches)));
}

Plan::Plan(PlanConfig config, const std::vector<PlanSource>& sources)
    : config_(std::move(config)), sources_(resolve_sources(config_, sources)) {
  double largest = 0, sum = 0;
  for (const PlanSource& source : sources_) largest = std::max(largest, static_cast<double>(source.rows));
  for (const PlanSource& source : sources_) {   // relative to the largest: n^alpha itself could overflow
    probability_.push_back(std::pow(static_cast<double>(source.rows) / largest, config_.alpha));
    sum += probability_.back();
  }
  double below = 0;
  for (double& p : probability_) cumulative_.push_back(below += (p /= sum));
  cumulative_.back() = 1;

  const Key key = Key(config_.seed).with("source");
  const auto draws = static_cast<size_t>(config_.batches);
  drawn_.resize(draws);
  position_.resize(draws);
  std::vector<int32_t> count(sources_.size(), 0);
  for (size_t draw = 0; draw < draws; ++draw) {
    const auto above = std::upper_bound(cumulative_.begin(), cumulative_.end(), key.uniform(draw));
    const auto source = static_cast<size_t>(above - cumulative_.begin());
    drawn_[draw] = static_cast<int32_t>(source);
    position_[draw] = count[source]++;
  }
}

void Plan::batch(int64_t draw, Part& out) const {
  LODE_CHECK(draw >= 0 && draw < config_.batches, "batch ", draw, " of a plan of ", config_.batches);
  const auto d = static_cast<size_t>(draw);
  out.source = drawn_[d];
  const PlanSource& source = sources_[static_cast<size_t>(out.source)];
  const int64_t batches = source.rows / config_.global_batch;   // of an epoch; the remainder is dropped
  out.epoch = position_[d] / batches;
  const int64_t first = position_[d] % batches * config_.global_batch;
  const Permutation order(Key(config_.seed).with("rows").with(source.name).with(static_cast<uint64_t>(out.epoch)), source.rows);
  out.rows.resize(static_cast<size_t>(config_.global_batch));
  for (int64_t i = 0; i < config_.global_batch; ++i) out.rows[static_cast<size_t>(i)] = order(first + i);
}

double Plan::probability(int32_t source) const { return probability_.at(static_cast<size_t>(source)); }

SourceRow Plan::locate(int32_t source, int64_t k) const {
  const PlanSource& from = sources_.at(static_cast<size_t>(source));
  LODE_CHECK(k >= 0 && k < from.rows, "row ", k, " of source ", from.name, " of ", from.rows, " rows");
  const auto after = std::upper_bound(from.members.begin(), from.members.end(), k,
                                      [](int64_t position, const PlanMember& member) { return position < member.first; });
  const PlanMember& member = *(after - 1);   // of several that start at k (empty ones), the last: the one that has rows
  return {member.source, k - member.first};
}

void require_ranks_for_batch(int64_t global_batch, int world) {
  if (world <= global_batch) return;
  throw Error(ExitCode::usage, "F13", cat(world, " ranks for a global batch of ", global_batch, " rows: each rank needs at least one"),
              cat("start 1 to ", global_batch, " ranks, or raise train.global_batch"));
}

}  // namespace lodestone
