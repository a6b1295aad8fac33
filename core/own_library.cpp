#include "core/own_library.h"

#include <dlfcn.h>

#include <filesystem>

#include "core/error.h"

namespace lodestone {

namespace {

/// The folder of the program that runs, or empty.
std::filesystem::path folder_of_program() {
  std::error_code unknown;
  return std::filesystem::read_symlink("/proc/self/exe", unknown).parent_path();
}

}  // namespace

void* open_own_library(const std::string& file_name, const std::string& without, std::string& reason) {
  const std::filesystem::path program = folder_of_program();
  for (const std::string& path : {file_name, (program / file_name).string(), (program / "../lib/lodestone" / file_name).string()}) {
    if (void* const library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL); library != nullptr) {
      reason.clear();
      return library;
    }
    const std::string said = dlerror();
    if (said.find(cat(path, ": cannot open shared object file")) != 0) reason = said;  // more than that it is not there
  }
  if (reason.empty()) reason = cat("this program was built without ", without, ": there is no ", file_name);
  return nullptr;
}

}  // namespace lodestone
