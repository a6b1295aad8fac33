// Null communicator: one process plays one rank of many, alone, to see what memory that rank would need.
#pragma once

#include "comm/communicator.h"

namespace lodestone {

/// This process is rank `rank` of `size`; the others do not exist and nobody waits for them. Verbs check their operands and then
///   all_gather      puts `in` into its place; the parts of other ranks get values that are all different, also from those of earlier calls
///                   and of communicators split off: i64 mix64() of 2^64 - 1 and down, so that mix64() of small numbers is not among
///                   them; i32 and u8 from 0 up; floats in (0, 1). A dtype has only so many: after 2^31 values of i32, 2^8 of u8,
///                   about 2^30 of f32 and 16,128 of bf16 they come again;
///   all_reduce      out = in;
///   reduce_scatter  out = this rank's part of in;
///   broadcast       leaves data as it is.
/// Where the written tensor lies on Device::null nothing is moved. split() gives the same ranks for any colour.
/// Throws Error (internal) for a rank that is not below `size`.
std::unique_ptr<Communicator> make_null_comm(int rank, int size);

}  // namespace lodestone
