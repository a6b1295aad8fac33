// Tables: records from comma- or tab-separated lines under a header line.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "data/records/lines.h"
#include "data/records/records.h"

namespace lodestone {

enum class Separator : char { comma = ',', tab = '\t' };

/// Whether the first line of a table names its columns. automatic: it does when no columns are given; when they are, a first line that
/// reads as names is refused, since nobody knows.
enum class Header : uint8_t { automatic, yes, no };
constexpr std::string_view name_of(Header header) {
  switch (header) {
    case Header::automatic:
      return "auto";
    case Header::yes:
      return "yes";
    case Header::no:
      return "no";
  }
  return {};
}

/// Records of a table. `columns` names its columns, whatever a header says; empty: its first line does. With commas a field in double
/// quotes may hold commas, line ends and doubled quotes (RFC 4180); with tabs quotes count only if they enclose the whole field. An empty
/// cell counts as absent except in the query, the positive and the score. Throws Error (usage, "columns") when no column is a query, one is
/// there twice, or the first line may be a header.
std::unique_ptr<RecordReader> open_table(LineReader lines, Separator separator, std::vector<std::string> columns, Header header,
                                         FieldMap map);

}  // namespace lodestone
