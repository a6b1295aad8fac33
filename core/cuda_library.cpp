#include "core/cuda_library.h"

#include <dlfcn.h>

#include "core/own_library.h"

namespace lodestone {

namespace {

constexpr const char* file_name = "liblodestone_cuda.so";

}  // namespace

CudaLibrary::CudaLibrary() {
  void* const library = open_own_library(file_name, "CUDA", why_not_);
  if (library == nullptr) return;
  const auto look = reinterpret_cast<int (*)(std::string&)>(dlsym(library, "lodestone_cuda_gpus"));
  make_ = reinterpret_cast<decltype(make_)>(dlsym(library, "lodestone_cuda_make_backend"));
  facts_ = reinterpret_cast<void (*)(CudaFacts&)>(dlsym(library, "lodestone_cuda_facts"));
  if (look == nullptr || make_ == nullptr || facts_ == nullptr)
    why_not_ = cat(file_name, " belongs to another version of this program");
  else
    gpus_ = look(why_not_);
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

std::unique_ptr<Backend> CudaLibrary::make_backend(const CudaOptions& options) const {
  require_gpu();
  return std::unique_ptr<Backend>(make_(options));
}

const CudaLibrary& cuda_library() {
  static const CudaLibrary library;
  return library;
}

}  // namespace lodestone
