// Which cuDNN at run time does what was compiled here: without a header of cuDNN, so that tests can ask.
#pragma once

#include <cstddef>
#include <string>

namespace lodestone::cudnn {

/// 91900 -> "9.19.0".
inline std::string version_text(size_t number) {
  return std::to_string(number / 10000) + '.' + std::to_string(number / 100 % 100) + '.' + std::to_string(number % 100);
}

/// Why a cuDNN of that version (cudnnGetVersion), built for that CUDA (cudnnGetCudartVersion: 13000 is 13.0), cannot be taken beside the
/// CUDA of this major version, or nothing.
inline std::string against_version(size_t cudnn, size_t its_cuda, size_t cuda_major) {
  if (cudnn < 91900) return "this is cuDNN " + version_text(cudnn) + ", and 9.19.0 is the first that can be taken";
  if (its_cuda / 1000 != cuda_major)
    return "this cuDNN was built for CUDA " + std::to_string(its_cuda / 1000) + ", and this program for CUDA " + std::to_string(cuda_major);
  return {};
}

}  // namespace lodestone::cudnn
