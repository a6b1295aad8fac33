#include "tests/support/onednn_calls.h"

#include <dlfcn.h>
#include <oneapi/dnnl/dnnl.h>

#include "launch/console/allocations.h"

namespace {

lodestone::test::LibraryCalls calls;  // of the one thread that multiplies

/// The definition of `name` behind this one: the library's.
template <class Function>
Function* next(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

}  // namespace

extern "C" dnnl_status_t dnnl_primitive_execute(const_dnnl_primitive_t primitive, dnnl_stream_t stream, int count,
                                                const dnnl_exec_arg_t* arguments) {
  static auto* const library = next<decltype(dnnl_primitive_execute)>("dnnl_primitive_execute");
  ++calls.primitives;
  const uint64_t before = lodestone::heap_allocations();
  const dnnl_status_t status = library(primitive, stream, count, arguments);
  calls.allocations += lodestone::heap_allocations() - before;
  return status;
}

extern "C" dnnl_status_t dnnl_sgemm(char transa, char transb, dnnl_dim_t m, dnnl_dim_t n, dnnl_dim_t k, float alpha, const float* a,
                                    dnnl_dim_t lda, const float* b, dnnl_dim_t ldb, float beta, float* c, dnnl_dim_t ldc) {
  static auto* const library = next<decltype(dnnl_sgemm)>("dnnl_sgemm");
  ++calls.products;
  const uint64_t before = lodestone::heap_allocations();
  const dnnl_status_t status = library(transa, transb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
  calls.allocations += lodestone::heap_allocations() - before;
  return status;
}

namespace lodestone::test {

LibraryCalls library_calls() { return calls; }
uint64_t own_allocations() { return heap_allocations() - calls.allocations; }

}  // namespace lodestone::test
