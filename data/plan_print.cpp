// How steps become JSON lines.
#include "data/plan_print.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace lodestone {

void print_plan(std::ostream& out, const Plan& plan, const RowSource& rows, int64_t first, int64_t count) {
  const int64_t end = first + std::min(count, plan.config().steps - first);
  for (int64_t step = first; step < end; ++step) {
    nlohmann::ordered_json line{{"step", step}, {"parts", nlohmann::ordered_json::array()}};
    for (const Part& part : plan.at(step).parts) {
      std::vector<int64_t> ids;
      for (const int64_t k : part.rows) {
        const SourceRow row = plan.locate(part.source, k);
        ids.push_back(rows.row_of(row.source, row.k));
      }
      line["parts"].push_back({{"source", plan.sources()[static_cast<size_t>(part.source)].name},
                               {"task", plan.config().task},
                               {"epoch", part.epoch},
                               {"rows", ids}});
    }
    out << line.dump() << '\n';
  }
}

}  // namespace lodestone
