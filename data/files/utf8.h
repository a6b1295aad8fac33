// Is this text valid UTF-8, and where does it stop being so?
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace lodestone {

/// Offset in bytes of the first sequence of `text` that is not UTF-8 by RFC 3629 (overlong forms, surrogates, code points
/// above U+10FFFF, stray or missing continuation bytes), or nullopt if all of it is valid. A sequence cut off by the end
/// of the text is reported at its first byte. U+0000 and a byte order mark are valid here.
std::optional<size_t> validate_utf8(std::string_view text);

/// `name` where only UTF-8 may stand, as in JSON: each byte that is not part of valid UTF-8 becomes \xNN. Names of files are bytes.
std::string utf8_name(std::string_view name);

}  // namespace lodestone
