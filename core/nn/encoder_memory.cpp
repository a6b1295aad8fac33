// How many bytes of step memory an encoder keeps and needs, mirrored line by line from what its layers take.
#include <algorithm>

#include "core/nn/encoder.h"

namespace lodestone {

namespace {

/// Sizes of the tensors that layers take from the arena, for one chunk.
struct Sizes {
  const Exec& ex;
  const EmbedderConfig& config;
  int64_t tokens, texts;

  int64_t H() const { return config.encoder.hidden; }
  int64_t F() const { return config.encoder.feed_forward; }
  size_t rows(int64_t columns) const { return Arena::taken_bytes(ex.compute, {padded_rows(ex, tokens), columns}); }
  size_t text_rows(int64_t columns) const { return Arena::taken_bytes(ex.wide(), {padded_rows(ex, texts), columns}); }
  size_t statistic() const { return Arena::taken_bytes(ex.wide(), {tokens}); }
  size_t lse() const { return Arena::taken_bytes(ex.wide(), {tokens, config.encoder.heads}); }
  template <class T>
  size_t objects(int64_t n) const {
    return Arena::taken_bytes<T>(n);
  }

  size_t embedding() const { return rows(H()) + 2 * statistic(); }
  size_t head() const { return config.head ? text_rows(H()) + text_rows(config.embedding()) : 0; }
  size_t block_kept() const { return lse() + rows(3 * H()) + 4 * rows(H()) + 2 * rows(F()) + 4 * statistic(); }
  size_t block_passing() const { return lse() + rows(std::max(3 * H(), F())) + 3 * rows(H()) + 2 * statistic(); }
  size_t block_backward() const { return rows(H()) + std::max(rows(F()), rows(H()) + rows(3 * H())); }
};

}  // namespace

size_t Encoder::saved_bytes(const Exec& ex, int64_t tokens, int64_t texts) const {
  const Sizes s{ex, config_, tokens, texts};
  const int64_t L = config_.encoder.layers;
  if (texts == 0) return s.objects<EncoderSaved>(1);
  const size_t inputs = s.objects<Activation>(L + 1) + static_cast<size_t>(L + 1) * s.rows(s.H());
  const size_t blocks = s.objects<BlockSaved>(L) + static_cast<size_t>(L) * s.block_kept();
  return s.objects<EncoderSaved>(1) + s.head() + s.embedding() + inputs + (checkpointing_ == Checkpointing::none ? blocks : 0);
}

size_t Encoder::work_bytes(const Exec& ex, int64_t tokens, int64_t texts) const {
  const Sizes s{ex, config_, tokens, texts};
  const size_t forward = 2 * s.rows(s.H()) + std::max({s.embedding(), s.block_passing(), s.head()});
  const size_t again = checkpointing_ == Checkpointing::none ? 0 : s.block_kept() + s.rows(s.H());
  const size_t backward = s.rows(s.H()) + std::max(s.head(), again + s.block_backward());
  return std::max(forward, backward);
}

}  // namespace lodestone
