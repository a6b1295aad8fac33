// The name of the host that this process runs on.
#pragma once

#include <string>

namespace lodestone {

std::string host_name();

}  // namespace lodestone
