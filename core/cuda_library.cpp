#include "core/cuda_library.h"

#include <dlfcn.h>

#include <filesystem>

namespace lodestone {

namespace {

constexpr const char* file_name = "liblodestone_cuda.so";

/// The folder of the program that runs, or empty.
std::filesystem::path folder_of_program() {
  std::error_code unknown;
  return std::filesystem::read_symlink("/proc/self/exe", unknown).parent_path();
}

/// Opens the library: by its name where LD_LIBRARY_PATH has it, else beside the program or in ../lib/lodestone. Null where it is not.
void* open_library(std::string& reason) {
  const std::filesystem::path program = folder_of_program();
  for (const std::string& path :
       {std::string(file_name), (program / file_name).string(), (program / "../lib/lodestone" / file_name).string()}) {
    if (void* const library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL); library != nullptr) return library;
    const std::string said = dlerror();
    // "FILE: cannot open shared object file ..." of the library itself says only that it is not there.
    if (said.find(file_name) != 0 && said.find(path) != 0) reason = said;
  }
  if (reason.empty()) reason = cat("this program was built without CUDA: there is no ", file_name);
  return nullptr;
}

}  // namespace

CudaLibrary::CudaLibrary() {
  void* const library = open_library(why_not_);
  if (library == nullptr) return;
  const auto look = reinterpret_cast<void (*)(std::string&)>(dlsym(library, "lodestone_cuda_why_not"));
  make_ = reinterpret_cast<Backend* (*)(int)>(dlsym(library, "lodestone_cuda_make_backend"));
  facts_ = reinterpret_cast<void (*)(CudaFacts&)>(dlsym(library, "lodestone_cuda_facts"));
  if (look == nullptr || make_ == nullptr || facts_ == nullptr)
    why_not_ = cat(file_name, " belongs to another version of this program");
  else
    look(why_not_);
}

void CudaLibrary::require_gpu() const {
  if (!why_not_.empty()) throw Error(ExitCode::usage, "cuda", why_not_, "use device auto or cpu");
}

CudaFacts CudaLibrary::facts() const {
  require_gpu();
  CudaFacts facts;
  facts_(facts);
  return facts;
}

std::unique_ptr<Backend> CudaLibrary::make_backend(int gpu) const {
  require_gpu();
  return std::unique_ptr<Backend>(make_(gpu));
}

const CudaLibrary& cuda_library() {
  static const CudaLibrary library;
  return library;
}

}  // namespace lodestone
