#include "data/files/open_error.h"

#include <sys/resource.h>

#include <cerrno>
#include <system_error>

namespace lodestone {

std::string system_reason(int error) { return std::generic_category().message(error); }

bool is_used_up(int error) { return error == EMFILE || error == ENFILE; }

Error used_up_error(int error) {
  if (error == ENFILE) return Error(ExitCode::resource, "F15", "this host has no descriptors left", "raise fs.file-max, or end other jobs");
  struct rlimit limit {};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  return Error(ExitCode::resource, "F15", cat("no descriptors are left: the limit is ", limit.rlim_cur),
               "raise it: ulimit -n 1024 is plenty");
}

void require_descriptors(int error, const std::filesystem::path& path) {
  if (is_used_up(error)) throw used_up_error(error).at("file", path.string());
}

bool is_full(int error) { return error == ENOSPC || error == EDQUOT || error == EFBIG; }

bool is_bad_name(int error) { return error == ELOOP || error == ENAMETOOLONG; }

Error storage_error(const char* code, const std::string& what, const std::filesystem::path& path, int error) {
  if (is_used_up(error)) return used_up_error(error).at("file", path.string());
  const char* remedy = is_full(error) ? "free space or raise the quota" : "check the storage and the permissions, then run again";
  return Error(ExitCode::storage, code, cat(what, ": ", system_reason(error)), remedy).at("file", path.string());
}

Error data_error(const char* code, const std::string& what, const std::filesystem::path& path, int error, const char* if_missing) {
  if (is_used_up(error)) return used_up_error(error).at("file", path.string());
  const char* remedy = "check the storage, then run again";
  if (error == ENOENT || error == ENOTDIR) remedy = if_missing;
  if (error == EACCES || error == EPERM) remedy = "give this user the permission to read it";
  if (error == ELOOP) remedy = "put the file itself there: a link is not followed";
  return Error(ExitCode::data, code, cat(what, ": ", system_reason(error)), remedy).at("file", path.string());
}

Error open_error(const char* what, const std::filesystem::path& path, int error) {
  return storage_error(is_full(error) ? "F19" : "F21", what, path, error);
}

}  // namespace lodestone
