// How tasks are configured: their data, losses, mining, and their part in a step.
#include <algorithm>

#include "data/instructions.h"
#include "launch/config_read.h"

namespace lodestone {

namespace {

/// data.rules: a map of freely named rules, applied in their order.
std::vector<SourceRule> read_rules(Section s) {
  std::vector<SourceRule> rules;
  for (const std::string& name : s.keys()) {
    Section r = s.section(name);
    SourceRule rule;
    rule.match = "*";
    r.read("match", rule.match);
    read_optional(r, "repeat", rule.repeat);
    read_optional(r, "share", rule.share);
    read_optional(r, "max_rows", rule.max_rows);
    read_optional(r, "half_batch", rule.half_batch);
    read_optional(r, "prompt_on_passages", rule.prompt_on_passages);
    read_optional(r, "use_inbatch_neg", rule.in_batch_negatives);
    read_optional(r, "group_size", rule.group);
    r.finish();
    rules.push_back(rule);
  }
  return rules;
}

void read_candidates(Section& s, DataConfig& c) {
  static constexpr std::string_view positives[] = {"random", "first", "teacher", "teacher-pos"};
  read_enum(s, "select_positive", positives, c.select_positive);
  static constexpr std::string_view negatives[] = {"random", "first", "teacher-", "teacher+", "window"};
  read_enum(s, "select_negative", negatives, c.select_negative);
  read_optional(s, "teacher_scores_min", c.filter.teacher_scores_min);
  read_optional(s, "teacher_scores_margin", c.filter.teacher_scores_margin);
  static constexpr std::string_view without[] = {"refuse", "leave_out"};
  read_enum(s, "rows_without_negatives", without, c.filter.without_negatives);
}

/// `c` holds what the section starts from.
DataConfig read_data(Section s, DataConfig c) {
  s.read("train", c.train);
  s.read("heldout", c.heldout);
  s.read("sources", c.sources);
  s.read("query_max_len", c.query_max_len);
  s.read("passage_max_len", c.passage_max_len);
  s.read("pair_max_len", c.pair_max_len);
  s.read("train_group_size", c.train_group_size);
  s.read("instruction", c.instruction);
  if (!c.instruction.empty()) {
    const Instruction& preset = instruction(c.instruction);
    c.query_prompt = preset.query;
    c.passage_prompt = preset.passage;
  }
  s.read("query_prompt", c.query_prompt);
  s.read("passage_prompt", c.passage_prompt);
  static constexpr std::string_view batchings[] = {"multinomial", "random", "epoch", "epoch_static", "epoch_random", "mixed"};
  read_enum(s, "batching", batchings, c.batching);
  s.read("alpha", c.alpha);
  static constexpr std::string_view policies[] = {"refuse", "merge"};
  read_enum(s, "small_sources", policies, c.small_sources);
  read_flag(s, "balance_tokens", RowOrder::shuffled, RowOrder::balanced, c.order);
  read_candidates(s, c);
  if (s.may_have("rules")) c.rules = read_rules(s.section("rules"));
  s.finish();
  at_least(s, "query_max_len", c.query_max_len, 3);
  at_least(s, "passage_max_len", c.passage_max_len, 3);
  at_least(s, "pair_max_len", c.pair_max_len, 0);
  at_least(s, "train_group_size", c.train_group_size, 1);
  at_least(s, "alpha", c.alpha, 0.0);
  return c;
}

std::optional<HardNegativesConfig> read_mining(Section s) {
  HardNegativesConfig c;
  s.read("negatives", c.negatives);
  s.read("every", c.every);
  s.read("probe", c.probe);
  static constexpr std::string_view rules[] = {"mean", "each"};
  read_enum(s, "rule", rules, c.rule);
  static constexpr std::string_view refills[] = {"slide", "remine"};
  read_enum(s, "refill", refills, c.refill);
  s.read("first_end", c.first_end);
  s.read("mean_ratio", c.mean_ratio);
  s.read("mean_limit", c.mean_limit);
  s.read("each_ratio", c.each_ratio);
  s.read("each_limit", c.each_limit);
  s.read("each_floor", c.each_floor);
  s.finish();
  require_valid(c);
  return c;
}

/// Throws what can be said of a task from its configuration alone.
void check_task(const Section& s, const TaskConfig& t, const ObjectiveConfig& objective) {
  if (t.data.train.empty()) s.refuse("data", cat("task ", t.name, " has no training corpus"), "give data.train: a folder written by `lodestone pack`");
  at_least(s, "global_batch", t.global_batch, objective.kind == ObjectiveKind::embedding && !needs_scores(t.loss) ? 2 : 1);
  if (needs_scores(t.loss) && t.data.train_group_size != 1)
    s.refuse("loss", cat("CoSENT compares scored pairs, but data.train_group_size of task ", t.name, " is ", t.data.train_group_size), "set it to 1");
  if (objective.kind == ObjectiveKind::reranker && t.data.train_group_size < 2)
    s.refuse("data", "a reranker compares a query's positive with its negatives, but train_group_size is 1", "set data.train_group_size to 2 or more");
  if (const LossTerm* idle = idle_term(t.loss, t.global_batch, t.data.train_group_size); objective.kind == ObjectiveKind::embedding && idle != nullptr)
    s.refuse("loss", cat("a query's own passages are compared with each other (", describe(LossConfig{.terms = {*idle}}), "), but data.train_group_size of task ", t.name, " is ", t.data.train_group_size),
             "set it to 2 or more");
  if (t.mining && t.mining->negatives != t.data.train_group_size - 1)
    s.refuse("mining", cat("mining keeps ", t.mining->negatives, " negatives a query, data.train_group_size takes ", t.data.train_group_size - 1),
             "make mining.negatives = data.train_group_size - 1");
  if (t.mining && t.data.select_negative != SelectNegative::window)
    s.refuse("mining", "mined negatives are taken by a window over each row's list", "set data.select_negative to window");
}

}  // namespace

std::vector<TaskConfig> read_tasks(Section& root, const ObjectiveConfig& objective, int64_t global_batch) {
  TaskConfig base;
  base.global_batch = global_batch;
  base.data = read_data(root.section("data"), {});
  base.loss = read_loss(root.section("loss"), base.data.train_group_size);
  if (root.may_have("mining")) base.mining = read_mining(root.section("mining"));
  if (!root.may_have("tasks")) {
    check_task(root, base, objective);
    return {base};
  }
  if (objective.kind != ObjectiveKind::embedding) root.refuse("tasks", "only sentence vectors are trained on several tasks", "leave tasks out, or use objective.name: embedding");
  std::vector<TaskConfig> tasks;
  Section all = root.section("tasks");
  for (const std::string& name : all.keys()) {
    if (name.empty() || name.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") != std::string::npos)
      all.refuse(name, "a task's name is made of letters, digits, _ and -", "rename it");
    Section s = all.section(name);
    TaskConfig t = base;
    t.name = name;
    t.data = read_data(s.section("data"), base.data);
    if (s.may_have("loss")) t.loss = read_loss(s.section("loss"), t.data.train_group_size);
    if (s.may_have("mining")) t.mining = read_mining(s.section("mining"));
    s.read("global_batch", t.global_batch);
    s.read("weight", t.weight);
    s.read("share", t.share);
    s.read("ranks", t.ranks);
    s.finish();
    check_task(s, t, objective);
    tasks.push_back(t);
  }
  if (std::count_if(tasks.begin(), tasks.end(), [](const TaskConfig& t) { return t.mining.has_value(); }) > 1)
    root.refuse("tasks", "several tasks mine hard negatives", "mine for one of them");
  if (tasks.empty()) root.refuse("tasks", "there are none", "give tasks.NAME.data and tasks.NAME.loss, or leave tasks out");
  return tasks;
}

StepConfig read_schedule(Section s, const std::vector<TaskConfig>& tasks) {
  StepConfig c;
  static constexpr std::string_view mixes[] = {"joint", "deck", "random"};
  read_enum(s, "mix", mixes, c.mix);
  static constexpr std::string_view layouts[] = {"colocated", "grouped"};
  read_enum(s, "layout", layouts, c.layout);
  s.read("groups", c.groups);
  s.finish();
  at_least(s, "groups", c.groups, 1);
  if (c.layout == Layout::grouped && c.mix != TaskMix::joint && tasks.size() > 1)
    s.refuse("layout", "ranks are grouped by task, but a step trains one task only", "use layout: colocated, or mix: joint");
  return c;
}

}  // namespace lodestone
