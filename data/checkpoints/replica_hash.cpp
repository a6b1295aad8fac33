#include "data/checkpoints/replica_hash.h"

#include <algorithm>

#include "data/files/durable.h"

namespace lodestone {

namespace {

constexpr int64_t piece_bytes = int64_t{1} << 24;

uint64_t hash_of(Backend& backend, Arena& arena, ConstTensor values) {
  const int64_t piece = piece_bytes / static_cast<int64_t>(size_of(values.dtype()));
  Checksum sum;
  for (int64_t begin = 0; begin < values.count(); begin += piece) {
    const auto scope = arena.scope();
    const ConstTensor host = backend.download(values.slice({begin, std::min(begin + piece, values.count())}), arena);
    backend.synchronize();
    sum.add({host.bytes(), host.size_bytes()});
  }
  return sum.value();
}

}  // namespace

std::vector<uint64_t> replica_hashes(Backend& backend, Arena& arena, const ParamLayout& layout, std::span<const CheckpointVector> vectors) {
  std::vector<uint64_t> hashes;
  for (const CheckpointVector& v : vectors) {
    LODE_CHECK(v.begin == 0 && v.values.count() == layout.count(), v.name, " holds ", v.values.count(), " of ", layout.count(),
               " elements");
    for (const Param& p : layout.params()) hashes.push_back(hash_of(backend, arena, v.values.slice(p.slice)));
  }
  return hashes;
}

std::string replica_facts(const ParamLayout& layout, std::span<const CheckpointVector> vectors, std::span<const uint64_t> hashes) {
  std::string facts;
  size_t i = 0;
  for (const CheckpointVector& v : vectors)
    for (const Param& p : layout.params()) facts += cat(v.name, '/', p.name, ": ", hex64(hashes[i++]), "\n");
  return facts;
}

}  // namespace lodestone
