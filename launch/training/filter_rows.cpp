#include "launch/training/filter_rows.h"

#include "comm/gather_values.h"

namespace lodestone {

std::vector<uint8_t> judge_over_ranks(Communicator& comm, const RowSource& rows, const RowFilter& filter, const CandidateConfig& candidates,
                                      std::span<const int64_t> source_groups) {
  const RankRows mine = rank_rows(rows.rows(), comm.rank(), comm.size());
  const std::vector<uint8_t> own = judge_rows(rows, filter, candidates, mine.begin, mine.end, source_groups);
  return gather_values(comm, std::span<const uint8_t>(own));  // shares lie in the order of ranks
}

}  // namespace lodestone
