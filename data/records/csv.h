// Tables: records from comma- or tab-separated lines under a header line.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "data/records/lines.h"
#include "data/records/records.h"

namespace lodestone {

enum class Separator : char { comma = ',', tab = '\t' };

/// Records of a table. `columns` names its columns; empty: its first line does. With commas a field in double quotes may
/// hold commas, line ends and doubled quotes (RFC 4180); with tabs quotes count only if they enclose the whole field.
/// An empty cell counts as absent except in the query, the positive and the score.
std::unique_ptr<RecordReader> open_table(LineReader lines, Separator separator, std::vector<std::string> columns, FieldMap map);

}  // namespace lodestone
