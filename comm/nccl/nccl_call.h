// What NCCL says of a call, as an Error, and its names of ours.
#pragma once

#include <nccl.h>

#include <string>

#include "comm/communicator.h"
#include "core/error.h"

namespace lodestone::nccl {

/// Error (communication, "nccl"). `what`: the call, and for whom; comm: null where there is none yet.
Error error_of(ncclResult_t result, const std::string& what, ncclComm_t comm);

ncclDataType_t type_of(DType t);
ncclRedOp_t op_of(Reduce op);
/// The library's own, 22809 for 2.28.9; 0 where it does not say.
int version_code();
/// 22809 -> "2.28.9".
std::string version_name(int code);

}  // namespace lodestone::nccl
