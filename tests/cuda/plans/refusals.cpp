// What cuDNN looks for in libcuda.so.1 before it compiles, and must not get far with: there is no device. By plain names, which cuda.h has
// macros for.

namespace {

constexpr int no_device = 100;  // CUDA_ERROR_NO_DEVICE

}  // namespace

extern "C" {

int cuLinkCreate() { return no_device; }
int cuLinkAddData() { return no_device; }
int cuLinkComplete() { return no_device; }
int cuLinkDestroy() { return no_device; }
int cuModuleLoadData() { return no_device; }
int cuModuleGetFunction() { return no_device; }
int cuLibraryLoadFromFile() { return no_device; }
int cuLaunchKernel() { return no_device; }
int cuLaunchKernelEx() { return no_device; }
int cuLaunchCooperativeKernel() { return no_device; }

}  // extern "C"
