#include <algorithm>
#include <limits>

#include "launch/config/config_read.h"
#include "launch/console/log.h"

namespace lodestone {

namespace {

void read_device(Section& root, RunConfig& c) {
  read_enum(root, "device", c.device, Resume::may_change);
  try {
    c.backend = backend_for(c.device);
  } catch (const Error& missing) {
    root.refuse("device", missing.what(), missing.remedy());
  }
  read_enum(root, "attention", c.attention, Resume::may_change);
  if (c.attention == AttentionChoice::cudnn && c.backend == BackendKind::cpu)
    root.refuse("attention", "cuDNN computes on GPUs, and this run computes on the CPU", "give device: cuda, or leave attention out");
  root.read("cuda_graphs", c.cuda_graphs, Resume::may_change);
  if (c.cuda_graphs && c.backend == BackendKind::cpu)
    root.refuse("cuda_graphs", "CUDA graphs are of GPUs, and this run computes on the CPU", "give device: cuda, or leave cuda_graphs out");
  read_enum(root, "comm", c.transport, Resume::may_change);
  if (c.transport == Transport::nccl && c.backend == BackendKind::cpu)
    root.refuse("comm", "NCCL moves what lies on GPUs, and this run computes on the CPU", "give device: cuda, or leave comm out");
}

ModelConfig read_model(Section s) {
  ModelConfig c;
  s.read("folder", c.folder);
  s.read("config", c.config);
  s.read("vocab", c.vocab);
  read_enum(s, "pooling", "auto", c.pooling);
  static constexpr std::string_view normalizations[] = {"auto", "true", "false"};
  size_t normalize = 0;
  s.read_choice("normalize", normalizations, normalize);
  if (normalize > 0) c.normalize = normalize == 1;
  s.read("dropout", c.dropout);
  s.read("attention_dropout", c.attention_dropout);
  s.read("head", c.head);
  s.read("max_seq_length", c.max_seq_length, Resume::may_change);
  bool checkpointing = false;
  s.read("gradient_checkpointing", checkpointing, Resume::may_change);
  c.checkpointing = checkpointing ? Checkpointing::per_block : Checkpointing::none;
  s.finish();
  if (c.folder.empty() && c.config.empty())
    s.refuse("folder", "no model is given", "give model.folder, or model.config and model.vocab for random weights");
  if (c.folder.empty() && c.vocab.empty()) s.refuse("vocab", "a model from random weights needs a vocabulary", "give model.vocab");
  for (const auto& [key, p] : {std::pair{"dropout", c.dropout}, std::pair{"attention_dropout", c.attention_dropout}})
    if (p != -1 && !(p >= 0 && p < 1)) s.refuse(key, cat(p, " is not in [0, 1)"), "for example 0.1");
  at_least(s, "head", c.head, 0);
  if (c.max_seq_length < 0 || c.max_seq_length == 1 || c.max_seq_length == 2)
    s.refuse("max_seq_length", cat(c.max_seq_length, " tokens leave no room for a text between [CLS] and [SEP]"),
             "give 3 or more, or 0 for what the starting folder says");
  return c;
}

/// A key whose value is auto or a number from `least` (0 or 1) on, of at most `most_digits`; nothing: auto.
std::optional<int64_t> read_auto_or_count(Section& s, const char* key, int64_t least, size_t most_digits) {
  std::string text = "auto";
  s.read(key, text, Resume::may_change);
  if (text == "auto") return std::nullopt;
  const bool number = !text.empty() && text.size() <= most_digits && text.find_first_not_of("0123456789") == std::string::npos;
  if (!number || (text[0] == '0' && (least > 0 || text != "0")))
    s.refuse(key, cat("'", text, "' is neither auto nor a number from ", least, " on"), "use auto or a number");
  return std::stoll(text);
}

TrainConfig read_train(Section s) {
  TrainConfig c;
  s.read("output_dir", c.output_dir, Resume::may_change);
  s.read("global_batch", c.global_batch);
  s.read("gradient_accumulation_steps", c.gradient_accumulation_steps);
  s.read("steps", c.steps);
  s.read("num_train_epochs", c.num_train_epochs);
  s.read("seed", c.seed);
  static constexpr std::string_view precisions[] = {"bf16", "f32", "f64"};
  static constexpr DType dtypes[] = {DType::bf16, DType::f32, DType::f64};
  size_t precision = 0;
  s.read_choice("precision", precisions, precision);
  c.precision = dtypes[precision];
  c.threads = read_auto_or_count(s, "threads", 1, 4).value_or(0);
  const std::optional<int64_t> chunk = read_auto_or_count(s, "chunk_tokens", 1, 9);
  c.chunk_tokens_is_auto = !chunk.has_value();
  c.chunk_tokens = chunk.value_or(c.chunk_tokens);
  s.read("step_memory_mb", c.step_memory_mb, Resume::may_change);
  const std::optional<int64_t> keep = read_auto_or_count(s, "keep_activations_mb", 0, 9);
  c.keep_activations_is_auto = !keep.has_value();
  c.keep_activations_mb = keep.value_or(c.keep_activations_mb);
  s.read("logging_steps", c.logging_steps, Resume::may_change);
  s.read("save_steps", c.save_steps, Resume::may_change);
  s.read("save_total_limit", c.save_total_limit, Resume::may_change);
  s.read("eval_steps", c.eval_steps, Resume::may_change);
  s.read("eval_rows", c.eval_rows, Resume::may_change);
  s.read("metric", c.metric, Resume::may_change);
  s.read("replica_check_every", c.replica_check_every, Resume::may_change);
  s.read("timeout_s", c.timeout_s, Resume::may_change);
  s.finish();
  if (c.output_dir.empty()) s.refuse("output_dir", "no folder is given for the run", "give train.output_dir");
  at_least(s, "steps", c.steps, 0);
  at_least(s, "num_train_epochs", c.num_train_epochs, 0.0);
  if ((c.steps > 0) == (c.num_train_epochs > 0))
    s.refuse("steps", c.steps > 0 ? "both steps and num_train_epochs are given" : "the length of the run is not given",
             "give train.steps or train.num_train_epochs");
  at_least(s, "global_batch", c.global_batch, 1);
  at_least(s, "gradient_accumulation_steps", c.gradient_accumulation_steps, 1);
  within(s, "seed", c.seed, 0, std::numeric_limits<int64_t>::max());
  at_least(s, "step_memory_mb", c.step_memory_mb, 0);
  at_least(s, "logging_steps", c.logging_steps, 1);
  at_least(s, "save_steps", c.save_steps, 0);
  at_least(s, "save_total_limit", c.save_total_limit, 1);
  at_least(s, "eval_steps", c.eval_steps, 0);
  at_least(s, "eval_rows", c.eval_rows, 1);
  at_least(s, "replica_check_every", c.replica_check_every, 0);
  at_least(s, "timeout_s", c.timeout_s, 1);
  return c;
}

/// loss_scale: none or dynamic, and the settings of the latter.
std::optional<LossScaleConfig> read_loss_scale(Section& s) {
  static constexpr std::string_view names[] = {"none", "dynamic"};
  size_t name = 0;
  s.read_choice("loss_scale", names, name);
  if (name == 0) return std::nullopt;
  LossScaleConfig c;
  s.read("loss_scale_initial", c.initial);
  s.read("loss_scale_window", c.window);
  s.read("loss_scale_hysteresis", c.hysteresis);
  s.read("loss_scale_minimum", c.minimum);
  if (!(c.minimum > 0)) s.refuse("loss_scale_minimum", cat(c.minimum, " is not positive"), "for example 1");
  if (!(c.initial >= c.minimum))
    s.refuse("loss_scale_initial", cat(c.initial, " is less than loss_scale_minimum, ", c.minimum), "for example 65536");
  at_least(s, "loss_scale_window", c.window, 1);
  at_least(s, "loss_scale_hysteresis", c.hysteresis, 1);
  return c;
}

OptimConfig read_optim(Section s) {
  OptimConfig c;
  s.read("learning_rate", c.learning_rate);
  s.read("weight_decay", c.weight_decay);
  s.read("adam_beta1", c.adam_beta1);
  s.read("adam_beta2", c.adam_beta2);
  s.read("adam_epsilon", c.adam_epsilon);
  s.read("max_grad_norm", c.max_grad_norm);
  read_enum(s, "lr_scheduler_type", c.lr_scheduler_type);
  s.read("warmup_ratio", c.warmup_ratio);
  s.read("warmup_steps", c.warmup_steps);
  read_enum(s, "warmup_shape", c.warmup_shape);
  s.read("zero", c.zero, Resume::may_change);
  s.read("ref_grad_scale", c.ref_grad_scale);
  s.read("freeze", c.freeze);
  c.loss_scale = read_loss_scale(s);
  s.finish();
  if (!(c.learning_rate > 0)) s.refuse("learning_rate", cat(c.learning_rate, " is not positive"), "for example 5e-5");
  if (c.learning_rate > 1)
    s.refuse("learning_rate", cat(c.learning_rate, " is too large: AdamW moves every weight by about as much in each step"),
             "use 1 or less, for example 5e-5");
  at_least(s, "weight_decay", c.weight_decay, 0.0);
  within(s, "max_grad_norm", c.max_grad_norm, 0.0, std::numeric_limits<double>::max());
  if (!(c.adam_beta1 >= 0 && c.adam_beta1 < 1)) s.refuse("adam_beta1", cat(c.adam_beta1, " is not in [0, 1)"), "for example 0.9");
  if (!(c.adam_beta2 >= 0 && c.adam_beta2 < 1)) s.refuse("adam_beta2", cat(c.adam_beta2, " is not in [0, 1)"), "for example 0.999");
  if (!(c.adam_epsilon > 0)) s.refuse("adam_epsilon", cat(c.adam_epsilon, " is not positive"), "for example 1e-8");
  if (c.warmup_steps < -1)
    s.refuse("warmup_steps", cat(c.warmup_steps, " is neither a number of steps nor -1, which stands for warmup_ratio"),
             "use 0 or more, or leave it out");
  at_least(s, "warmup_steps", c.warmup_steps, -1);
  if (!(c.warmup_ratio >= 0 && c.warmup_ratio <= 1)) s.refuse("warmup_ratio", cat(c.warmup_ratio, " is not in [0, 1]"), "for example 0.1");
  return c;
}

PublishedRun read_published(Section s) {
  PublishedRun c;
  s.read("devices", c.devices, Resume::may_change);
  s.read("rows", c.rows, Resume::may_change);
  s.finish();
  at_least(s, "devices", c.devices, 0);
  at_least(s, "rows", c.rows, 0);
  return c;
}

/// Refuses keys of the section model that an objective would not read.
void check_model(const Section& root, const ModelConfig& c, ObjectiveKind objective) {
  const auto refuse_if = [&](bool set, const char* key, const char* what) {
    if (set) root.refuse(key, what, "leave it out, or choose another objective");
  };
  switch (objective) {
    case ObjectiveKind::embedding:
      return;
    case ObjectiveKind::retromae:
      refuse_if(c.head > 0, "model.head", "RetroMAE trains an encoder without a dense head");
      refuse_if(c.pooling && *c.pooling != Pooling::cls, "model.pooling", "RetroMAE's decoder sees a text through its first token");
      return;
    case ObjectiveKind::reranker:
      refuse_if(c.head > 0, "model.head", "a reranker gives scores, not vectors");
      refuse_if(c.pooling.has_value(), "model.pooling", "a reranker gives scores, not vectors");
      refuse_if(c.normalize.has_value(), "model.normalize", "a reranker gives scores, not vectors");
      if (c.folder.empty())
        root.refuse("model.folder", "a reranker starts from a model folder, not from random weights",
                    "give model.folder: any BERT encoder, or a reranker to train on");
      return;
  }
  throw_internal(__FILE__, __LINE__, "objective", "no such objective");
}

/// The figures of held-out rows that an objective gives for a task.
std::vector<std::string_view> figure_names(ObjectiveKind objective, const TaskConfig& t) {
  switch (objective) {
    case ObjectiveKind::embedding:
      if (needs_scores(t.loss)) return {"loss", "spearman"};
      return {"loss", "mrr_at_10", "recall_at_1", "spearman"};
    case ObjectiveKind::retromae:
      return {"loss", "encoder_loss", "decoder_loss"};
    case ObjectiveKind::reranker:
      return {"loss", "mrr", "accuracy"};
  }
  throw_internal(__FILE__, __LINE__, "objective", "no such objective");
}

/// Refuses a metric that no held-out rows can give.
void check_metric(const Section& root, const RunConfig& c) {
  if (c.train.metric.empty()) return;
  std::string known;
  const auto add = [&](const std::string& name) {
    known += cat(known.empty() ? "" : ", ", name);
    return name == c.train.metric;
  };
  bool found = false, all = true;
  for (const TaskConfig& t : c.tasks) {
    all = all && !t.data.heldout.empty();
    if (t.data.heldout.empty()) continue;
    for (const std::string_view figure : figure_names(c.objective.kind, t))
      found = add(cat("heldout_", figure, c.tasks.size() > 1 ? "/" + t.name : "")) || found;
  }
  if (all && c.tasks.size() > 1) found = add("heldout_loss") || found;
  if (!found)
    root.refuse("train.metric", cat(printable(c.train.metric), " is no figure that held-out rows give here"),
                known.empty() ? std::string("give data.heldout") : cat("use one of ", known));
}

/// Refuses rounded scores where all else is of f64.
void check_score_precision(const Section& root, const RunConfig& c) {
  if (c.train.precision != DType::f64) return;
  for (const TaskConfig& t : c.tasks)
    if (rounds_scores(t.loss))
      root.refuse("train.precision", "f64 computes everything in f64, and loss.score_precision: bf16 rounds what scores are made of",
                  "leave one of the two out");
}

/// A plan keeps a few bytes for each of its batches: more than these would fill the memory before the first step.
constexpr int64_t most_batches = 100'000'000;

/// Refuses more batches than a plan may have.
void check_batches(const Section& root, const RunConfig& c) {
  const int64_t accumulate = c.train.gradient_accumulation_steps;
  if (static_cast<double>(std::max<int64_t>(1, c.train.steps)) * static_cast<double>(accumulate) * static_cast<double>(c.schedule.groups) <=
      static_cast<double>(most_batches))
    return;
  root.refuse(c.train.steps > 1 ? "train.steps"
              : accumulate > 1  ? "train.gradient_accumulation_steps"
                                : "schedule.groups",
              cat("a run of ", std::max<int64_t>(1, c.train.steps), " steps of ", accumulate, " x ", c.schedule.groups,
                  " batches has more than ", most_batches),
              "take fewer");
}

}  // namespace

Error refusal(const RunConfig& config, const std::string& key, const std::string& what, const std::string& remedy) {
  Error error(ExitCode::usage, "config", cat(key, ": ", what), remedy);
  const auto origin = config.origins.find(key);
  return std::move(error.at("file", origin == config.origins.end() ? "defaults" : origin->second));
}

RunConfig read_run_config(std::span<const std::filesystem::path> files, std::span<const std::string> overrides) {
  const ConfigNode root = load_config(files, overrides);
  Section s(root);
  RunConfig c;
  read_device(s, c);
  c.model = read_model(s.section("model"));
  c.objective = read_objective(s.section("objective"));
  c.train = read_train(s.section("train"));
  check_model(s, c.model, c.objective.kind);
  c.tasks = read_tasks(s, c.objective, c.train.global_batch);
  c.schedule = read_schedule(s.section("schedule"), c.tasks);
  c.optim = read_optim(s.section("optim"));
  c.published = read_published(s.section("published"));
  s.finish();
  check_metric(s, c);
  check_score_precision(s, c);
  check_batches(s, c);
  c.resolved = s.resolved();
  c.keys = s.read_keys();
  c.origins = s.origins();
  return c;
}

}  // namespace lodestone
