#include "launch/commands/packed.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <iostream>
#include <sstream>

#include "comm/gather_values.h"
#include "launch/config/input_options.h"
#include "launch/console/log.h"

namespace lodestone {

namespace {

/// The lines of all ranks, in the order of ranks. Lines hold no line end.
std::vector<std::string> all_lines(Communicator& comm, const std::vector<std::string>& mine) {
  std::string text;
  for (const std::string& line : mine) text += line + '\n';
  const std::vector<char> all = gather_values(comm, std::span<const char>(text));
  std::istringstream in(std::string(all.begin(), all.end()));
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

/// Smallest length that at least `share` of the texts do not exceed.
int64_t percentile(const std::vector<int64_t>& lengths, double share) {
  int64_t total = 0, seen = 0;
  for (const int64_t count : lengths) total += count;
  for (size_t length = 0; length < lengths.size(); ++length) {
    seen += lengths[length];
    if (static_cast<double>(seen) >= share * static_cast<double>(total)) return static_cast<int64_t>(length);
  }
  return 0;
}

}  // namespace

Packed gather_packed(Communicator& comm, const Packer& packer) {
  std::vector<std::string> shard_lines, skipped_lines;
  for (const auto& [unit, shard] : packer.shards()) shard_lines.push_back(cat(unit, ' ', to_text(shard)));
  for (const auto& [unit, row] : packer.skipped()) skipped_lines.push_back(cat(unit, ' ', to_text(row)));
  const auto parse_line = [](const std::string& line, auto of_text) {
    const size_t blank = line.find(' ');
    return std::pair(std::stoll(line.substr(0, blank)), of_text(line.substr(blank + 1)));
  };
  Packed all;
  for (const std::string& line : all_lines(comm, shard_lines)) all.shards.push_back(parse_line(line, manifest_shard));
  for (const std::string& line : all_lines(comm, skipped_lines)) all.skipped.push_back(parse_line(line, skipped_row));
  all.ignored = all_lines(comm, {packer.ignored_fields().begin(), packer.ignored_fields().end()});
  std::sort(all.ignored.begin(), all.ignored.end());
  all.ignored.erase(std::unique(all.ignored.begin(), all.ignored.end()), all.ignored.end());
  all.warnings = all_lines(comm, packer.warnings());
  all.counts = packer.counts();
  for (int64_t* value : {&all.counts.rows, &all.counts.bytes, &all.counts.tokens, &all.counts.truncated})
    all_reduce(comm, std::span(value, 1), Reduce::sum);
  for (auto& lengths : all.counts.lengths) all_reduce(comm, std::span<int64_t>(lengths), Reduce::sum);
  all.duplicates.merge_states(gather_values(comm, std::span<const int64_t>(packer.duplicates().state())));
  return all;
}

void print_summary(const Manifest& manifest, const Packed& packed, double seconds, const std::filesystem::path& output) {
  const PackCounts& counts = packed.counts;
  int64_t bytes = 0;
  std::vector<std::pair<std::string, int64_t>> sources;
  for (const ManifestShard& shard : manifest.shards) {
    bytes += shard.bytes;
    for (const auto& [name, rows] : shard.sources) {
      const auto found = std::find_if(sources.begin(), sources.end(), [&n = name](const auto& s) { return s.first == n; });
      if (found == sources.end())
        sources.emplace_back(name, rows);
      else
        found->second += rows;
    }
  }
  std::ostringstream out;
  out << "packed " << counts.rows << " rows in " << duration_text(seconds) << ": "
      << static_cast<int64_t>(static_cast<double>(counts.rows) / seconds) << " rows/s, "
      << std::floor(static_cast<double>(counts.bytes) / 1e4 / seconds) / 100 << " MB/s; " << counts.tokens << " tokens in "
      << manifest.shards.size() << (manifest.shards.size() == 1 ? " shard, " : " shards, ")
      << std::floor(static_cast<double>(bytes) / 1e4) / 100 << " MB: " << printable(output.string()) << '\n';
  std::stable_sort(sources.begin(), sources.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
  out << "sources: " << sources.size();
  for (size_t s = 0; s < std::min<size_t>(sources.size(), 8); ++s)
    out << (s == 0 ? " (" : ", ") << printable(sources[s].first) << ' ' << sources[s].second;
  out << (sources.size() > 8 ? ", ...)\n" : ")\n");
  out << "tokens per text      texts    50 %    90 %    99 %     max\n";
  const char* names[] = {"query", "positive", "negative"};
  for (size_t role = 0; role < 3; ++role) {
    const auto& lengths = counts.lengths[role];
    int64_t texts = 0;
    for (const int64_t count : lengths) texts += count;
    char line[256];
    std::snprintf(line, sizeof line, "  %-9s %15lld %7lld %7lld %7lld %7lld\n", names[role], static_cast<long long>(texts),
                  static_cast<long long>(percentile(lengths, 0.5)), static_cast<long long>(percentile(lengths, 0.9)),
                  static_cast<long long>(percentile(lengths, 0.99)), static_cast<long long>(percentile(lengths, 1)));
    if (texts > 0) out << line;
  }
  out << "cut at " << manifest.max_tokens << " tokens: " << counts.truncated
      << " texts; duplicate rows: " << (packed.duplicates.exact() ? "" : "about ") << packed.duplicates.duplicates()
      << "; bad rows left out: " << manifest.skipped.size() << '\n';
  for (size_t i = 0; i < std::min<size_t>(manifest.skipped.size(), 5); ++i)
    out << "  " << printable(manifest.skipped[i].file) << " line " << manifest.skipped[i].line << ": " << manifest.skipped[i].reason
        << '\n';
  if (!packed.ignored.empty()) out << describe_ignored(packed.ignored) << '\n';
  std::cout << out.str() << std::flush;
  print_warnings(packed.warnings);
}

}  // namespace lodestone
