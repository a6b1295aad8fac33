#include "launch/bench/bench_step.h"

#include <sys/resource.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "comm/null_comm.h"
#include "comm/require_same.h"
#include "core/null/dry_run.h"
#include "core/optim/clip.h"
#include "data/checkpoints/replica_hash.h"
#include "data/files/durable.h"
#include "data/plan/plan.h"
#include "launch/bench/bench_shares.h"
#include "launch/console/allocations.h"
#include "launch/console/gpus.h"
#include "launch/console/log.h"
#include "launch/console/version.h"

namespace lodestone {

namespace {

ParamStore random_params(const EmbedderConfig& config, DType compute, Backend& backend) {
  ParamStore params(backend.memory(), embedder_layout(config), compute);
  edit_on_host(params, backend, [&](ParamStore& host) { initialize_parameters(config, host, 1); });
  return params;
}

int64_t page_faults() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_minflt + usage.ru_majflt;
}

Seconds slowest(World& world, Seconds own) {
  std::array<double, 2> most{own.wall, own.processor};
  all_reduce(world.comm(), most, Reduce::max);
  return {most[0], most[1]};
}

}  // namespace

Seconds Seconds::now() {
  timespec t{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return {now_s(), static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec)};
}

LossResult WatchedLoss::evaluate(Exec& ex, const Group& group, ConstTensor emb, const Pairs& pairs, double weight, Tensor d_emb,
                                 Tensor share) {
  if (watch_ == Watch::whole) return loss_->evaluate(ex, group, emb, pairs, weight, d_emb, share);
  ex.backend.synchronize();
  const Seconds start = Seconds::now();
  const LossResult result = loss_->evaluate(ex, group, emb, pairs, weight, d_emb, share);
  ex.backend.synchronize();
  seconds_ = Seconds::now() - start;
  return result;
}

BenchStep::BenchStep(World& world, const BenchOptions& options)
    : world_(world),
      options_(options),
      config_(bench_config(options)),
      cores_(choose_threads(world, options.threads)),
      backend_(make_backend(
          {.kind = options.backend, .threads = cores_.threads, .gpu = gpu_of_rank(world, options.backend), .launches = options.launches},
          common_instruction_set(world.comm(), best_instruction_set()))),
      planes_(world.comm(), *backend_, Transport::automatic, &world.watchdog()),
      compute_(compute_dtype(options)),
      params_(random_params(config_, compute_, *backend_)),
      grads_memory_(backend_->memory(), static_cast<size_t>(params_.layout().count()) * sizeof(float)),
      grads_(grads_memory_.tensor(DType::f32, {params_.layout().count()})),
      encoder_(config_, params_),
      loss_(make_loss(bench_loss(options.loss).config(config_.embedding()), config_.embedding(), backend_->device())),
      objective_(objective(planes_.group())),
      optimizer_(backend_->memory(), {}, params_.layout(), DType::f32),
      sync_(planes_.group(), *backend_, params_.layout().count(), DType::f32, {.watchdog = &world.watchdog(), .host = &world.host_comm()}),
      results_(*backend_, 1),
      product_(options.ceiling_edge > 0 ? std::optional<LargeProduct>(std::in_place, *backend_, options.ceiling_edge, compute_)
                                        : std::nullopt),
      arena_(backend_->memory()),
      ex_{*backend_, arena_, Key(1), compute_} {}

CompareTimes BenchStep::compare() {
  const auto compare = [&](const char* what, std::span<const CheckpointVector> vectors) {
    const std::vector<uint64_t> hashes = replica_hashes(*backend_, arena_, params_.layout(), vectors);
    const Fingerprint prints[] = {{.what = what, .hash = checksum(std::as_bytes(std::span(hashes)))}};
    require_same(world_.comm(), prints, {.remedy = "test the memory of that host, and give every host the same libraries"});
  };
  const CheckpointVector all[] = {
      {"params", params_.masters()}, {"adam_m", optimizer_.first_moments()}, {"adam_v", optimizer_.second_moments()}};
  std::vector<double> start, replicas;
  for (int repeat = 0; repeat < 5; ++repeat) {
    world_.comm().barrier();
    const double begin_s = now_s();
    const Fingerprint program[] = {program_fingerprint()};
    require_same(world_.comm(), program, {.remedy = "install the same build on every host"});
    compare("starting weights", std::span(all).first(1));
    const double started_s = now_s();
    compare("replicas", all);
    std::array<double, 2> seconds{started_s - begin_s, now_s() - started_s};
    all_reduce(world_.comm(), seconds, Reduce::max);
    start.push_back(seconds[0]);
    replicas.push_back(seconds[1]);
  }
  return {median(start), median(replicas)};
}

