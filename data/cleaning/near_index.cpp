#include "data/cleaning/near_index.h"

#include <algorithm>
#include <limits>

#include "core/error.h"

namespace lodestone {

namespace {

constexpr int first_bits = 8, last_bits = 32;

uint64_t entry_of(uint32_t tag, uint32_t set) { return uint64_t{tag} << 32 | (set + 1); }
uint32_t tag_of(uint64_t entry) { return static_cast<uint32_t>(entry >> 32); }
uint32_t set_of(uint64_t entry) { return static_cast<uint32_t>(entry) - 1; }

size_t first_place(uint32_t tag, int bits) { return tag >> (last_bits - bits); }

}  // namespace

NearIndex::NearIndex(double threshold, const std::filesystem::path& folder)
    : threshold_(threshold), bands_(bands_for(threshold)), tables_(static_cast<size_t>(bands_.count)), shingles_(folder) {
  tags_.resize(tables_.size());
}

void NearIndex::grow(Table& table) {
  const int bits = table.bits == 0 ? first_bits : table.bits + 1;
  if (bits > last_bits) throw Error(ExitCode::resource, "F14", "more rows than the search for near-duplicates can hold", "split the input");
  Table larger{Buffer(memory_, sizeof(uint64_t) << bits), bits, table.used};
  const std::span<uint64_t> to = larger.places();
  for (const uint64_t entry : table.places()) {
    if (entry == 0) continue;
    size_t at = first_place(tag_of(entry), bits);
    while (to[at] != 0) at = (at + 1) & (to.size() - 1);
    to[at] = entry;
  }
  bytes_ += static_cast<int64_t>(larger.memory.size_bytes() - table.memory.size_bytes());
  table = std::move(larger);
}

void NearIndex::look_up(const Table& table, uint32_t tag) {
  const std::span<uint64_t> places = table.places();
  if (places.empty()) return;
  for (size_t at = first_place(tag, table.bits); places[at] != 0; at = (at + 1) & (places.size() - 1))
    if (tag_of(places[at]) == tag) found_.push_back(set_of(places[at]));
}

void NearIndex::insert(Table& table, uint32_t tag, uint32_t set) {
  if (table.used * 4 >= std::ssize(table.places()) * 3) grow(table);
  const std::span<uint64_t> places = table.places();
  size_t at = first_place(tag, table.bits);
  int in_bucket = 0;
  for (; places[at] != 0; at = (at + 1) & (places.size() - 1)) in_bucket += tag_of(places[at]) == tag;
  if (in_bucket >= most_in_bucket) {
    ++full_buckets_;
    return;
  }
  places[at] = entry_of(tag, set);
  ++table.used;
}

/// Compares the candidates in found_, in which each set stands as often as it shares a band.
std::optional<NearIndex::Near> NearIndex::nearest_of_found(std::span<const uint64_t> shingles) {
  std::sort(found_.begin(), found_.end());
  std::vector<std::pair<int64_t, uint32_t>> candidates;  // shared bands, negative, and the set
  for (auto at = found_.begin(); at != found_.end();) {
    const auto end = std::upper_bound(at, found_.end(), *at);
    candidates.emplace_back(at - end, *at);
    at = end;
  }
  std::sort(candidates.begin(), candidates.end());
  candidates.resize(std::min<size_t>(candidates.size(), most_compared));
  for (const auto& [bands, set] : candidates) {
    const auto less = static_cast<double>(std::min(shingles_.size(set), std::ssize(shingles)));
    const auto more = static_cast<double>(std::max(shingles_.size(set), std::ssize(shingles)));
    if (less / more < threshold_) continue;  // a Jaccard index is this at most
    shingles_.read(set, other_);
    if (const double jaccard = jaccard_index(shingles, other_); jaccard >= threshold_) return Near{set, jaccard};
  }
  return std::nullopt;
}

std::optional<NearIndex::Near> NearIndex::find_or_keep(std::span<const uint64_t> shingles) {
  if (shingles_.sets() == std::numeric_limits<uint32_t>::max() - 1)
    throw Error(ExitCode::resource, "F14", "more rows than the search for near-duplicates can number", "split the input");
  const auto set = static_cast<uint32_t>(shingles_.sets());
  if (!shingles.empty()) {
    sign(shingles, signature_);
    found_.clear();
    for (size_t band = 0; band < tables_.size(); ++band) {
      tags_[band] = static_cast<uint32_t>(band_hash(signature_, bands_, static_cast<int>(band)) >> 32);
      if (const Table& table = tables_[band]; table.bits > 0) __builtin_prefetch(&table.places()[first_place(tags_[band], table.bits)]);
    }
    for (size_t band = 0; band < tables_.size(); ++band) look_up(tables_[band], tags_[band]);
    if (const std::optional<Near> near = nearest_of_found(shingles)) return near;
    for (size_t band = 0; band < tables_.size(); ++band) insert(tables_[band], tags_[band], set);
  }
  shingles_.append(shingles);
  return std::nullopt;
}

double jaccard_index(std::span<const uint64_t> a, std::span<const uint64_t> b) {
  size_t i = 0, j = 0, both = 0;
  while (i < a.size() && j < b.size()) {
    both += a[i] == b[j];
    const bool a_first = a[i] <= b[j], b_first = b[j] <= a[i];
    i += a_first;
    j += b_first;
  }
  return static_cast<double>(both) / static_cast<double>(a.size() + b.size() - both);
}

}  // namespace lodestone
