// How long does counted work take on a GPU that is known, and what bounds it?
#include "launch/prediction/predict.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "core/error.h"

namespace lodestone {
namespace {

/// Round numbers: a FLOP of a product takes 1 s, another 10 s, a byte 100 s.
constexpr GpuCeilings gpu{.name = "round",
                          .model = "",
                          .source = "",
                          .bf16_products = 1,
                          .f64_products = 1,
                          .mma_sync = 0.5,
                          .f32 = 0.1,
                          .f64 = 0.05,
                          .bytes_per_s = 0.01,
                          .link_bytes_per_s = 1e-4,
                          .network_bytes_per_s = 1e-5};

Prediction of(std::initializer_list<Work> work, int ranks = 1) { return predict(std::span(work.begin(), work.size()), gpu, ranks); }

/// What bounds most of it.
Bound bound_of(const PredictedWork& work) { return static_cast<Bound>(std::ranges::max_element(work.seconds) - work.seconds.begin()); }

constexpr Work kernel(double seconds) { return {.kind = WorkKind::norms, .bytes = seconds / 100, .launches = 1}; }

TEST(Predict, AnOperationTakesTheLongestOfItsParts) {
  const Work products{
      .kind = WorkKind::products, .dtype = DType::bf16, .product_flops = 7000, .other_flops = 100, .bytes = 10, .launches = 1};
  Work other = products, bytes = products;
  other.other_flops = 800;
  bytes.bytes = 90;
  for (const auto& [work, bound, seconds] :
       {std::tuple{products, Bound::products, 7000.0}, {other, Bound::other, 8000.0}, {bytes, Bound::bytes, 9000.0}}) {
    const Prediction found = of({work});
    EXPECT_EQ(bound_of(found.of(WorkKind::products)), bound);
    EXPECT_NEAR(found.step_s, seconds + launch_s + gap_s, 1e-9);
  }
}

TEST(Predict, RatesAreThoseOfWhatIsMultiplied) {
  const auto seconds = [](WorkKind kind, DType dtype) { return of({{.kind = kind, .dtype = dtype, .product_flops = 1000}}).step_s; };
  EXPECT_DOUBLE_EQ(seconds(WorkKind::products, DType::bf16), 1000);
  EXPECT_DOUBLE_EQ(seconds(WorkKind::products, DType::f32), 10000) << "without TF32 no tensor core makes them";
  EXPECT_DOUBLE_EQ(seconds(WorkKind::products, DType::f64), 1000);
  EXPECT_DOUBLE_EQ(seconds(WorkKind::attention, DType::bf16), 2000 / attention_share);
  EXPECT_DOUBLE_EQ(seconds(WorkKind::attention_backward, DType::bf16), 2000 / attention_share);
  EXPECT_DOUBLE_EQ(seconds(WorkKind::attention, DType::f32), 10000) << "off tensor cores";
}

TEST(Predict, ManySmallKernelsAreBoundByTheirLaunches) {
  std::vector<Work> work(1000, kernel(gap_s / 2));
  const Prediction found = predict(work, gpu, 1);
  EXPECT_NEAR(found.step_s, 1000 * launch_s + 1.5 * gap_s, 1e-9) << "the device waits for the host, but for the last kernel";
  EXPECT_EQ(bound_of(found.all()), Bound::launches);
  EXPECT_NEAR(found.host_s, 1000 * launch_s, 1e-12);
  EXPECT_EQ(found.all().launches, 1000);
}

TEST(Predict, TheHostRunsAheadUntilItHasToWait) {
  const Work wait{.kind = WorkKind::waits};
  std::vector<Work> ahead{kernel(1000 * launch_s)};
  ahead.insert(ahead.end(), 500, kernel(gap_s));
  const double device_s = (1000 * launch_s + gap_s) + 500 * 2 * gap_s;
  EXPECT_NEAR(predict(ahead, gpu, 1).step_s, launch_s + device_s, 1e-9) << "launches hide behind the long kernel";
  ahead.insert(ahead.begin() + 1, wait);
  EXPECT_NEAR(predict(ahead, gpu, 1).step_s, launch_s + (1000 * launch_s + gap_s) + 500 * launch_s + 2 * gap_s, 1e-9);
}

TEST(Predict, ExchangesGoOnBesideWhatIsComputedUntilItWaitsForThem) {
  const Work exchange{.kind = WorkKind::exchanges, .bytes = 0.3, .launches = 1}, join{.kind = WorkKind::joins};  // 3,000 s by the link
  EXPECT_NEAR(of({exchange, kernel(5000), join}, 8).step_s, 5000, 1e-3) << "hidden";
  const Prediction waits = of({kernel(1000), exchange, kernel(500), join}, 8);
  EXPECT_NEAR(waits.step_s, 4000, 1e-3);
  EXPECT_NEAR(waits.of(WorkKind::exchanges).total_s(), 2500, 1e-3);
  EXPECT_EQ(bound_of(waits.all()), Bound::exchanges);
  EXPECT_NEAR(of({exchange, join}, 9).step_s, 30000, 1e-3) << "between hosts by the network";
}

TEST(Predict, WhatIsWaitedForIsOfTheKindThatIsAwaited) {
  const Work gradients{.kind = WorkKind::exchanges, .bytes = 0.3, .launches = 1}, vectors{.kind = WorkKind::loss_exchanges, .bytes = 0.1};
  const Work loss{.kind = WorkKind::joins, .awaited = WorkKind::loss_exchanges}, sum{.kind = WorkKind::joins};
  const Prediction found = of({vectors, loss, kernel(500), gradients, kernel(500), sum}, 8);
  EXPECT_NEAR(found.of(WorkKind::loss_exchanges).total_s(), 1000, 1e-3);
  EXPECT_NEAR(found.of(WorkKind::exchanges).total_s(), 2500, 1e-3);
}

TEST(Predict, TimesOfAllKindsAreTheStep) {
  const Prediction found = of({kernel(1),
                               {.kind = WorkKind::exchanges, .bytes = 1e-3, .launches = 1},
                               {.kind = WorkKind::joins},
                               kernel(gap_s),
                               kernel(0),
                               {.kind = WorkKind::waits},
                               {.kind = WorkKind::uploads, .bytes = 7},
                               kernel(2),
                               {.kind = WorkKind::uploads}});
  EXPECT_NEAR(found.all().total_s(), found.step_s, 1e-12);
}

TEST(GpuCeilings, AreFoundByNameAndInDescriptions) {
  EXPECT_EQ(gpu_ceilings_of("h200").bf16_products, 788e12);
  EXPECT_EQ(gpu_ceilings_in("NVIDIA H200, GPU 0 of 1 at 0000:01:00.0, 141 GB, driver 13.0")->name, "h200");
  EXPECT_EQ(gpu_ceilings_in("NVIDIA A100-SXM4-80GB, GPU 1 of 4")->name, "a100");
  EXPECT_EQ(gpu_ceilings_in("NVIDIA H100 80GB HBM3, GPU 0 of 8")->name, "h100");
  for (const char* other : {"emulated GPU, GPU 0 of 1", "NVIDIA GH200 480GB, GPU 0 of 1", "NVIDIA H100 PCIe, GPU 0 of 1",
                            "NVIDIA H200 NVL, GPU 0 of 2", "NVIDIA A100-PCIE-40GB, GPU 0 of 1"})
    EXPECT_EQ(gpu_ceilings_in(other), nullptr) << other;
  try {
    gpu_ceilings_of("b200");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::usage);
    EXPECT_NE(std::string(error.what()).find("'b200'"), std::string::npos);
  }
}

}  // namespace
}  // namespace lodestone
