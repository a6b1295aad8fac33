// What is said about a file that the system does not open, make or write.
#pragma once

#include <filesystem>
#include <string>

#include "core/error.h"

namespace lodestone {

/// The system's own words for `error`, an errno.
std::string system_reason(int error);
/// Whether `error` says that descriptors are used up: those of the process, or of the host.
bool is_used_up(int error);
/// Error (resource, "F15") about it, with the limit of the process. The caller adds the file.
Error used_up_error(int error);
/// Throws that about the file when `error`, of the call that was to open it, says so.
void require_descriptors(int error, const std::filesystem::path& path);
/// Whether `error` says that a disk, a quota or a limit of file sizes is full.
bool is_full(int error);
/// Whether `error` says that nothing can have this name: a loop of links, a name that is too long.
bool is_bad_name(int error);
/// Error (storage, `code`) with the system's reason and the file; F15 when descriptors are used up.
Error storage_error(const char* code, const std::string& what, const std::filesystem::path& path, int error);
/// Error (data, `code`) for a file that is read, itself and no link to it, with a remedy by cause: `if_missing` where there is none.
Error data_error(const char* code, const std::string& what, const std::filesystem::path& path, int error, const char* if_missing);
/// As storage_error, for a file that could not be opened or made for writing: "F19" when the disk is full, else "F21".
Error open_error(const char* what, const std::filesystem::path& path, int error);

}  // namespace lodestone
