#include "core/optim/freeze.h"

namespace lodestone {

namespace {

bool stands_for(const std::string& name, const std::string& param) {
  return param.starts_with(name) && (param.size() == name.size() || param[name.size()] == '.');
}

}  // namespace

std::vector<Slice> frozen_ranges(const ParamLayout& layout, std::span<const std::string> names) {
  std::vector<bool> used(names.size());
  std::vector<Slice> ranges;
  for (const Param& p : layout.params()) {
    bool frozen = false;
    for (size_t i = 0; i < names.size(); ++i)
      if (stands_for(names[i], p.name)) frozen = used[i] = true;
    if (!frozen) continue;
    if (!ranges.empty() && ranges.back().end == p.slice.begin)
      ranges.back().end = p.slice.end;
    else
      ranges.push_back(p.slice);
  }
  for (size_t i = 0; i < names.size(); ++i)
    if (!used[i])
      throw Error(ExitCode::usage, "config", cat("no parameter is called ", names[i], " or lies below it"),
                  "give a name such as embeddings.position_embeddings.weight or encoder.layer.0");
  return ranges;
}

void clear_frozen(Backend& backend, std::span<const Slice> frozen, Tensor grads) {
  for (const Slice range : frozen) backend.fill_zero(grads.slice(range));
}

}  // namespace lodestone
