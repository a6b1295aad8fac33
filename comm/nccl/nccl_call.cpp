#include "comm/nccl/nccl_call.h"

namespace lodestone::nccl {

ncclDataType_t type_of(DType t) {
  switch (t) {
    case DType::f64:
      return ncclFloat64;
    case DType::f32:
      return ncclFloat32;
    case DType::bf16:
      return ncclBfloat16;  // moved, never reduced
    case DType::i32:
      return ncclInt32;
    case DType::i64:
      return ncclInt64;
    case DType::u8:
      return ncclUint8;
  }
  throw_internal(__FILE__, __LINE__, "t", "no such number format");
}

ncclRedOp_t op_of(Reduce op) {
  switch (op) {
    case Reduce::sum:
      return ncclSum;
    case Reduce::max:
      return ncclMax;
    case Reduce::min:
      return ncclMin;
  }
  throw_internal(__FILE__, __LINE__, "op", "no such reduction");
}

std::string version_name(int code) { return cat(code / 10000, '.', code / 100 % 100, '.', code % 100); }

int version_code() {
  int code = 0;
  return ncclGetVersion(&code) == ncclSuccess ? code : 0;
}

Error error_of(ncclResult_t result, const std::string& what, ncclComm_t comm) {
  const char* const more = ncclGetLastError(comm);
  return Error(ExitCode::communication, "nccl",
               cat(what, ": ", ncclGetErrorString(result), more == nullptr || *more == '\0' ? "" : cat(" (", more, ")")),
               "look for a lost rank or link, NCCL_DEBUG=WARN says more; start the same command again to go on");
}

}  // namespace lodestone::nccl
