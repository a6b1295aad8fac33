// Hashes of flat training vectors, parameter by parameter: ranks that hold replicas have the same.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/backend.h"
#include "data/checkpoints/checkpoint.h"

namespace lodestone {

/// XXH3-64 of each parameter's elements in each vector, vector by vector: [vectors x parameters of the layout]. Every vector must be whole.
/// On the CPU the vectors are read where they lie; elsewhere they are downloaded in pieces of at most 16 MiB, a wait for each.
std::vector<uint64_t> replica_hashes(Backend& backend, Arena& arena, const ParamLayout& layout, std::span<const CheckpointVector> vectors);

/// The same as lines "params/NAME: HASH" that say which is which.
std::string replica_facts(const ParamLayout& layout, std::span<const CheckpointVector> vectors, std::span<const uint64_t> hashes);

}  // namespace lodestone
