// Instructions that CUDA C++ has no name for: the only PTX there is. tests/cuda/emulator/ptx.h does the same on the host.
#pragma once

#include "core/cuda/device/launch.h"

namespace lodestone::cuda {

/// The left operand [16,16] of a warp's product in bf16, by pairs of columns. With r = lane / 4 and q = lane % 4 a lane holds of row r the
/// columns 2q, 2q+1 in at[0] and 2q+8, 2q+9 in at[2], and the same of row r + 8 in at[1] and at[3].
struct LeftTile {
  uint32_t at[4];
};
/// The right operand [16,8]: of column r the rows 2q, 2q+1 in at[0], and 2q+8, 2q+9 in at[1].
struct RightTile {
  uint32_t at[2];
};
/// The result [16,8] in f32: of row r the columns 2q and 2q+1 in at[0] and at[1], of row r + 8 in at[2] and at[3].
struct SumTile {
  float at[4];
};

#ifdef __CUDACC__

/// sum += left right, by all lanes of a warp (PTX: mma.m16n8k16, whose fragments are those above). volatile: no lane may do without it.
__device__ __forceinline__ void multiply_add(SumTile& sum, const LeftTile& left, const RightTile& right) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(sum.at[0]), "+f"(sum.at[1]), "+f"(sum.at[2]), "+f"(sum.at[3])
               : "r"(left.at[0]), "r"(left.at[1]), "r"(left.at[2]), "r"(left.at[3]), "r"(right.at[0]), "r"(right.at[1]));
}

/// 2^x within 2^-22 of it, and 0 below 2^-126 (PTX: ex2.approx.ftz.f32): exp2f() would take three more instructions for what is smaller.
__device__ __forceinline__ float exp2_approx(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

#endif

}  // namespace lodestone::cuda
