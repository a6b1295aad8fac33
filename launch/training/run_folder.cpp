#include "launch/training/run_folder.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <numeric>
#include <thread>

#include "data/checkpoints/checkpoint.h"
#include "data/files/durable.h"
#include "launch/console/version.h"
#include "launch/networks/verify_export.h"
#include "launch/training/run_checkpoint.h"
#include "launch/training/run_place.h"

namespace lodestone {

namespace fs = std::filesystem;

namespace {

constexpr int64_t max_failed_saves = 3;

/// With four decimals; "-" where there is no number.
std::string fixed(double value) {
  char text[32] = "-";
  if (std::isfinite(value)) std::snprintf(text, sizeof text, "%.4f", value);
  return text;
}

/// One number in a text, by printf's rules.
std::string printed(const char* format, double value) {
  char text[64];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

}  // namespace

RunFolder::RunFolder(World& world, const RunConfig& config)
    : world_(world), dir_(config.train.output_dir), save_total_limit_(config.train.save_total_limit) {
  int64_t newest = -1;
  if (world_.rank() == 0) {
    take_place();
    try {
      newest = begin(config);
    } catch (const std::exception& error) {
      failed(as_error(error));
      throw;
    }
  }
  all_reduce(world_.comm(), std::span(&newest, 1), Reduce::max);
  resumed_ = newest >= 0;
  first_step_ = last_step_ = resumed_ ? newest : 0;
  last_saved_ = newest;
  world_.watchdog().set_last_words([this](const Error& error) { failed(error); });
}

void RunFolder::take_place() {
  std::error_code failure;
  fs::create_directories(dir_, failure);
  if (failure || !fs::is_directory(dir_, failure))
    throw Error(ExitCode::storage, "F21", cat("the run folder cannot be made: ", failure ? failure.message() : "it is a file"),
                "choose another train.output_dir")
        .at("file", dir_.string());
  require_run_place(dir_);
  const char* job = std::getenv("SLURM_JOB_ID");
  lock_.emplace(dir_, job == nullptr ? "" : job);
  require_run_place(dir_);  // the job that held the lock may have finished the run
}

int64_t RunFolder::begin(const RunConfig& config) {
  check_writable(dir_);
  if (!lock_->takeover().empty()) print_warning(lock_->takeover());
  print_warnings(sweep_temporaries(dir_));
  std::vector<std::string> messages;
  const auto found = find_newest_verified(dir_, messages);
  print_warnings(messages);
  if (found) {
    last_step_ = found->manifest.step;
    require_same_config(found->manifest.documents.at("config.yaml"), config.keys, found->path);
    std::cout << "resuming from " << printable(found->path.string()) << std::endl;
  }
  const int64_t newest = found ? found->manifest.step : -1;
  write_file_atomically(dir_ / "config.yaml", config.resolved);
  metrics_ = MetricsFile(dir_, newest > 0 ? newest + 1 : 0);  // a run that begins at step 0 records it anew
  write_status(dir_, "running", 0, last_step_, "");
  return newest;
}

RunFolder::~RunFolder() { world_.watchdog().set_last_words({}); }

void RunFolder::keep_chunk_tokens(TrainConfig& train) const {
  if (!train.chunk_tokens_is_auto || !resumed_) return;
  const std::optional<int64_t> before = chunk_tokens_of(dir_ / checkpoint_name(first_step_));
  train.chunk_tokens_is_auto = !before.has_value();
  train.chunk_tokens = before.value_or(train.chunk_tokens);
}

void RunFolder::resume(Run& run) {
  if (resumed_) restore_run(run, dir_ / checkpoint_name(first_step_));
  // Anew at each start: one that left no checkpoint may have had other model files, and some settings may change at a resume.
  if (world_.rank() == 0) run.network->keep_source(run.tokenizer, dir_ / "source");
}

void RunFolder::record(int64_t step, const std::vector<std::pair<std::string, double>>& values,
                       const std::vector<std::pair<std::string, std::span<const double>>>& lists) {
  metrics_.write(step, values, lists);
}

void RunFolder::log_mining(int64_t step, const MiningReport& r, Progress& progress) {
  if (world_.rank() != 0) return;
  const std::vector<std::pair<std::string, double>> values{
      {"mining_checked", static_cast<double>(r.checked)},           {"mining_replaced", static_cast<double>(r.replaced)},
      {"mining_exhausted", static_cast<double>(r.exhausted)},       {"mining_old_score", r.old_score()},
      {"mining_first_scored", static_cast<double>(r.first_scored)}, {"mining_new_score", r.new_score()}};
  record(step, values);
  progress.clear();
  std::cout << "mining after step " << step << ": " << r.replaced << " of " << r.checked << " replaced, their mean score "
            << fixed(r.old_score()) << "; " << r.first_scored << " new ones scored, mean " << fixed(r.new_score()) << "; " << r.exhausted
            << " lists ended" << std::endl;
}

double StepRecord::token_imbalance() const {
  const double sum = std::accumulate(rank_tokens.begin(), rank_tokens.end(), 0.0);
  return *std::max_element(rank_tokens.begin(), rank_tokens.end()) * static_cast<double>(rank_tokens.size()) / sum - 1;
}

void RunFolder::log_step(int64_t step, const StepRecord& r, const Run& run, Meter& meter, Progress& progress) {
  const Rates rates = meter.take();
  if (world_.rank() != 0) return;
  std::vector<std::pair<std::string, double>> values{{"loss", r.means.loss},
                                                     {"grad_norm", r.grad_norm},
                                                     {"learning_rate", r.learning_rate},
                                                     {"pairs_per_s", rates.pairs_per_s},
                                                     {"tokens_per_s", rates.tokens_per_s},
                                                     {"step_s", rates.step_s},
                                                     {"stall_share", rates.stall_share},
                                                     {"token_imbalance", r.token_imbalance()}};
  std::string of_tasks;
  for (size_t t = 0; run.work.tasks.size() > 1 && t < run.work.tasks.size(); ++t) {
    values.emplace_back("loss/" + run.work.tasks[t]->cfg.name, r.means.of_task[t]);
    of_tasks += cat(t == 0 ? "" : ", ", printable(run.work.tasks[t]->cfg.name), ' ', fixed(r.means.of_task[t]));
  }
  if (r.means.masked > 0) values.emplace_back("masked_candidates", r.means.masked);
  if (run.loss_scale) values.emplace_back("loss_scale", r.loss_scale);
  record(step, values, {{"rank_tokens", r.rank_tokens}});
  std::vector<std::string> figures{printed("loss %.4f", r.means.loss)};
  if (r.skipped) figures.emplace_back("not finite: skipped");
  figures.insert(figures.end(), {printed("norm %.3f", r.grad_norm), printed("lr %.2e", r.learning_rate),
                                 printed("%.1f pairs/s", rates.pairs_per_s), printed("%.0f tokens/s", rates.tokens_per_s)});
  if (!of_tasks.empty()) figures.push_back(of_tasks);
  progress.show(step, figures, Progress::Plain::print);
}

void RunFolder::log_heldout(int64_t step, Run& run, Meter& meter, Progress& progress) {
  meter.pause();
  const std::vector<HeldOutFigures> all = heldout_figures(run);
  meter.resume();
  std::string measured;
  bool judged = run.cfg.train.metric.empty();
  for (const HeldOutFigures& h : all) {
    const std::string suffix = h.task.empty() ? "" : "/" + h.task;
    std::vector<std::pair<std::string, double>> values;
    std::string line = cat("held out after step ", step, h.task.empty() ? "" : ", " + h.task, ":");
    for (const Figure& f : h.figures) {
      values.emplace_back(cat("heldout_", f.name, suffix), f.value);
      judged = judged || values.back().first == run.cfg.train.metric;
      measured += cat(measured.empty() ? "" : ", ", values.back().first);
      line += cat("  ", f.name, ' ', fixed(f.value));
    }
    if (world_.rank() != 0) continue;
    values.emplace_back("heldout_rows" + suffix, static_cast<double>(h.rows));
    record(step, values);
    progress.clear();
    std::cout << line << "  (" << h.rows << " rows)" << std::endl;
  }
  if (!judged)
    throw Error(ExitCode::usage, "config",
                cat("train.metric is ", printable(run.cfg.train.metric), ", which held-out rows do not give here"),
                measured.empty() ? std::string("give data.heldout") : cat("one of ", measured));
}

void RunFolder::save(int64_t step, SaveFor purpose, Run& run, Meter& meter, Progress& progress) {
  if (step == last_saved_) return;
  meter.pause();
  require_finite(run.ex, run.params(),
                 "lower optim.learning_rate or use precision f32, and choose another train.output_dir; earlier checkpoints are kept");
  const std::string failure = write_snapshot(run.planes.group().host, dir_, take_snapshot(run, step));
  if (failure.empty() && world_.rank() == 0) {
    verified_[step] = true;
    print_warnings(retain_checkpoints(dir_, save_total_limit_, std::nullopt, verified_));
  }
  meter.resume();
  if (!failure.empty()) return report_failed_save(step, purpose, failure, progress);
  last_saved_ = step;
  failed_saves_ = 0;
}

void RunFolder::report_failed_save(int64_t step, SaveFor purpose, const std::string& failure, Progress& progress) {
  ++failed_saves_;
  const std::string what = cat("checkpoint of step ", step, " could not be saved (", failure, ")");
  const std::string last = last_saved_ < 0 ? "there is no earlier one" : cat("the last good one is ", checkpoint_name(last_saved_));
  const std::string remedy = cat("free space, or mend what is named, and run the same command: it ",
                                 last_saved_ < 0 ? "begins anew" : cat("goes on from step ", last_saved_));
  const auto say = [&](const char* next) {
    if (world_.rank() != 0) return;
    progress.clear();
    print_warning(cat(what, "; ", next));
  };
  switch (purpose) {
    case SaveFor::later:
      if (failed_saves_ >= max_failed_saves)
        throw Error(ExitCode::storage, "F19", cat(failed_saves_, " checkpoints in a row could not be saved; ", what, "; ", last), remedy)
            .at("step", step);
      return say("training goes on");
    case SaveFor::stop:
      throw Error(ExitCode::storage, "F19", cat("stopped, but the ", what, "; ", last), remedy).at("step", step);
    case SaveFor::end:
      return say("training has ended, and the model is written without it");
  }
  throw_internal(__FILE__, __LINE__, "purpose", "no such save");
}

void RunFolder::judge(const Run& run, ModelCard& card) const {
  const std::string& metric = run.cfg.train.metric;
  const auto history = metric_history(dir_, metric);
  if (history.empty()) return;  // its records could not be written
  const auto& [first_step, before] = history.front();
  const auto& [last_step, after] = history.back();
  std::cout << metric << ": " << fixed(before) << " after step " << first_step << ", " << fixed(after) << " after step " << last_step
            << std::endl;
  for (const auto& task : run.work.tasks)
    if (task->heldout && (run.work.tasks.size() == 1 || metric.ends_with("/" + task->cfg.name) || metric.find('/') == std::string::npos))
      card.results.push_back({task->cfg.data.heldout.filename().string(), metric, before, after});
}

void RunFolder::report_lost_records() const {
  if (metrics_.lost_records() > 0) print_warning(cat(metrics_.lost_records(), " records of metrics.jsonl could not be written"));
}

void RunFolder::finish(Run& run) {
  if (world_.rank() == 0) {
    ModelCard card;
    card.name = dir_.filename().string();
    card.base_model = run.cfg.model.folder.empty() ? "" : run.cfg.model.folder.filename().string();
    for (const auto& task : run.work.tasks) {
      card.loss += cat(card.loss.empty() ? "" : "; ", run.work.tasks.size() > 1 ? task->cfg.name + ": " : "",
                       task->loss != nullptr ? describe(task->cfg.loss) : run.network->head());
      card.training_pairs += task->data->rows().rows();
    }
    card.steps = run.work.schedule.config().steps;
    card.hyper_parameters = {{"global batch", cat(run.work.tasks.front()->cfg.global_batch)},
                             {"learning rate", cat(run.cfg.optim.learning_rate)},
                             {"precision", name_of(run.cfg.train.precision)}};
    card.program = cat("Lodestone ", version);
    if (!run.cfg.train.metric.empty()) judge(run, card);
    run.network->write(dir_ / "model", dir_ / "source", card, run.tokenizer, *run.backend);
    write_status(dir_, "finished", 0, last_step_, "");
    std::cout << "model: " << printable((dir_ / "model").string()) << std::endl;
    report_lost_records();
  }
  run.planes.group().host.barrier();
}

int RunFolder::stopped(int64_t step, const Run& run) {
  constexpr int code = static_cast<int>(ExitCode::stopped_early);
  if (world_.rank() == 0) {
    write_status(dir_, "stopped", code, step, "");
    std::cout << "stopped after step " << step << "; checkpoint saved, run the same command to go on" << std::endl;
    report_lost_records();
  }
  run.planes.group().host.barrier();
  return code;
}

void RunFolder::ended_unsaved(Error error) {
  if (recorded_state(dir_) == "failed") return;  // why this run ends is said: a launcher that ends the other ranks sends signals too
  error.at("step", last_step_.load());
  failed(error);
  if (world_.rank() != 0) std::this_thread::sleep_for(std::chrono::seconds(1));  // where every rank has a second signal, rank 0 speaks
  print_line(error_line(error, world_.rank(), world_.host()));
}

void RunFolder::failed(const Error& error) {
  write_status(dir_, "failed", static_cast<int>(error.exit_code()), last_step_, error_line(error, world_.rank(), world_.host()));
}

}  // namespace lodestone
