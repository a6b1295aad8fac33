#include "launch/networks/estimate.h"

#include <algorithm>

#include "core/length_chunks.h"
#include "data/batches/global_rows.h"

namespace lodestone {

namespace {

constexpr int64_t rows_to_read = 4096, most_batches = 16;
constexpr size_t batches_held = 4;  // three of the loader's, one in chunks

void add_lengths(const Batch& batch, int64_t begin, int64_t end, int64_t limit, TextLengths& to) {
  const TokenBatch tokens = batch.tokens();
  for (int64_t b = begin; b < end; ++b) {
    const int64_t length = tokens.length(b);
    ++to.texts;
    to.tokens += length;
    to.longest = std::max(to.longest, length);
    to.full += length == limit;
  }
}

/// What any objective takes: parameters, gradients, moments, token ids.
MemoryEstimate common_memory(const Exec& ex, int64_t parameters, const Batch& batch) {
  const size_t wide = size_of(ex.wide()), count = static_cast<size_t>(parameters);
  MemoryEstimate m;
  m.parameters = count * wide + (ex.compute == DType::bf16 ? count * size_of(DType::bf16) : 0);
  m.gradients = count * wide;
  m.moments = 2 * count * wide;
  m.batches = batches_held * (batch.ids.size() * sizeof(int32_t) + static_cast<size_t>(batch.tokens().texts()) * 3 * sizeof(int64_t));
  return m;
}

}  // namespace

LengthSample sample_lengths(const Plan& plan, const RowSource& rows, RowCollator& collator, const TextLimits& limits,
                            int64_t batches_per_step, int world) {
  const int64_t n = plan.config().global_batch, parts = plan.config().batches / batches_per_step * batches_per_step;
  const int cut = static_cast<int>(std::max<int64_t>(1, n / rows_to_read));  // of a larger batch only one part of this many
  LengthSample sample;
  sample.batches = std::min(parts, std::clamp<int64_t>(rows_to_read / n, 1, most_batches));
  GlobalRows global_rows(plan, rows, collator);
  Batch batch;
  int64_t read = 0, global = 0, largest_tokens = -1;
  for (int64_t i = 0; i < sample.batches; ++i) {
    const int64_t draw = i * parts / sample.batches, step = draw / batches_per_step;
    const std::span<const int64_t> ids = global_rows.read(draw, step);
    const int32_t source = global_rows.part().source;
    collator.collate(rows, {.step = step, .source = source, .rows = ids, .rank = 0, .world = cut}, batch);
    read += batch.queries;
    global += batch.global_queries;
    const int64_t texts = batch.tokens().texts();
    const int64_t queries = texts == batch.queries * (1 + batch.group) && batch.group > 0 ? batch.queries : 0;
    add_lengths(batch, 0, queries, limits.query, sample.queries);
    add_lengths(batch, queries, texts, limits.passage, sample.passages);
    if (batch.tokens().tokens() > largest_tokens) {
      largest_tokens = batch.tokens().tokens();
      collator.collate(rows, {.step = step, .source = source, .rows = ids, .rank = 0, .world = world}, sample.largest);
    }
  }
  if (read > 0) {
    sample.tokens_per_step = static_cast<double>(sample.queries.tokens + sample.passages.tokens) / static_cast<double>(read) *
                             static_cast<double>(global * batches_per_step) / static_cast<double>(sample.batches);
  }
  return sample;
}

LengthSample longest_lengths(int64_t global_batch, const TextLimits& limits, int64_t queries_per_row, int64_t passages_per_row,
                             int64_t batches_per_step, int world) {
  LengthSample sample;
  Batch& b = sample.largest;
  for (int r = 0; r < world; ++r) b.rank_queries.push_back(rank_rows(global_batch, r, world).end - rank_rows(global_batch, r, world).begin);
  b.queries = b.rank_queries.front();
  b.group = passages_per_row;
  b.global_queries = global_batch;
  const auto add = [&](int64_t texts, int64_t length) {
    for (int64_t i = 0; i < texts; ++i) {
      b.ids.resize(b.ids.size() + static_cast<size_t>(length));
      b.offsets.push_back(static_cast<int64_t>(b.ids.size()));
    }
  };
  add(b.queries * queries_per_row, limits.query);
  add(b.queries * passages_per_row, limits.passage);
  sample.tokens_per_step =
      static_cast<double>(batches_per_step * global_batch * (queries_per_row * limits.query + passages_per_row * limits.passage));
  return sample;
}

MemoryEstimate estimate_memory(const Encoder& encoder, const Exec& ex, int64_t parameters, const Batch& batch,
                               const EmbeddingObjectiveOptions& options, const Loss& loss) {
  MemoryEstimate m = common_memory(ex, parameters, batch);
  LengthChunks chunks;
  chunks.assign(batch.tokens(), options.chunk_tokens);
  size_t kept = 0, largest_saved = 0, largest_work = 0;
  bool keeping = true;
  for (int64_t c = chunks.count(); c-- > 0;) {  // the last chunks are kept as far as they fit, the very last always
    const TokenBatch tokens = chunks.tokens(c);
    const size_t saved = encoder.saved_bytes(ex, tokens.tokens(), tokens.texts());
    largest_work = std::max(largest_work, encoder.work_bytes(ex, tokens.tokens(), tokens.texts()));
    keeping = keeping && (c + 1 == chunks.count() || kept + saved <= options.keep_activations_bytes);
    if (keeping)
      kept += saved;
    else
      largest_saved = std::max(largest_saved, saved);
  }
  m.activations = kept;

  VectorBatch vectors{batch.pairs(), encoder.config().embedding(), ex.wide()};
  vectors.pairs.in_batch_negatives = true;
  m.embeddings = 3 * vectors.vectors(batch.tokens().texts());
  m.work = std::max(largest_saved + largest_work, loss.memory(vectors).total());
  return m;
}

MemoryEstimate estimate_memory(const RetroMaeObjective& objective, const Exec& ex, int64_t parameters, const Batch& batch,
                               int64_t chunk_tokens) {
  constexpr size_t masks = 25;  // bytes a token, at most: labels, the decoder's input, masks
  MemoryEstimate m = common_memory(ex, parameters, batch);
  m.batches += batches_held * masks * batch.ids.size();
  LengthChunks chunks;
  chunks.assign(batch.tokens(), chunk_tokens);
  for (int64_t c = 0; c < chunks.count(); ++c)
    m.work = std::max(m.work, objective.chunk_bytes(ex, chunks.tokens(c).tokens(), chunks.tokens(c).texts()));
  return m;
}

MemoryEstimate estimate_memory(RerankerObjective& objective, const Exec& ex, int64_t parameters, const Batch& batch) {
  MemoryEstimate m = common_memory(ex, parameters, batch);
  m.work = objective.work_bytes(ex, batch);
  return m;
}

}  // namespace lodestone
