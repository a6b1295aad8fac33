// What every communicator demands of the operands of a verb (comm/communicator.h). A violation is an Error (internal) that names the verb.
#pragma once

#include <cstdint>
#include <span>

#include "core/tensor.h"

namespace lodestone::verbs {

void check_all_reduce(ConstTensor in, ConstTensor out);
/// Returns the sum of the counts. rank: whose part `in` is.
int64_t check_all_gather(ConstTensor in, ConstTensor out, std::span<const int64_t> counts, int rank, int size);
/// Where the part that a reduce_scatter writes may lie: elsewhere than its input, or also at its place there.
enum class Scattered : uint8_t { elsewhere, or_in_place };
/// Returns the sum of the counts. rank: whose part `out` is.
int64_t check_reduce_scatter(ConstTensor in, ConstTensor out, std::span<const int64_t> counts, int rank, int size,
                             Scattered scattered = Scattered::elsewhere);
void check_broadcast(int root, int size);
/// Both lie on the device, unless they are empty.
void check_device(const char* verb, Device device, ConstTensor in, ConstTensor out);

}  // namespace lodestone::verbs
