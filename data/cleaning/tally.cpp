#include "data/cleaning/tally.h"

#include "data/files/utf8.h"

namespace lodestone {

namespace {

constexpr size_t most_sources = 1000;  // a field that names every row would fill the memory

void count(Tally::Source& source, std::string_view reason) {
  ++source.rows;
  if (reason.empty()) {
    ++source.kept;
    return;
  }
  const auto at = source.dropped.find(reason);
  if (at == source.dropped.end())
    source.dropped.emplace(reason, 1);
  else
    ++at->second;
}

OrderedJson json_of(const Tally::Source& source, const std::vector<std::string>& reasons) {
  OrderedJson dropped = OrderedJson::object();
  for (const std::string& reason : reasons) {
    const auto at = source.dropped.find(reason);
    dropped[reason] = at == source.dropped.end() ? 0 : at->second;
  }
  return {{"rows", source.rows}, {"kept", source.kept}, {"dropped", dropped}};
}

}  // namespace

void Tally::add(std::string_view source, std::string_view reason) {
  count(all_, reason);
  auto at = sources_.find(source);
  if (at == sources_.end()) at = sources_.try_emplace(std::string(sources_.size() < most_sources ? source : more_sources)).first;
  count(at->second, reason);
}

int64_t Tally::dropped(std::string_view reason) const {
  const auto at = all_.dropped.find(reason);
  return at == all_.dropped.end() ? 0 : at->second;
}

OrderedJson Tally::json() const {
  OrderedJson json = json_of(all_, reasons_);
  OrderedJson sources = OrderedJson::object();
  for (const auto& [name, source] : sources_) sources[utf8_name(name)] = json_of(source, reasons_);
  json["sources"] = std::move(sources);
  return json;
}

}  // namespace lodestone
