// The three vectors of a training run with random values, and how tests save and load them.
#pragma once

#include "data/checkpoints/checkpoint.h"
#include "tests/support/model_files.h"

namespace lodestone::test {

template <class T>
struct TrainingState {
  explicit TrainingState(uint64_t seed, ParamLayout l = tiny_layout(tiny_config())) : layout(std::move(l)) {
    uint64_t which = 0;
    for (std::vector<T>* values : {&params, &m, &v}) {
      const Key key = Key(seed).with(which++);
      values->resize(static_cast<size_t>(layout.count()));
      for (size_t i = 0; i < values->size(); ++i) (*values)[i] = static_cast<T>(key.uniform(i));
    }
  }
  std::vector<CheckpointVector> vectors() {
    return {{"params", view(std::span(params))}, {"adam_m", view(std::span(m))}, {"adam_v", view(std::span(v))}};
  }
  friend bool operator==(const TrainingState& a, const TrainingState& b) { return a.params == b.params && a.m == b.m && a.v == b.v; }

  ParamLayout layout;
  std::vector<T> params, m, v;
};

template <class T>
void write_parts(const std::filesystem::path& run, int64_t step, uint64_t save_id, TrainingState<T>& state, int64_t ranks) {
  begin_checkpoint(run, step);
  for (int64_t rank = 0; rank < ranks; ++rank)
    write_part(run, step, save_id, rank, state.layout, state.vectors(), checkpoint_share(state.layout.count(), rank, ranks));
}

inline CheckpointManifest manifest_of(int64_t step, uint64_t save_id) {
  CheckpointManifest m;
  m.step = step;
  m.save_id = save_id;
  m.fingerprints = {{"config", "abc"}};
  m.documents = {{"trainer_state.json", "{\"global_step\": 1}\n"}, {"config.yaml", "steps: 10\n"}};
  return m;
}

template <class T>
void save(const std::filesystem::path& run, int64_t step, TrainingState<T>& state, int64_t ranks) {
  const uint64_t save_id = 1000 + static_cast<uint64_t>(step);
  write_parts(run, step, save_id, state, ranks);
  publish_checkpoint(run, manifest_of(step, save_id), state.layout, state.vectors(), ranks);
}

template <class T>
TrainingState<T> load(const std::filesystem::path& checkpoint, ParamLayout layout = tiny_layout(tiny_config())) {
  TrainingState<T> state(99, std::move(layout));
  load_checkpoint(checkpoint, state.layout, state.vectors());
  return state;
}

}  // namespace lodestone::test
