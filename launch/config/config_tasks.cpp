// How tasks are configured: their data, losses, mining, and their part in a step.
#include <algorithm>

#include "data/text/instructions.h"
#include "launch/config/config_read.h"

namespace lodestone {

namespace {

constexpr int64_t most_share = 1'000'000;  // as many cards as a deck may have

/// data.rules: a map of freely named rules, applied in their order.
std::vector<SourceRule> read_rules(Section s) {
  std::vector<SourceRule> rules;
  for (const std::string& name : s.names()) {
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
    if (rule.match.empty()) r.refuse("match", "names no source", "give a source's name, or a pattern with *");
    within(r, "repeat", rule.repeat.value_or(1), 1, 1000);
    if (rule.share && !(*rule.share > 0 && *rule.share <= 1))
      r.refuse("share", cat(*rule.share, " is not in (0, 1]"), "give a part of all batches, for example 0.1");
    at_least(r, "max_rows", rule.max_rows.value_or(1), 1);
    at_least(r, "group_size", rule.group.value_or(1), 1);
    rules.push_back(rule);
  }
  return rules;
}

void read_candidates(Section& s, DataConfig& c) {
  read_enum(s, "select_positive", c.select_positive);
  read_enum(s, "select_negative", c.select_negative);
  read_optional(s, "positive_score_min", c.filter.positive_score_min);
  read_optional(s, "teacher_scores_min", c.filter.teacher_scores_min);
  read_optional(s, "teacher_scores_margin", c.filter.teacher_scores_margin);
  read_enum(s, "rows_without_negatives", c.filter.without_negatives);
}

/// `c` holds what the section starts from.
DataConfig read_data(Section s, DataConfig c) {
  s.read("train", c.train);
  s.read("heldout", c.heldout, Resume::may_change);
  s.read("sources", c.sources);
  s.read("query_max_len", c.query_max_len);
  s.read("passage_max_len", c.passage_max_len);
  s.read("pair_max_len", c.pair_max_len);
  s.read("train_group_size", c.train_group_size);
  s.read("instruction", c.instruction);
  if (!c.instruction.empty()) {
    const auto presets = instructions();
    const auto preset = std::find_if(presets.begin(), presets.end(), [&](const Instruction& i) { return i.name == c.instruction; });
    if (preset == presets.end()) {
      std::string names;
      for (const Instruction& i : presets) names += cat(names.empty() ? "" : ", ", i.name);
      s.refuse("instruction", cat("there is no instruction \"", c.instruction, "\""),
               cat("use one of ", names, ", or give the prompts themselves"));
    }
    c.query_prompt = preset->query;
    c.passage_prompt = preset->passage;
  }
  s.read("query_prompt", c.query_prompt);
  s.read("passage_prompt", c.passage_prompt);
  read_enum(s, "batching", c.batching);
  s.read("alpha", c.alpha);
  read_enum(s, "small_sources", c.small_sources);
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

HardNegativesConfig read_mining(Section s) {
  HardNegativesConfig c;
  s.read("negatives", c.negatives);
  s.read("every", c.every);
  s.read("probe", c.probe);
  read_enum(s, "rule", c.rule);
  read_enum(s, "refill", c.refill);
  s.read("first_end", c.first_end);
  s.read("mean_ratio", c.mean_ratio);
  s.read("mean_limit", c.mean_limit);
  s.read("each_ratio", c.each_ratio);
  s.read("each_limit", c.each_limit);
  s.read("each_floor", c.each_floor);
  s.finish();
  at_least(s, "negatives", c.negatives, 1);
  at_least(s, "every", c.every, 1);
  at_least(s, "probe", c.probe, 0);
  at_least(s, "first_end", c.first_end, 0);
  at_least(s, "mean_ratio", c.mean_ratio, 1.0);
  at_least(s, "each_ratio", c.each_ratio, 1.0);
  if (!(c.mean_limit > 0)) s.refuse("mean_limit", cat(c.mean_limit, " is not positive: no mean would be below it"), "for example 0.8");
  at_least(s, "mean_limit", c.mean_limit, 0.0);
  at_least(s, "each_limit", c.each_limit, -1.0);
  at_least(s, "each_floor", c.each_floor, -1.0);
  if (c.rule == MiningRule::each && c.refill == MiningRefill::remine)
    s.refuse("refill", "lists are made anew for whole rows, not for negatives one by one", "use rule: mean with remine, or refill: slide");
  require_valid(c);
  return c;
}

/// Refuses settings of a task where they stand: in its own section, or in the root's sections that it starts from.
struct TaskKeys {
  const Section& root;
  const Section* own;  // null: a run without tasks

  [[noreturn]] void refuse(const std::string& key, const std::string& what, const std::string& remedy) const {
    if (own != nullptr && own->given(key)) own->refuse(key, what, remedy);
    root.refuse(key == "global_batch" ? "train.global_batch" : key, what, remedy);
  }
  /// The same of `key`, or of `section` where that key has its default.
  [[noreturn]] void refuse(const std::string& key, const std::string& section, const std::string& what, const std::string& remedy) const {
    const bool given = root.given(key) || (own != nullptr && own->given(key));
    refuse(given ? key : section, what, remedy);
  }
};

/// " of task NAME" where the configuration names tasks.
std::string of_task(const TaskKeys& keys, const TaskConfig& t) { return keys.own == nullptr ? "" : cat(" of task ", t.name); }

void check_mining(const TaskKeys& keys, const TaskConfig& t, ObjectiveKind objective) {
  if (!t.mining) {
    if (t.data.select_negative == SelectNegative::window)
      keys.refuse("data.select_negative", "negatives are chosen by the window of mining, but nothing is mined",
                  "give mining.negatives, or choose negatives otherwise");
    return;
  }
  if (!trains_vectors(objective))
    keys.refuse("mining", "there are no sentence vectors to judge negatives by", "leave mining out, or use objective.name: embedding");
  if (t.mining->negatives != t.data.train_group_size - 1)
    keys.refuse("mining.negatives", "mining",
                cat("mining keeps ", t.mining->negatives, " negatives a query, data.train_group_size", of_task(keys, t), " takes ",
                    t.data.train_group_size - 1),
                "make mining.negatives = data.train_group_size - 1, and give mining to the task that needs it");
  if (t.data.select_negative != SelectNegative::window)
    keys.refuse("mining", "mined negatives are taken by a window over each row's list", "set data.select_negative to window");
  if (t.data.select_positive == SelectPositive::teacher)
    keys.refuse("data.select_positive",
                "mined negatives are named by their places in a row's list, from which select_positive: teacher takes one away where it "
                "scores highest",
                "choose random, first or teacher-pos");
}

/// Refuses losses that learn nothing from the batches of a task.
void check_loss(const TaskKeys& keys, const TaskConfig& t) {
  if (t.global_batch < 2 && !needs_scores(t.loss))
    keys.refuse("global_batch", cat(t.global_batch, " is too small: a query needs another one beside it"), "use 2 or more");
  if (needs_scores(t.loss) && t.data.train_group_size != 1)
    keys.refuse("data.train_group_size", "loss",
                cat("CoSENT compares scored pairs, but data.train_group_size", of_task(keys, t), " is ", t.data.train_group_size),
                "set it to 1");
  if (needs_scores(t.loss) && t.data.filter.positive_score_min)
    keys.refuse("data.positive_score_min", "pairs of all scores are compared (CoSENT), none is left out for a low one", "leave it out");
  if (const LossTerm* idle = idle_term(t.loss, t.global_batch, t.data.train_group_size); idle != nullptr)
    keys.refuse("loss",
                cat("a query's own passages are compared with each other (", describe(LossConfig{.terms = {*idle}}),
                    "), but data.train_group_size", of_task(keys, t), " is ", t.data.train_group_size),
                "set it to 2 or more");
}

/// Throws what can be said of a task from its configuration alone.
void check_task(const TaskKeys& keys, const TaskConfig& t, ObjectiveKind objective) {
  if (t.data.train.empty())
    keys.refuse("data.train", "data",
                keys.own == nullptr ? std::string("there is no training corpus") : cat("task ", t.name, " has no training corpus"),
                "give data.train: a folder written by `lodestone pack`");
  check_mining(keys, t, objective);
  switch (objective) {
    case ObjectiveKind::embedding:
      return check_loss(keys, t);
    case ObjectiveKind::retromae:
      return;
    case ObjectiveKind::reranker:
      if (t.data.train_group_size < 2)
        keys.refuse("data.train_group_size", "data", "a reranker compares a query's positive with its negatives, but train_group_size is 1",
                    "set data.train_group_size to 2 or more");
      return;
  }
  throw_internal(__FILE__, __LINE__, "objective", "no such objective");
}

/// Refuses keys that another objective than sentence vectors would not read.
void refuse_idle_keys(const Section& root, const TaskConfig& t, ObjectiveKind objective) {
  const DataConfig& d = t.data;
  const auto refuse_if = [&](bool set, const char* key) {
    if (set) root.refuse(key, cat("has no effect with objective.name: ", name_of(objective)), "leave it out, or choose another objective");
  };
  refuse_if(d.pair_max_len > 0 && objective != ObjectiveKind::reranker, "data.pair_max_len");
  refuse_if(root.given("loss") && !trains_vectors(objective), "loss");
  if (objective != ObjectiveKind::retromae) return;
  refuse_if(d.train_group_size > 1, "data.train_group_size");
  refuse_if(!d.instruction.empty(), "data.instruction");
  refuse_if(!d.query_prompt.empty(), "data.query_prompt");
  refuse_if(!d.passage_prompt.empty(), "data.passage_prompt");
}

}  // namespace

std::vector<TaskConfig> read_tasks(Section& root, const ObjectiveConfig& objective, int64_t global_batch) {
  TaskConfig base;
  base.global_batch = global_batch;
  base.data = read_data(root.section("data"), {});
  refuse_idle_keys(root, base, objective.kind);
  if (trains_vectors(objective.kind)) base.loss = read_loss(root.section("loss"));
  if (root.may_have("mining")) base.mining = read_mining(root.section("mining"));
  if (!root.may_have("tasks")) {
    check_task({root, nullptr}, base, objective.kind);
    return {base};
  }
  if (!trains_vectors(objective.kind))
    root.refuse("tasks", "only sentence vectors are trained on several tasks", "leave tasks out, or use objective.name: embedding");
  std::vector<TaskConfig> tasks;
  Section all = root.section("tasks");
  for (const std::string& name : all.names()) {
    Section s = all.section(name);
    TaskConfig t = base;
    t.name = name;
    t.data = read_data(s.section("data"), base.data);
    if (s.may_have("loss")) t.loss = read_loss(s.section("loss"));
    if (s.may_have("mining")) t.mining = read_mining(s.section("mining"));
    s.read("global_batch", t.global_batch);
    s.read("weight", t.weight);
    s.read("share", t.share);
    s.read("ranks", t.ranks, Resume::may_change);
    s.finish();
    at_least(s, "global_batch", t.global_batch, 1);
    require_settings(s, refused_weight("weight", t.weight));
    within(s, "share", t.share, 0, most_share);
    at_least(s, "ranks", t.ranks, 1);
    check_task({root, &s}, t, objective.kind);
    tasks.push_back(t);
  }
  if (std::count_if(tasks.begin(), tasks.end(), [](const TaskConfig& t) { return t.mining.has_value(); }) > 1)
    root.refuse("tasks", "several tasks mine hard negatives", "mine for one of them");
  if (tasks.empty()) root.refuse("tasks", "there are none", "give tasks.NAME.data and tasks.NAME.loss, or leave tasks out");
  return tasks;
}

StepConfig read_schedule(Section s, const std::vector<TaskConfig>& tasks) {
  StepConfig c;
  read_enum(s, "mix", c.mix);
  read_enum(s, "layout", c.layout, Resume::may_change);
  s.read("groups", c.groups);
  s.finish();
  at_least(s, "groups", c.groups, 1);
  if (c.layout == Layout::grouped && c.mix != TaskMix::joint && tasks.size() > 1)
    s.refuse("layout", "ranks are grouped by task, but a step trains one task only", "use layout: colocated, or mix: joint");
  const auto shared = std::find_if(tasks.begin(), tasks.end(), [](const TaskConfig& t) { return t.share != 1; });
  if (c.mix == TaskMix::joint && shared != tasks.end())
    s.refuse("mix", cat("a joint step trains every task, and task ", shared->name, " has share ", shared->share),
             "leave tasks.NAME.share out, or use mix: deck or random");
  return c;
}

}  // namespace lodestone
