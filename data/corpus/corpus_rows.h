// CorpusRows: a corpus as a RowSource.
#pragma once

#include "data/corpus/row_source.h"

namespace lodestone {

class CorpusRows final : public RowSource {
 public:
  explicit CorpusRows(const Corpus& corpus) : corpus_(corpus) {}
  int64_t rows() const override { return corpus_.rows(); }
  const std::vector<CorpusSource>& sources() const override { return corpus_.sources(); }
  const std::vector<std::string>& prompts() const override { return corpus_.prompts(); }
  int64_t row_of(int32_t source, int64_t k) const override { return corpus_.row_of(source, k); }
  void read(int64_t row, PackedRow& out) const override { corpus_.read(row, out); }
  void read_without_ids(int64_t row, PackedRow& out) const override { corpus_.read_without_ids(row, out); }

 private:
  const Corpus& corpus_;
};

}  // namespace lodestone
