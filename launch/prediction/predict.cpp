#include "launch/prediction/predict.h"

#include <algorithm>
#include <numeric>

#include "core/error.h"

namespace lodestone {

namespace {

size_t place(Bound bound) { return static_cast<size_t>(bound); }

/// FLOPs a second of an operation's products. f32 ones do without TF32, so that no tensor core makes them.
double product_rate(const Work& work, const GpuCeilings& gpu) {
  switch (work.dtype) {
    case DType::bf16:
      if (work.kind == WorkKind::attention || work.kind == WorkKind::attention_backward) return gpu.mma_sync * attention_share;
      return gpu.bf16_products;
    case DType::f64:
      return gpu.f64_products;
    case DType::f32:
      return gpu.f32;
    case DType::i32:
    case DType::i64:
    case DType::u8:
      break;
  }
  throw_internal(__FILE__, __LINE__, "dtype", "nobody multiplies it");
}

/// When the host, the device and what goes between ranks are done with all so far.
struct Clocks {
  double host_s = 0, device_s = 0, exchanges_s = 0;
};

class Replay {
 public:
  Replay(const GpuCeilings& gpu, int ranks)
      : gpu_(gpu), sent_per_s_(ranks > gpus_of_a_host ? gpu.network_bytes_per_s : gpu.link_bytes_per_s) {}

  void add(const Work& work) {
    PredictedWork& kind = prediction_.kinds[static_cast<size_t>(work.kind)];
    kind += {1, work.in_graph ? 0 : work.launches, work.product_flops, work.other_flops, work.bytes};
    switch (work.kind) {
      case WorkKind::waits:
        at_.host_s = std::max(at_.host_s, at_.device_s);
        return;
      case WorkKind::joins:
        idle_until(at_.exchanges_s, prediction_.kinds[static_cast<size_t>(WorkKind::exchanges)], Bound::exchanges);
        return;
      case WorkKind::uploads:
        host_takes(launch_s);
        return;
      case WorkKind::graphs:
        host_takes(graph_launch_s);
        return;
      case WorkKind::exchanges:
        host_takes(static_cast<double>(work.launches) * launch_s);
        at_.exchanges_s = std::max({at_.exchanges_s, at_.device_s, at_.host_s}) + exchange_s + work.bytes / sent_per_s_;
        return;
      case WorkKind::products:
      case WorkKind::attention:
      case WorkKind::attention_backward:
      case WorkKind::norms:
      case WorkKind::activations:
      case WorkKind::embeddings:
      case WorkKind::scores:
      case WorkKind::update:
      case WorkKind::copies:
        compute(work, kind);
        return;
    }
    throw_internal(__FILE__, __LINE__, "kind", "no such work");
  }

  Prediction end() {
    prediction_.step_s = std::max(at_.device_s, at_.host_s);
    prediction_.kinds[static_cast<size_t>(WorkKind::waits)].seconds[place(Bound::launches)] += prediction_.step_s - at_.device_s;
    return prediction_;
  }

 private:
  void host_takes(double taken_s) {
    at_.host_s += taken_s;
    prediction_.host_s += taken_s;
  }

  void idle_until(double begin_s, PredictedWork& kind, Bound bound) {
    const double idle_s = std::max(0.0, begin_s - at_.device_s);
    kind.seconds[place(bound)] += idle_s;
    at_.device_s += idle_s;
  }

  void compute(const Work& work, PredictedWork& kind) {
    if (!work.in_graph) host_takes(static_cast<double>(work.launches) * launch_s);
    idle_until(at_.host_s, kind, Bound::launches);
    const double products_s = work.product_flops == 0 ? 0 : work.product_flops / product_rate(work, gpu_);
    const double other_s = work.other_flops / (work.dtype == DType::f64 ? gpu_.f64 : gpu_.f32), bytes_s = work.bytes / gpu_.bytes_per_s;
    const double longest_s = std::max({products_s, other_s, bytes_s}), gaps_s = static_cast<double>(work.launches) * gap_s;
    const Bound bound = longest_s == products_s ? Bound::products : longest_s == bytes_s ? Bound::bytes : Bound::other;
    kind.seconds[place(bound)] += longest_s;
    kind.seconds[place(Bound::launches)] += gaps_s;
    at_.device_s += longest_s + gaps_s;
  }

  const GpuCeilings& gpu_;
  const double sent_per_s_;
  Clocks at_;
  Prediction prediction_;
};

}  // namespace

double PredictedWork::total_s() const { return std::accumulate(seconds.begin(), seconds.end(), 0.0); }

Bound PredictedWork::bound() const { return static_cast<Bound>(std::max_element(seconds.begin(), seconds.end()) - seconds.begin()); }

PredictedWork& PredictedWork::operator+=(const PredictedWork& other) {
  operations += other.operations;
  launches += other.launches;
  product_flops += other.product_flops;
  other_flops += other.other_flops;
  bytes += other.bytes;
  for (size_t i = 0; i < seconds.size(); ++i) seconds[i] += other.seconds[i];
  return *this;
}

PredictedWork Prediction::all() const {
  PredictedWork sum;
  for (const PredictedWork& kind : kinds) sum += kind;
  return sum;
}

Prediction predict(std::span<const Work> work, const GpuCeilings& gpu, int ranks) {
  Replay replay(gpu, ranks);
  for (const Work& w : work) replay.add(w);
  return replay.end();
}

}  // namespace lodestone
