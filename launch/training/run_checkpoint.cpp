#include "launch/training/run_checkpoint.h"

#include <nlohmann/json.hpp>

#include "core/rng.h"
#include "data/checkpoints/loss_scale_document.h"
#include "data/files/durable.h"
#include "launch/console/log.h"
#include "launch/training/run_place.h"

namespace lodestone {

namespace {

/// Moments are held for the optimizer's own range only.
std::vector<CheckpointVector> state_of(Run& run) {
  const Slice own = run.optimizer.own();
  return {{"params", run.params().masters()},
          {"adam_m", run.optimizer.first_moments(), own.begin},
          {"adam_v", run.optimizer.second_moments(), own.begin}};
}

/// Of a vector that holds them, elements `share`.
CheckpointVector share_of(const CheckpointVector& v, Slice share) {
  return {v.name, v.values.slice({share.begin - v.begin, share.end - v.begin}), share.begin};
}

/// The same vectors where the host reads and writes them: themselves on the CPU, elsewhere zeros in `host`, which `memory` keeps.
std::vector<CheckpointVector> host_places(Memory& host, std::vector<CheckpointVector> vectors, std::vector<Buffer>& memory) {
  for (CheckpointVector& v : vectors) {
    if (v.values.device() == Device::cpu) continue;
    memory.emplace_back(host, v.values.size_bytes());
    v.values = memory.back().tensor(v.values.dtype(), v.values.shape());
  }
  return vectors;
}

std::map<std::string, std::string> fingerprints_of(const Run& run) {
  std::map<std::string, std::string> prints{{"tokenizer", hex64(run.tokenizer.fingerprint())}};
  for (const auto& task : run.work.tasks)
    prints[run.work.tasks.size() == 1 ? "corpus" : cat("corpus of task ", task->cfg.name)] = hex64(task->data->corpus.fingerprint());
  return prints;
}

/// Runs `work`, whatever it throws: returns what failed, or nothing.
template <class Work>
std::string failure_of(int rank, const Work& work) {
  try {
    work();
  } catch (const std::exception& exception) {
    const Error error = as_error(exception).at("rank", rank);
    return cat(error.code(), ' ', error.what(), ", ", error.where());
  }
  return {};
}

/// What failed on the first rank where something did, on all ranks; nothing where all succeeded. Collective.
std::string vote(Communicator& comm, std::string failure) {
  int64_t first = failure.empty() ? comm.size() : comm.rank();
  all_reduce(comm, std::span(&first, 1), Reduce::min);
  if (first < comm.size()) broadcast(comm, failure, static_cast<int>(first));
  return failure;
}

/// The name of a save: the same on all ranks, another one than that of an earlier save of the same step. Collective.
uint64_t save_id(Communicator& comm, int64_t step) {
  int64_t id = comm.rank() == 0 ? static_cast<int64_t>(mix64(static_cast<uint64_t>(step) ^ static_cast<uint64_t>(now_s() * 1e9)) >> 1) : 0;
  all_reduce(comm, std::span(&id, 1), Reduce::max);
  return static_cast<uint64_t>(id);
}

CheckpointManifest manifest_of(const Run& run, int64_t step, uint64_t id) {
  CheckpointManifest manifest;
  manifest.step = step;
  manifest.save_id = id;
  manifest.world_size = run.world.size();
  manifest.fingerprints = fingerprints_of(run);
  std::map<std::string, std::string>& documents = manifest.documents;
  documents["config.yaml"] = run.cfg.resolved;
  documents[model_facts_file] = run.network->facts();
  documents["trainer_state.json"] = cat("{\"global_step\": ", step, ", \"optimizer_steps\": ", run.optimizer.steps(),
                                        ", \"chunk_tokens\": ", run.cfg.train.chunk_tokens, "}\n");
  if (run.loss_scale) documents[loss_scale_file] = loss_scale_document(run.loss_scale->state());
  for (const auto& task : run.work.tasks)
    if (task->mining) documents[mining_state_file] = mining_state_document(task->mining->state());
  return manifest;
}

}  // namespace

RunSnapshot take_snapshot(Run& run, int64_t step) {
  const uint64_t id = save_id(run.planes.group().host, step);
  const int64_t count = run.params().layout().count();
  RunSnapshot snapshot{.layout = run.params().layout(),
                       .manifest = manifest_of(run, step, id),
                       .share = run.cfg.optim.zero ? run.optimizer.own() : checkpoint_share(count, run.world.rank(), run.world.size()),
                       .host = std::make_unique<HostMemory>(),
                       .downloaded = {},
                       .vectors = {}};
  std::vector<CheckpointVector> live;
  for (const CheckpointVector& v : state_of(run)) live.push_back(share_of(v, snapshot.share));
  snapshot.vectors = host_places(*snapshot.host, live, snapshot.downloaded);
  for (size_t i = 0; i < live.size(); ++i) run.backend->download(live[i].values, snapshot.vectors[i].values);
  run.backend->synchronize();
  return snapshot;
}

std::string begin_snapshot(Communicator& comm, const std::filesystem::path& run_folder, const RunSnapshot& s) {
  return vote(comm, failure_of(comm.rank(), [&] {
                if (comm.rank() == 0) begin_checkpoint(run_folder, s.manifest.step);
              }));
}

std::string write_share(int rank, const std::filesystem::path& run_folder, const RunSnapshot& s) {
  return failure_of(rank, [&] { write_part(run_folder, s.manifest.step, s.manifest.save_id, rank, s.layout, s.vectors, s.share); });
}

std::string publish_snapshot(Communicator& comm, const std::filesystem::path& run_folder, const RunSnapshot& s, std::string failure) {
  failure = vote(comm, std::move(failure));
  if (failure.empty())
    failure = vote(comm, failure_of(comm.rank(), [&] {
                     if (comm.rank() == 0) publish_checkpoint(run_folder, s.manifest, s.layout, s.vectors, comm.size());
                   }));
  if (!failure.empty() && comm.rank() == 0) abandon_checkpoint(run_folder, s.manifest.step);
  return failure;
}

std::string write_snapshot(Communicator& comm, const std::filesystem::path& run_folder, const RunSnapshot& s) {
  std::string failure = begin_snapshot(comm, run_folder, s);
  if (!failure.empty()) return failure;
  return publish_snapshot(comm, run_folder, s, write_share(comm.rank(), run_folder, s));
}

std::optional<int64_t> chunk_tokens_of(const std::filesystem::path& checkpoint) {
  const nlohmann::json state = nlohmann::json::parse(read_manifest(checkpoint).documents.at("trainer_state.json"));
  return state.contains("chunk_tokens") ? std::optional(state.at("chunk_tokens").get<int64_t>()) : std::nullopt;
}

void restore_run(Run& run, const std::filesystem::path& checkpoint) {
  const CheckpointManifest m = read_manifest(checkpoint);
  if (const auto saved = m.documents.find(model_facts_file); saved != m.documents.end())
    require_model_of(saved->second, run.network->facts(), checkpoint);
  for (const auto& [name, value] : fingerprints_of(run)) {
    const auto saved = m.fingerprints.find(name);
    const std::string before = saved == m.fingerprints.end() ? "none" : saved->second;
    if (before != value)
      throw Error(ExitCode::checkpoint, "F26", cat("the ", name, " is not the one of the checkpoint (", value, ", was ", before, ")"),
                  "restore it, or choose another train.output_dir")
          .at("file", checkpoint.string());
  }
  const std::vector<CheckpointVector> live = state_of(run);
  HostMemory host;
  std::vector<Buffer> memory;
  const std::vector<CheckpointVector> vectors = host_places(host, live, memory);
  load_checkpoint(checkpoint, run.params().layout(), vectors);
  for (size_t i = 0; i < live.size(); ++i) run.backend->upload(vectors[i].values, live[i].values);
  run.backend->synchronize();
  run.optimizer.restore_steps(nlohmann::json::parse(m.documents.at("trainer_state.json")).at("optimizer_steps").get<int64_t>());
  if (run.loss_scale && m.documents.contains(loss_scale_file)) run.loss_scale->restore(parse_loss_scale(m.documents.at(loss_scale_file)));
  for (const auto& task : run.work.tasks)
    if (task->mining) task->mining->restore(read_mining_state(checkpoint / mining_state_file));
  run.params().refresh(*run.backend);
}

}  // namespace lodestone
