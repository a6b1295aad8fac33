// The options of commands that read records: which format, which columns.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "data/records/inputs.h"
#include "launch/config/options.h"

namespace lodestone {

/// --format, --columns and --header, for the list of a command's options.
std::vector<std::string> input_option_names();
/// Sets what they give in `input`. Throws Error (usage) on an unknown format or choice.
void read_input_options(const Options& given, InputOptions& input);

/// How many bad rows --on-bad-row allows: fail, or skip:N. Throws Error (usage).
int64_t allowed_bad_rows(const Options& given);

/// "fields ignored: a b c", printable, for names as RecordReader::ignored_fields() gives them, sorted; empty without any.
std::string describe_ignored(std::span<const std::string> names);

}  // namespace lodestone
