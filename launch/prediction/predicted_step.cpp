#include "launch/prediction/predicted_step.h"

#include <iomanip>
#include <ostream>
#include <sstream>

#include "core/error.h"

namespace lodestone {

namespace {

using Json = nlohmann::ordered_json;

/// Digits behind the point so that four count.
std::string figure(double value) {
  std::ostringstream out;
  out << std::fixed << std::setprecision(value >= 1000 ? 0 : value >= 100 ? 1 : value >= 10 ? 2 : 3) << value;
  return out.str();
}

std::string percent(double share) {
  std::ostringstream out;
  out << std::fixed << std::setprecision(1) << 100 * share << " %";
  return out.str();
}

/// "products 62.1 %, bytes 30.0 %": what bounds which share of it; what rounds to none is left out.
std::string bounds_text(const PredictedWork& work) {
  std::string text;
  for (size_t b = 0; b < bounds; ++b) {
    const double share = work.seconds[b] / work.total_s();
    if (share >= 0.0005) text += cat(text.empty() ? "" : ", ", name_of(static_cast<Bound>(b)), ' ', percent(share));
  }
  return text;
}

Json bounds_json(const PredictedWork& work) {
  Json json = Json::object();
  for (size_t b = 0; b < bounds; ++b) json[std::string(name_of(static_cast<Bound>(b)))] = work.seconds[b];
  return json;
}

Json work_json(const PredictedWork& work) {
  return {{"operations", work.operations},
          {"launches", work.launches},
          {"product_flops", work.product_flops},
          {"other_flops", work.other_flops},
          {"bytes", work.bytes},
          {"predicted_s", work.total_s()},
          {"predicted_s_by_bound", bounds_json(work)}};
}

}  // namespace

Json predicted_json(const PredictedStep& step) {
  const StepFacts& f = step.facts;
  Json kinds = Json::object();
  for (size_t k = 0; k < work_kinds; ++k)
    if (step.prediction.kinds[k].operations > 0)
      kinds[std::string(name_of(static_cast<WorkKind>(k)))] = work_json(step.prediction.kinds[k]);
  return {{"label", "PREDICTED"},
          {"step", f.name},
          {"gpu", step.gpu.name},
          {"ceilings", step.gpu.source},
          {"ranks", f.ranks},
          {"rows", f.rows},
          {"tokens", f.tokens},
          {"chunk_tokens", f.chunk_tokens},
          {"predicted_memory_bytes", f.memory_bytes},
          {"predicted_to_fit", step.fits()},
          {"predicted_step_s", step.prediction.step_s},
          {"predicted_tokens_per_s", step.tokens_per_s()},
          {"predicted_rows_per_s", step.rows_per_s()},
          {"predicted_share_of_ceiling", step.share_of_ceiling()},
          {"predicted_host_s", step.prediction.host_s},
          {"all", work_json(step.prediction.all())},
          {"kinds", kinds}};
}

void print_predicted(std::ostream& out, const PredictedStep& step) {
  const StepFacts& f = step.facts;
  const PredictedWork all = step.prediction.all();
  const auto line = [&](const char* name, const std::string& text) { out << "  " << std::left << std::setw(22) << name << text << '\n'; };
  out << "PREDICTED, not measured: " << f.name << " on " << f.ranks << ' ' << step.gpu.name << " (" << step.gpu.source << ")\n";
  line("predicted step", cat(figure(1e3 * step.prediction.step_s), " ms: ", f.rows, " rows, ", static_cast<int64_t>(f.tokens),
                             " tokens in chunks of ", f.chunk_tokens));
  line("predicted rates", cat(figure(step.tokens_per_s()), " tokens/s, ", figure(step.rows_per_s()), " rows/s"));
  line("predicted share",
       cat(percent(step.share_of_ceiling()), " of the ceiling of ", figure(step.gpu.bf16_products / 1e12), " TFLOP/s a GPU"));
  line("predicted bounds", bounds_text(all));
  line("predicted host time", cat(figure(1e3 * step.prediction.host_s), " ms for ", all.launches, " launches and ",
                                  step.prediction.of(WorkKind::uploads).operations, " uploads"));
  line("predicted memory",
       cat(figure(f.memory_bytes / 1e9), " GB of ", figure(step.gpu.memory_bytes / 1e9), step.fits() ? "" : ": does not fit"));
  out << "  of a rank:     launches       GFLOP  other GFLOP          GB  predicted ms  bound by\n";
  for (size_t k = 0; k < work_kinds; ++k) {
    const PredictedWork& work = step.prediction.kinds[k];
    if (work.total_s() == 0 && work.bytes == 0) continue;
    out << "  " << std::left << std::setw(15) << name_of(static_cast<WorkKind>(k)) << std::right << std::setw(8) << work.launches
        << std::setw(12) << figure(work.product_flops / 1e9) << std::setw(13) << figure(work.other_flops / 1e9) << std::setw(12)
        << figure(work.bytes / 1e9) << std::setw(14) << figure(1e3 * work.total_s()) << "  " << bounds_text(work) << '\n';
  }
}

}  // namespace lodestone
