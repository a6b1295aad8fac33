#include "launch/bench/bench_device.h"

#include <algorithm>
#include <cmath>

#include "launch/bench/bench_shares.h"
#include "launch/bench/bench_timing.h"

namespace lodestone {

namespace {

/// A wait for what is over takes less.
constexpr double least_ahead_s = 20e-6;
/// A device queues about a thousand launches, the step's among them.
constexpr double most_products = 200;

}  // namespace

BenchDevice::BenchDevice(BenchStep& bench, World& world) : bench_(bench), world_(world) {
  if (const LargeProduct* const product = bench.large_product())
    ceiling_ = {.edge = product->edge(), .dtype = product->dtype(), .before = product_flops_per_s()};
}

double BenchDevice::product_flops_per_s() {
  world_.comm().barrier();
  double rate = bench_.large_product()->flops_per_s();
  all_reduce(world_.comm(), std::span(&rate, 1), Reduce::sum);
  return rate;
}

std::string BenchDevice::why_not_queued() const {
  if (bench_.device() == Device::cpu) return "a CPU works while it is asked";
  if (world_.size() > 1) return "ranks wait for each other: start it with one";
  if (bench_.large_product() == nullptr) return "it takes a large product: --ceiling-edge N";
  if (!ahead_)
    return "the device reached the step before the host had enqueued it: too many launches to queue, take fewer chunks or layers";
  return {};
}

void BenchDevice::queue(const Batch& batch, const StepCounts& counts) {
  if (!why_not_queued().empty()) return;
  const double product_s = 2 * std::pow(static_cast<double>(ceiling_.edge), 3) / ceiling_.before;
  const double products = 1 + 2 * counts.enqueue_s / product_s;  // so that they take longer than the host needs
  const QueuedStep step = bench_.queued(batch, static_cast<int64_t>(std::min(products, most_products)));
  ahead_ = step.ahead_s >= least_ahead_s;
  queued_s_.push_back(step.device_s);
  enqueue_s_.push_back(counts.enqueue_s);
}

nlohmann::ordered_json BenchDevice::report(double flops, double step_s) {
  nlohmann::ordered_json found;
  if (bench_.large_product() == nullptr) {
    found = {{"share_of_large_product", not_measured("--ceiling-edge N asks for it")}};
  } else {
    ceiling_.after = product_flops_per_s();
    found = {{"large_product", ceiling_.report()}, {"share_of_large_product", ceiling_.share(flops / step_s)}};
  }
  const std::string reason = why_not_queued();
  if (!reason.empty()) {
    found["device_idle_share"] = not_measured(reason);
    return found;
  }
  const double queued_s = median(queued_s_);
  found.update(
      {{"queued_step_s", queued_s},
       {"enqueue_s", median(enqueue_s_)},
       {"device_idle_share", 1 - queued_s / step_s},
       {"device_idle",
        "the part of a step in which the device waits for the host: a step's time less that of the same operations when all of them were "
        "enqueued before the first one began. Gaps between kernels that the device makes by itself are in both"}});
  return found;
}

}  // namespace lodestone
