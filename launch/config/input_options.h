// The options of commands that read records: which format, which columns.
#pragma once

#include "data/records/inputs.h"
#include "launch/config/options.h"

namespace lodestone {

/// --format, --columns and --header, for the list of a command's options.
std::vector<std::string> input_option_names();
/// Sets what they give in `input`. Throws Error (usage) on an unknown format or choice.
void read_input_options(const Options& given, InputOptions& input);

}  // namespace lodestone
