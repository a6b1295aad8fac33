#include "launch/bench_step.h"

#include <sys/resource.h>

#include <algorithm>
#include <array>

#include "core/optim/clip.h"
#include "data/plan.h"
#include "launch/allocations.h"
#include "launch/log.h"

namespace lodestone {

namespace {

EmbedderConfig shape_of(const std::string& model) {
  if (model == "minilm") return {};   // EncoderConfig's defaults: 6 layers of 384
  EmbedderConfig c;
  c.encoder = {.vocab = 30522, .hidden = 768, .layers = 12, .heads = 12, .feed_forward = 3072};
  return c;
}

ParamStore random_params(const EmbedderConfig& config, DType compute, Backend& backend) {
  ParamStore params(embedder_layout(config), compute);
  initialize_parameters(config, params, 1);
  params.refresh(backend);
  return params;
}

/// Tokens of a text; `u` is uniform in [0,1).
int64_t length_of(const std::string& lengths, Role role, double u) {
  const auto between = [u](int64_t least, int64_t most) { return least + static_cast<int64_t>(static_cast<double>(most - least + 1) * u); };
  if (lengths == "dense") return 128;
  if (lengths == "short") return between(4, 8);
  return role == Role::query ? between(5, 20) : between(16, 128);
}

int64_t page_faults() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_minflt + usage.ru_majflt;
}

}  // namespace

double WatchedLoss::evaluate(Exec& ex, Communicator& group, ConstTensor emb, const Pairs& pairs, double weight, Tensor d_emb) {
  before_ = ex.arena.peak_bytes();
  ex.arena.reset_peak();
  const double share = loss_->evaluate(ex, group, emb, pairs, weight, d_emb);
  peak_ = ex.arena.peak_bytes();
  ex.arena.reset_peak();
  return share;
}

BenchStep::BenchStep(World& world, const BenchOptions& options)
    : world_(world),
      options_(options),
      config_(shape_of(options.model)),
      cores_(choose_threads(world, options.threads)),
      backend_(make_backend({.kind = "cpu", .threads = cores_.threads})),
      ex_{*backend_, arena_, Key(1), options.precision == "bf16" ? DType::bf16 : DType::f32},
      params_(random_params(config_, ex_.compute, *backend_)),
      grads_memory_(static_cast<size_t>(params_.layout().count()) * sizeof(float)),
      grads_(grads_memory_.tensor(DType::f32, {params_.layout().count()})),
      encoder_(config_, params_),
      loss_(make_loss({}, config_.embedding())),
      objective_(encoder_, loss_, world.comm(),
                 {.chunk_tokens = options.chunk_tokens, .keep_activations_bytes = static_cast<size_t>(options.keep_mb) << 20}),
      optimizer_({}, params_.layout(), DType::f32),
      sync_(world.comm(), params_.layout().count(), DType::f32, {.watchdog = &world.watchdog(), .host = &world.host_comm()}) {}

Batch BenchStep::batch(int64_t pairs) const {
  const Key lengths = Key(1).with("bench lengths"), contents = lengths.with("ids");
  Batch b;
  for (int r = 0; r < world_.size(); ++r) {
    const RankRows part = rank_rows(pairs, r, world_.size());
    b.rank_queries.push_back(part.end - part.begin);
  }
  const RankRows mine = rank_rows(pairs, world_.rank(), world_.size());
  b.first_query = mine.begin;
  b.queries = mine.end - mine.begin;
  b.global_queries = pairs;
  const auto append = [&](int64_t row, Role role) {
    const auto text = static_cast<uint64_t>(2 * row + (role == Role::query ? 0 : 1));
    const int64_t length = length_of(options_.lengths, role, lengths.uniform(text));
    for (int64_t i = 0; i < length; ++i)
      b.ids.push_back(static_cast<int32_t>(1000 + contents.bits(text * 512 + static_cast<uint64_t>(i)) % 29000));
    b.offsets.push_back(static_cast<int64_t>(b.ids.size()));
    b.keys.push_back(text_key(static_cast<uint64_t>(row), role, 0, static_cast<uint64_t>(row)));
    (role == Role::query ? b.query_hash : b.passage_hash).push_back(text);
    if (role == Role::positive) b.passage_document.push_back(text);
  };
  for (int64_t row = mine.begin; row < mine.end; ++row) append(row, Role::query);
  for (int64_t row = mine.begin; row < mine.end; ++row) append(row, Role::positive);
  return b;
}

StepCounts BenchStep::run(const Batch& batch) {
  world_.comm().barrier();
  const int64_t faults = page_faults();
  const uint64_t allocations = heap_allocations();
  const double start = now_s();
  arena_.reset_peak();
  backend_->fill_zero(grads_);
  sync_.begin(grads_);
  double loss = objective_.accumulate(ex_.with(ex_.key.with(steps_)), batch, 1, grads_, sync_.hook());
  sync_.finish(grads_);
  const double norm = sync_.norm(*backend_, grads_);
  all_reduce(world_.comm(), std::span(&loss, 1), Reduce::sum);
  optimizer_.step(ex_, 1e-5, clip_scale(norm, 1), grads_, params_);
  ++steps_;
  std::array<double, 3> counts{now_s() - start, static_cast<double>(page_faults() - faults), static_cast<double>(heap_allocations() - allocations)};
  all_reduce(world_.comm(), counts, Reduce::max);
  return {counts[0], static_cast<int64_t>(counts[1]), static_cast<int64_t>(counts[2])};
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
    if (i > 1) best_s = std::min(best_s, now_s() - start);
  }
  double rate = 2.0 * static_cast<double>(rows * hidden * feed_forward) / best_s;
  all_reduce(world_.comm(), std::span(&rate, 1), Reduce::sum);
  return rate;
}

StepMemory BenchStep::memory(const Batch& batch) const {
  const auto row = static_cast<size_t>(config_.embedding()) * sizeof(float);
  const size_t texts = static_cast<size_t>(batch.tokens().texts()) * row;
  const size_t gathered = static_cast<size_t>(batch.global_queries * batch.group) * row;
  const size_t second_pass = arena_.peak_bytes(), in_loss = 5 * texts + 2 * gathered;
  // First pass: vectors in both orders. Loss: their gradient, unit vectors and theirs, all ranks' passages and theirs.
  // Second pass: vectors in both orders, and the gradient.
  return {.peak_bytes = std::max({loss_.peak_before(), loss_.peak(), second_pass}),
          .vectors_bytes = in_loss,
          .beyond_bytes = std::max({loss_.peak_before() - 2 * texts, loss_.peak() - in_loss, second_pass - 3 * texts})};
}

double BenchStep::flops(const Batch& batch) const {
  const EncoderConfig& e = config_.encoder;
  const double per_token = 6.0 * static_cast<double>(e.layers * (4 * e.hidden * e.hidden + 2 * e.hidden * e.feed_forward));
  double flops = 0;
  for (int64_t t = 0; t < batch.tokens().texts(); ++t) {
    const auto length = static_cast<double>(batch.tokens().length(t));
    flops += length * (per_token + 12.0 * static_cast<double>(e.layers * e.hidden) * length);
  }
  return flops;
}

}  // namespace lodestone
