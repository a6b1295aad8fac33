#include "core/cpu/host_backend.h"

#include <cstring>

#include "core/checks.h"

namespace lodestone {

namespace {

/// Returns the bytes copied.
int64_t copy_bytes(const char* verb, ConstTensor from, Tensor to) {
  checks::shape(verb, "the target", to, from.shape());
  checks::dtype(verb, "the target", to, from.dtype());
  if (from.empty() || from.bytes() == to.bytes()) return 0;
  std::memcpy(to.bytes(), from.bytes(), from.size_bytes());
  return static_cast<int64_t>(from.size_bytes());
}

}  // namespace

ConstTensor HostBackend::upload(ConstTensor host, Arena&) {
  ++transfers_.uploads;
  return host;
}

void HostBackend::upload(ConstTensor host, Tensor to) {
  ++transfers_.uploads;
  transfers_.copied_bytes += copy_bytes("upload", host, to);
}

ConstTensor HostBackend::download(ConstTensor x, Arena&) {
  ++transfers_.downloads;
  return x;
}

void HostBackend::download(ConstTensor x, Tensor host) {
  ++transfers_.downloads;
  transfers_.copied_bytes += copy_bytes("download", x, host);
}

}  // namespace lodestone
