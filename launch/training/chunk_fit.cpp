#include "launch/training/chunk_fit.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "core/null/dry_run.h"
#include "launch/training/batch_kinds.h"

namespace lodestone {

namespace {

constexpr size_t margin_divisor = 32;

/// A GPU, or a backend that counts what one would do.
bool is_gpu(const Backend& backend) { return backend.device() == Device::cuda || backend.device() == Device::null; }

/// What a step of `batch` takes in chunks of so many tokens. The loss may be null where the objective has none.
MemoryEstimate step_of(RunConfig config, int64_t chunk_tokens, const Exec& ex, Loss* loss, const Batch& batch) {
  config.train.chunk_tokens = chunk_tokens;
  DryRun dry(ex.backend, ScratchCount::left_out);  // parameters of a second network take no memory there
  const std::unique_ptr<Network> network = open_network(config, Weights::shapes, dry.backend());
  return estimate_memory(ex, network->params().layout().count(), batch,
                         [&](const Group& group) { return network->objective(loss, group); });
}

/// Its step memory; where that is automatic, with no more activations than have to be kept.
size_t step_memory(RunConfig config, int64_t chunk_tokens, const Exec& ex, Loss* loss, const Batch& batch) {
  if (config.train.keep_activations_is_auto && is_gpu(ex.backend)) config.train.keep_activations_mb = 0;
  const MemoryEstimate step = step_of(std::move(config), chunk_tokens, ex, loss, batch);
  return step.activations + step.embeddings + step.work;
}

/// A rank's share of a task's batch whose texts all reach their limits.
Batch longest_batch(const RunConfig& config, size_t task, int ranks) {
  const TaskConfig& of = config.tasks[task];
  const std::vector<int64_t> teams = team_sizes(schedule_config(config), static_cast<int32_t>(task), ranks);
  const RowTexts texts = texts_of(config.objective.kind, of.data.train_group_size);
  return longest_lengths(of.global_batch, text_limits(config, of), texts.queries, texts.passages, 1,
                         static_cast<int>(*std::ranges::min_element(teams)))
      .largest;
}

std::unique_ptr<Loss> loss_of(const RunConfig& config, const Network& network, const Exec& ex, size_t task) {
  return trains_vectors(config.objective.kind) ? make_loss(config.tasks[task].loss, network.embedding(), ex.backend.device()) : nullptr;
}

}  // namespace

size_t room_for_steps(const Memory& memory, const TrainConfig& train, size_t others_bytes) {
  constexpr size_t least = size_t{1} << 20, all_there_is = size_t{1} << 42;
  const bool asked = train.step_memory_mb > 0;
  const size_t wanted = asked                             ? static_cast<size_t>(train.step_memory_mb) << 20
                        : memory.device() == Device::cuda ? all_there_is
                                                          : Arena::default_reserve_bytes;
  const size_t all = memory.reservable(wanted + others_bytes), room = all > others_bytes ? all - others_bytes : 0;
  if (room < (asked ? wanted : least))
    throw Error(ExitCode::resource, "F14",
                cat("the device has ", room >> 20, " MiB left for step memory", asked ? cat(", not ", wanted >> 20) : ""),
                "look who else uses it (nvidia-smi): ranks that share a GPU need train.step_memory_mb, or a smaller one");
  return asked ? room : room_less_margin(room);
}

size_t room_less_margin(size_t room_bytes) {
  return std::min(room_bytes, std::max(Arena::default_reserve_bytes, room_bytes - room_bytes / margin_divisor));
}

int64_t automatic_chunk_tokens(const RunConfig& config, const Network& network, const Exec& ex, int ranks, size_t room_bytes) {
  if (!is_gpu(ex.backend)) return config.train.chunk_tokens;
  std::vector<std::pair<Batch, std::unique_ptr<Loss>>> steps;
  for (size_t task = 0; task < config.tasks.size(); ++task)
    steps.emplace_back(longest_batch(config, task, ranks), loss_of(config, network, ex, task));
  const auto fits = [&](int64_t tokens) {
    return std::ranges::all_of(
        steps, [&](const auto& step) { return step_memory(config, tokens, ex, step.second.get(), step.first) <= room_bytes; });
  };
  for (const int64_t tokens : {8192, 4096, 2048})
    if (fits(tokens)) return tokens;
  return 1024;
}

int64_t automatic_keep_mb(const RunConfig& config, const Network& network, const Exec& ex, int ranks, size_t room_bytes) {
  if (!is_gpu(ex.backend) || !trains_vectors(config.objective.kind)) return config.train.keep_activations_mb;
  RunConfig keeps_none = config;
  keeps_none.train.keep_activations_mb = 0;
  size_t hungriest = 0;
  for (size_t task = 0; task < config.tasks.size(); ++task) {
    const TextLimits limits = text_limits(config, config.tasks[task]);
    // Texts of L tokens fill chunks of C + L to more than C, as full as chunks of C can be.
    const int64_t tokens = config.train.chunk_tokens + std::max(limits.query, limits.passage);
    const MemoryEstimate step =
        step_of(keeps_none, tokens, ex, loss_of(config, network, ex, task).get(), longest_batch(config, task, ranks));
    // Where one chunk of C + L is all, several of C may still be too many to keep: then one of them is computed again beside the others.
    const size_t again = step.chunks.all == 1 ? step.activations : 0;
    hungriest = std::max(hungriest, step.embeddings + step.work + again);
  }
  const size_t taken = hungriest + room_bytes / margin_divisor;
  return static_cast<int64_t>((room_bytes - std::min(room_bytes, taken)) >> 20);
}

ChunkCounts chunks_of_longest(const RunConfig& config, const Network& network, const Exec& ex, size_t task, int ranks) {
  if (!trains_vectors(config.objective.kind)) return {};
  return step_of(config, config.train.chunk_tokens, ex, loss_of(config, network, ex, task).get(), longest_batch(config, task, ranks))
      .chunks;
}

std::string kept_text(const ChunkCounts& chunks, const TrainConfig& train) {
  return cat(chunks.kept, " of ", chunks.all, chunks.all == 1 ? " chunk" : " chunks", " kept",
             chunks.kept < chunks.all ? cat(" in up to ", train.keep_activations_mb, " MiB, the rest computed twice") : "");
}

int64_t largest_fitting_chunk(const Run& run, const Task& task, const Batch& batch) {
  const auto fits = [&](int64_t tokens) { return step_memory(run.cfg, tokens, run.ex, task.loss.get(), batch) <= run.step_memory_bytes; };
  if (fits(run.cfg.train.chunk_tokens)) return 0;
  const int64_t bucket = run.backend->row_bucket();
  int64_t most = 0, too_many = (run.cfg.train.chunk_tokens + bucket - 1) / bucket;  // in buckets, since rows are padded to whole ones
  while (too_many - most > 1) {
    const int64_t middle = most + (too_many - most) / 2;
    (fits(middle * bucket) ? most : too_many) = middle;
  }
  return most * bucket;
}

}  // namespace lodestone
