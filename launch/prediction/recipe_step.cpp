#include "launch/prediction/recipe_step.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "launch/networks/fitting_model.h"
#include "launch/prediction/counted_step.h"
#include "launch/training/batch_kinds.h"
#include "launch/training/chunk_fit.h"
#include "launch/training/workload.h"

namespace lodestone {

namespace {

/// Of a task on some ranks.
struct TaskShare {
  const TaskConfig& task;
  int64_t all_ranks = 0, team = 0, training = 0;  // of the run; that share a batch; that train the task
  int64_t batches = 0, parts = 0;                 // of the task in a step; of those, one team's
  Batch batch = {};                               // the first rank's
  double tokens_per_step = 0;                     // of all ranks
};

/// Leaves of the tokens that are to be predicted this share, evenly spread.
void thin(std::vector<int32_t>& labels, double share) {
  double before = 0;
  for (int32_t& label : labels) {
    const double behind = before + share;
    if (std::floor(behind) == std::floor(before)) label = no_label;
    before = behind;
  }
}

void mask(const RetroMaeOptions& options, Batch& batch) {
  thin(batch.mlm_labels, options.encoder_mlm_probability);
  if (options.decoding == Decoding::basic) thin(batch.decoder_labels, options.decoder_mlm_probability);
}

TaskShare share_of(const RunConfig& c, size_t t, int ranks) {
  const TaskConfig& task = c.tasks[t];
  const std::vector<int64_t> teams = team_sizes(schedule_config(c), static_cast<int32_t>(t), ranks);
  const auto sets = static_cast<int64_t>(teams.size());
  TaskShare share{.task = task,
                  .all_ranks = ranks,
                  .team = *std::ranges::min_element(teams),
                  .training = std::accumulate(teams.begin(), teams.end(), int64_t{0}),
                  .batches = c.train.gradient_accumulation_steps * c.schedule.groups,
                  .parts = c.train.gradient_accumulation_steps * ((c.schedule.groups + sets - 1) / sets)};
  const RowTexts texts = texts_of(c.objective.kind, task.data.train_group_size);
  LengthSample lengths =
      longest_lengths(task.global_batch, text_limits(c, task), texts.queries, texts.passages, share.batches, static_cast<int>(share.team));
  share.batch = std::move(lengths.largest);
  share.tokens_per_step = lengths.tokens_per_step;
  complete_batch(share.batch);
  if (c.objective.kind == ObjectiveKind::retromae) mask(c.objective.retromae, share.batch);
  return share;
}

/// What a run would have for its steps on the GPU, as launch/training/chunk_fit.h says it of one that is there.
size_t room_of(const RunConfig& c, const ParamStore& params, const GpuCeilings& gpu, int ranks) {
  constexpr size_t of_libraries = size_t{512} << 20;
  if (c.train.step_memory_mb > 0) return static_cast<size_t>(c.train.step_memory_mb) << 20;
  const size_t wide = static_cast<size_t>(params.layout().count()) * size_of(params.wide_dtype());
  const size_t rounded = c.train.precision == DType::bf16 ? wide / 2 : 0,
               moments = 2 * wide / static_cast<size_t>(c.optim.zero ? ranks : 1);
  const size_t all = static_cast<size_t>(gpu.memory_bytes), others = of_libraries + 2 * wide + rounded + moments;
  return room_less_margin(all > others ? all - others : size_t{1} << 20);
}

/// Settles what is automatic as a run on the GPU would, and returns what step memory it has there.
size_t settle(RunConfig& c, const GpuCeilings& gpu, int ranks) {
  CountingBackend backend;
  const std::unique_ptr<Network> network = open_network(c, Weights::shapes, backend);
  require_fitting_dims(c, *network);
  Arena arena(backend.memory());
  const Exec ex{backend, arena, Key(), c.train.precision};
  const size_t room = room_of(c, network->params(), gpu, ranks);
  if (c.train.chunk_tokens_is_auto) c.train.chunk_tokens = automatic_chunk_tokens(c, *network, ex, ranks, room);
  if (c.train.keep_activations_is_auto) c.train.keep_activations_mb = automatic_keep_mb(c, *network, ex, ranks, room);
  return room;
}

PredictedStep predict_task(const RunConfig& c, const TaskShare& share, const GpuCeilings& gpu, size_t room_bytes) {
  CountedStep counted(c.train.precision, static_cast<int>(share.all_ranks), c.cuda_graphs ? Launches::graphs : Launches::single,
                      room_bytes);
  const CountingGroup team(counted.backend(), static_cast<int>(share.team));
  const std::unique_ptr<Network> network = open_network(c, Weights::shapes, counted.backend());
  const std::unique_ptr<Loss> loss = trains_vectors(c.objective.kind) ? make_loss(share.task.loss, network->embedding()) : nullptr;
  const std::unique_ptr<Objective> objective = network->objective(loss.get(), team.group());
  counted.run(*objective, share.batch, share.parts, network->params(), c.optim.zero);

  const double own_part = static_cast<double>(share.batch.queries) / static_cast<double>(share.task.global_batch);
  const EncoderConfig& e = network->encoder_config();
  return {{.name = cat(share.task.name, ", ", e.layers, " layers of ", e.hidden, ", ", name_of(c.train.precision),
                       ", every text as long as it may be", c.cuda_graphs ? ", CUDA graphs" : ""),
           .ranks = static_cast<int>(share.training),
           .rows = share.task.global_batch * share.batches,
           .tokens = share.tokens_per_step,
           .flops = encoder_flops(e, share.batch.tokens()) / own_part * static_cast<double>(share.batches),
           .memory_bytes = counted.memory_bytes(),
           .chunk_tokens = c.train.chunk_tokens},
          predict(counted.work(), gpu, static_cast<int>(share.all_ranks)),
          gpu};
}

}  // namespace

std::vector<PredictedStep> predict_recipe(const RunConfig& config, const GpuCeilings& gpu, int ranks) {
  RunConfig settled = config;
  const size_t room_bytes = settle(settled, gpu, ranks);
  std::vector<PredictedStep> steps;
  for (size_t t = 0; t < config.tasks.size(); ++t) steps.push_back(predict_task(settled, share_of(settled, t, ranks), gpu, room_bytes));
  return steps;
}

}  // namespace lodestone
