#include "comm/require_same.h"

#include <algorithm>
#include <map>
#include <optional>
#include <sstream>
#include <vector>

#include "comm/gather_values.h"
#include "core/host_name.h"

namespace lodestone {

namespace {

constexpr size_t most_named = 8;  // ranks that a message lists

/// How the ranks divide by what they have.
struct Division {
  std::vector<int> odd;  // ranks that do not have what rank `standard` has
  int standard = 0;      // the first of the largest group
  bool majority = true;  // no other group is as large
};

/// Nothing where all have the same. `hashes` [W].
std::optional<Division> divide(std::span<const uint64_t> hashes) {
  std::map<uint64_t, int64_t> ranks_with;
  for (const uint64_t hash : hashes) ++ranks_with[hash];
  if (ranks_with.size() < 2) return std::nullopt;
  const auto most =
      std::max_element(ranks_with.begin(), ranks_with.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  Division d;
  d.majority = std::count_if(ranks_with.begin(), ranks_with.end(), [&](const auto& g) { return g.second == most->second; }) == 1;
  const auto standard = std::find_if(hashes.begin(), hashes.end(), [&](uint64_t hash) { return ranks_with[hash] == most->second; });
  d.standard = static_cast<int>(standard - hashes.begin());
  for (size_t r = 0; r < hashes.size(); ++r)
    if (hashes[r] != *standard) d.odd.push_back(static_cast<int>(r));
  return d;
}

/// "1,4,7", and how many more where there are too many.
template <class T>
std::string listed(const std::vector<T>& values) {
  std::string text;
  for (size_t i = 0; i < values.size() && i < most_named; ++i) text += cat(i == 0 ? "" : ",", values[i]);
  return values.size() <= most_named ? text : cat(text, ",and-", values.size() - most_named, "-more");
}

/// The names of facts in their order, with their values.
std::vector<std::pair<std::string, std::string>> facts_of(const std::string& text) {
  std::vector<std::pair<std::string, std::string>> facts;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) {
    const size_t colon = line.find(": ");
    if (colon != std::string::npos) facts.emplace_back(line.substr(0, colon), line.substr(colon + 2));
  }
  return facts;
}

/// The first fact in which two texts differ: "steps is 5 on rank 1, 10 on rank 0"; nothing where there is none.
std::string first_difference(const std::string& standard, const std::string& odd, const Division& d) {
  const auto here = facts_of(standard), there = facts_of(odd);
  const std::map<std::string, std::string> standard_value(here.begin(), here.end()), odd_value(there.begin(), there.end());
  const auto value_of = [](const std::map<std::string, std::string>& values, const std::string& name) {
    const auto found = values.find(name);
    return found == values.end() ? std::string("missing") : found->second;
  };
  for (const auto* facts : {&here, &there})
    for (const auto& [name, value] : *facts) {
      const std::string a = value_of(standard_value, name), b = value_of(odd_value, name);
      if (a != b) return cat(": ", name, " is ", b, " on rank ", d.odd.front(), ", ", a, " on rank ", d.standard);
    }
  return {};
}

/// `text` of rank `root`, on all ranks.
std::string text_of(Communicator& comm, std::string text, int root) {
  broadcast(comm, text, root);
  return text;
}

[[noreturn]] void refuse(Communicator& comm, const Fingerprint& print, const Division& d, const Mismatch& mismatch) {
  const std::string own = print.facts ? print.facts() : "";
  const std::string standard = text_of(comm, own, d.standard), odd = text_of(comm, own, d.odd.front());
  std::vector<int> named = d.odd;
  if (!d.majority) named.insert(named.begin(), d.standard);
  std::sort(named.begin(), named.end());
  std::vector<std::string> hosts;
  for (size_t i = 0; i < named.size() && i < most_named; ++i) hosts.push_back(text_of(comm, host_name(), named[i]));
  std::sort(hosts.begin(), hosts.end());
  hosts.erase(std::unique(hosts.begin(), hosts.end()), hosts.end());
  const char* s = d.odd.size() > 1 ? "s " : " ";
  throw Error(mismatch.exit_code, mismatch.code,
              cat("rank", s, listed(d.odd), " of ", comm.size(), d.odd.size() > 1 ? " differ" : " differs", " from ",
                  d.majority ? "most" : cat("rank ", d.standard), " in the ", print.what, first_difference(standard, odd, d)),
              mismatch.remedy)
      .at("rank", listed(named))
      .at("host", listed(hosts));
}

}  // namespace

void require_same(Communicator& comm, std::span<const Fingerprint> prints, const Mismatch& mismatch) {
  if (comm.size() == 1 || prints.empty()) return;
  std::vector<uint64_t> own;
  for (const Fingerprint& print : prints) own.push_back(print.hash);
  const std::vector<uint64_t> all =
      gather_values(comm, std::span<const uint64_t>(own), std::vector<int64_t>(static_cast<size_t>(comm.size()), std::ssize(own)));
  std::vector<uint64_t> of_ranks(static_cast<size_t>(comm.size()));
  for (size_t i = 0; i < prints.size(); ++i) {
    for (size_t r = 0; r < of_ranks.size(); ++r) of_ranks[r] = all[r * prints.size() + i];
    if (const auto division = divide(of_ranks)) refuse(comm, prints[i], *division, mismatch);
  }
}

bool names_ranks(const Error& error) { return error.where().starts_with("rank="); }

}  // namespace lodestone
