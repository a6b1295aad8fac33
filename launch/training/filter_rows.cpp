#include "launch/training/filter_rows.h"

namespace lodestone {

std::vector<uint8_t> judge_over_ranks(Communicator& comm, const RowSource& rows, const RowFilter& filter, const CandidateConfig& candidates,
                                      std::span<const int64_t> source_groups) {
  std::vector<int64_t> counts;
  for (int rank = 0; rank < comm.size(); ++rank) {
    const RankRows share = rank_rows(rows.rows(), rank, comm.size());
    counts.push_back(share.end - share.begin);
  }
  const RankRows mine = rank_rows(rows.rows(), comm.rank(), comm.size());
  const std::vector<uint8_t> own = judge_rows(rows, filter, candidates, mine.begin, mine.end, source_groups);
  std::vector<uint8_t> all(static_cast<size_t>(rows.rows()));
  const ConstTensor in(reinterpret_cast<const std::byte*>(own.data()), DType::u8, Shape{mine.end - mine.begin});
  comm.all_gather(in, Tensor(reinterpret_cast<std::byte*>(all.data()), DType::u8, Shape{rows.rows()}), counts).wait();
  return all;
}

}  // namespace lodestone
