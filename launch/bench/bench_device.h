// What share of a device's largest product a step makes, and for how long of it the device waits for the host.
#pragma once

#include <nlohmann/json.hpp>

#include "launch/bench/bench_step.h"

namespace lodestone {

/// Beside the steps of a benchmark. Where no large product was asked for it measures nothing, and says so.
class BenchDevice {
 public:
  /// Collective: measures the product for the first time.
  BenchDevice(BenchStep& bench, World& world);

  /// One more step, behind `counts`'s, that the device finds enqueued: where there is one rank on a device.
  void queue(const Batch& batch, const StepCounts& counts);
  /// Collective: measures the product again. Of steps of so many FLOPs that took `step_s` each: "large_product", its two rates of all
  /// ranks; "share_of_large_product"; "queued_step_s"; "enqueue_s", what the host takes to ask for
  /// the gradients; "device_idle_share" = 1 - queued_step_s / step_s. A figure that there
  /// is none of is "not measured: " and the reason.
  nlohmann::ordered_json report(double flops, double step_s);

 private:
  double product_flops_per_s();
  std::string why_not_queued() const;

  BenchStep& bench_;
  World& world_;
  Ceiling ceiling_;
  std::vector<double> queued_s_, enqueue_s_;
  bool ahead_ = true;
};

}  // namespace lodestone
