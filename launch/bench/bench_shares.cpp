#include "launch/bench/bench_shares.h"

#include <algorithm>
#include <memory>

namespace lodestone {

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

double median(const std::vector<Seconds>& values, double Seconds::*clock) {
  std::vector<double> of_clock;
  of_clock.reserve(values.size());
  for (const Seconds& value : values) of_clock.push_back(value.*clock);
  return median(std::move(of_clock));
}

nlohmann::ordered_json bench_shares(BenchStep& bench, const BenchOptions& options, std::span<const BenchLoss> losses, int64_t queries,
                                    World& world) {
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  double first = 0;
  for (const BenchLoss& known : losses) {
    const int64_t measured = std::max(2 * options.pairs / (1 + known.group), static_cast<int64_t>(world.size()));
    const double scale = static_cast<double>(queries) / static_cast<double>(measured);
    const Batch few = bench.batch(measured, known.group), all = bench.batch(queries, known.group);
    const std::unique_ptr<Loss> loss = make_loss(known.config(bench.embedding()), bench.embedding(), bench.device());
    bench.run(few);
    bench.loss_seconds(*loss, few);
    bench.touch(bench.loss_bytes(*loss, all));
    std::vector<Seconds> in_loss, in_encoder;
    for (int64_t step = 0; step < options.steps; ++step) {
      in_encoder.push_back(bench.run(few).encoder() * scale);
      in_loss.push_back(bench.loss_seconds(*loss, all));
    }
    nlohmann::ordered_json row{{"loss", known.name}, {"passages_per_query", known.group}, {"queries_encoded", measured}};
    const auto add = [&](const char* prefix, double Seconds::*clock) {
      const double taken = median(in_loss, clock), encoder = median(in_encoder, clock);
      row.update({{cat(prefix, "loss_s"), taken}, {cat(prefix, "encoder_s"), encoder}, {cat(prefix, "share"), taken / (taken + encoder)}});
    };
    add("", &Seconds::wall);
    add("processor_", &Seconds::processor);
    if (rows.empty()) first = median(in_loss, &Seconds::processor);
    row["processor_times_first"] = median(in_loss, &Seconds::processor) / first;
    rows.push_back(row);
  }
  return rows;
}

}  // namespace lodestone
