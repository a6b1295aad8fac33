// Tally: how many rows of which source were kept, and how many dropped, for what?
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "data/files/strict_json.h"

namespace lodestone {

class Tally {
 public:
  using Counts = std::map<std::string, int64_t, std::less<>>;
  struct Source {
    int64_t rows = 0, kept = 0;
    Counts dropped;
  };

  /// reasons: listed in this order also where they dropped nothing.
  explicit Tally(std::vector<std::string> reasons) : reasons_(std::move(reasons)) {}
  /// Counts a row; an empty reason: it was kept.
  void add(std::string_view source, std::string_view reason);

  int64_t rows() const { return all_.rows; }
  int64_t kept() const { return all_.kept; }
  int64_t dropped(std::string_view reason) const;
  const std::vector<std::string>& reasons() const { return reasons_; }
  /// By name. Beyond 1,000 names the further ones together are called more_sources.
  const std::map<std::string, Source, std::less<>>& sources() const { return sources_; }
  static constexpr std::string_view more_sources = "(further sources)";

  /// {"rows": .., "kept": .., "dropped": {REASON: ..}, "sources": {NAME: the same}}.
  OrderedJson json() const;

 private:
  std::vector<std::string> reasons_;
  Source all_;
  std::map<std::string, Source, std::less<>> sources_;
};

}  // namespace lodestone
