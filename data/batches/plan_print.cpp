// How steps become JSON lines.
#include "data/batches/plan_print.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "data/batches/global_rows.h"

namespace lodestone {

void print_plan(std::ostream& out, const Schedule& schedule, std::span<const PlannedTask> tasks, int64_t first, int64_t count) {
  std::vector<GlobalRows> rows;
  rows.reserve(tasks.size());
  for (const PlannedTask& task : tasks) rows.emplace_back(task.plan, task.rows, *task.collator);
  std::vector<StepPart> parts;
  const int64_t end = first + std::min(count, schedule.config().steps - first);
  for (int64_t step = first; step < end; ++step) {
    nlohmann::ordered_json line{{"step", step}, {"parts", nlohmann::ordered_json::array()}};
    schedule.parts(step, parts);
    for (const StepPart& part : parts) {
      const auto t = static_cast<size_t>(part.task);
      const std::span<const int64_t> ids = rows[t].read(part.draw, step);
      const Part& batch = rows[t].part();
      nlohmann::ordered_json entry{{"source", tasks[t].plan.sources()[static_cast<size_t>(batch.source)].name},
                                   {"task", schedule.config().tasks[t].name},
                                   {"epoch", batch.epoch}};
      if (schedule.config().groups > 1) entry["group"] = part.group;
      entry["rows"] = std::vector<int64_t>(ids.begin(), ids.end());
      line["parts"].push_back(std::move(entry));
    }
    out << line.dump() << '\n';
  }
}

}  // namespace lodestone
