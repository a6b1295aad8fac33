// How steps become JSON lines.
#include "data/plan_print.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "data/global_rows.h"

namespace lodestone {

void print_plan(std::ostream& out, const Plan& plan, const RowSource& rows, Collator& collator, int64_t accumulate, int64_t first,
                int64_t count) {
  GlobalRows global_rows(plan, rows, collator);
  const int64_t end = first + std::min(count, plan.config().batches / accumulate - first);
  for (int64_t step = first; step < end; ++step) {
    nlohmann::ordered_json line{{"step", step}, {"parts", nlohmann::ordered_json::array()}};
    for (int64_t i = 0; i < accumulate; ++i) {
      const std::span<const int64_t> ids = global_rows.read(step * accumulate + i, step);
      const Part& part = global_rows.part();
      line["parts"].push_back({{"source", plan.sources()[static_cast<size_t>(part.source)].name},
                               {"task", plan.config().task},
                               {"epoch", part.epoch},
                               {"rows", std::vector<int64_t>(ids.begin(), ids.end())}});
    }
    out << line.dump() << '\n';
  }
}

}  // namespace lodestone