StepCounts BenchStep::run(const Batch& batch, Watch watch) {
  loss_.watch(watch);
  world_.comm().barrier();
  const int64_t faults = page_faults();
  const uint64_t allocations = heap_allocations();
  const Seconds start = Seconds::now();
  arena_.reset_peak();
  enqueue_gradients(batch);
  const double enqueue_s = now_s() - start.wall;
  if (watch == Watch::parts) backend_->synchronize();
  const Seconds update = Seconds::now();
  sync_.finish(grads_);
  backend_->sum_squares(grads_, results_.squares());
  std::array<double, 2> found{};  // loss and squares
  {
    const auto scope = arena_.scope();
    std::ranges::copy(results_.read(arena_), found.begin());
  }
  all_reduce(world_.comm(), std::span(found).first(1), Reduce::sum);
  const double norm = std::sqrt(found[1]);
  optimizer_.step(ex_, 1e-5, clip_scale(norm, 1), grads_, params_);
  backend_->synchronize();
  ++steps_;
  const Seconds end = Seconds::now();
  std::array<double, 2> counts{static_cast<double>(page_faults() - faults), static_cast<double>(heap_allocations() - allocations)};
  all_reduce(world_.comm(), counts, Reduce::max);
  return {.whole = slowest(world_, end - start),
          .loss = slowest(world_, loss_.seconds()),
          .update = slowest(world_, end - update),
          .enqueue_s = enqueue_s,
          .page_faults = static_cast<int64_t>(counts[0]),
          .allocations = static_cast<int64_t>(counts[1])};
}

Seconds BenchStep::loss_seconds(Loss& loss, const Batch& batch) {
  const auto scope = arena_.scope();
  const Shape matrix{batch.tokens().texts(), embedding()};
  const Tensor d_emb = arena_.tensor(ex_.wide(), matrix), share = zero_total(ex_);
  const std::span<float> vectors = arena_.array<float>(matrix.count());
  const Key key = Key(1).with("bench vectors").with(static_cast<uint64_t>(batch.first_query));
  uint64_t i = 0;
  for (float& x : vectors) x = static_cast<float>(key.uniform(i++) - 0.5);
  const ConstTensor emb = backend_->upload(view(std::span<const float>(vectors)), arena_).reshape(matrix);
  backend_->fill_zero(d_emb);
  backend_->synchronize();
  world_.comm().barrier();
  const Seconds start = Seconds::now();
  loss.evaluate(ex_, planes_.group(), emb, batch.pairs(), 1, d_emb, share);
  backend_->synchronize();
  return slowest(world_, Seconds::now() - start);
}

size_t BenchStep::step_bytes(const Batch& batch) {
  DryRun dry(*backend_);
  const auto alone = make_null_comm(world_.rank(), world_.size());
  EmbeddingObjective same = objective(*alone);
  const Tensor share = dry.arena().tensor(DType::f64, {1});
  same.accumulate(dry.exec(ex_.at(Key(1))), batch, 1, grads_, share, {});
  return dry.arena().peak_bytes();
}

size_t BenchStep::loss_bytes(Loss& loss, const Batch& batch) {
  DryRun dry(*backend_);
  const auto alone = make_null_comm(world_.rank(), world_.size());
  Exec ex = dry.exec(ex_);
  const Shape matrix{batch.tokens().texts(), embedding()};
  const Tensor emb = dry.arena().tensor(ex.wide(), matrix), d_emb = dry.arena().tensor(ex.wide(), matrix);
  loss.evaluate(ex, *alone, emb, batch.pairs(), 1, d_emb, dry.arena().tensor(DType::f64, {1}));
  return dry.arena().peak_bytes();
}

void BenchStep::touch(size_t bytes) {
  const auto scope = arena_.scope();
  backend_->fill_zero(arena_.tensor(DType::f32, {static_cast<int64_t>(bytes / sizeof(float))}));
}

double BenchStep::ceiling_flops_per_s() {
  const auto scope = arena_.scope();
  const int64_t rows = 1024, hidden = config_.encoder.hidden, feed_forward = config_.encoder.feed_forward;
  const Tensor x = arena_.tensor(ex_.compute, {rows, hidden}), w = arena_.tensor(ex_.compute, {feed_forward, hidden}),
               y = arena_.tensor(ex_.compute, {rows, feed_forward}), bias = arena_.tensor(ex_.wide(), {feed_forward});
  for (const Tensor& t : {x, w, bias}) backend_->fill_zero(t);
  world_.comm().barrier();
  double best_s = 1e30;
  for (int i = 0; i < 12; ++i) {
    const double start = now_s();
    backend_->linear(x, w, bias, y);
    backend_->synchronize();
    if (i > 1) best_s = std::min(best_s, now_s() - start);
  }
  double rate = 2.0 * static_cast<double>(rows * hidden * feed_forward) / best_s;
  all_reduce(world_.comm(), std::span(&rate, 1), Reduce::sum);
  return rate;
}

}  // namespace lodestone
