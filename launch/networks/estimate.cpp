#include "launch/networks/estimate.h"

#include <algorithm>
#include <iterator>

#include "comm/null_comm.h"
#include "core/buffer.h"
#include "core/null/dry_run.h"
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

/// A rank that has as many queries of the whole batch as this part of it: it does what that rank does.
int rank_of(const Batch& b) {
  const auto rank = std::find(b.rank_queries.begin(), b.rank_queries.end(), b.queries);
  return rank == b.rank_queries.end() ? 0 : static_cast<int>(rank - b.rank_queries.begin());
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

void complete_batch(Batch& b) {
  const auto texts = static_cast<size_t>(b.tokens().texts());
  const auto queries = static_cast<size_t>(b.queries), passages = static_cast<size_t>(b.queries * b.group);
  const auto fill = [](auto& values, size_t count, auto next) {
    if (values.empty()) std::generate_n(std::back_inserter(values), count, next);
  };
  const auto different = [n = uint64_t{0}]() mutable { return mix64(++n); };
  fill(b.keys, texts, different);
  fill(b.query_hash, queries, different);
  fill(b.passage_hash, passages, [&, n = uint64_t{1} << 32]() mutable { return mix64(++n); });
  fill(b.passage_document, passages, [&, n = uint64_t{1} << 33]() mutable { return mix64(++n); });
  const auto score = [n = 0]() mutable { return 1.0 / ++n; };
  fill(b.scores, queries, score);
  fill(b.teacher_scores, passages, score);
  b.in_batch_negatives = true;
  if (texts != queries || !b.mlm_labels.empty()) return;  // single texts are masked
  b.mlm_labels = b.decoder_ids = b.decoder_labels = b.ids;
  b.mask_of_row.assign(b.ids.size(), 0);
  for (int64_t t = 0; t < b.tokens().texts(); ++t) {
    b.mask_first.push_back(std::ssize(b.mask_bits));
    b.mask_bits.resize(b.mask_bits.size() + static_cast<size_t>(KeyMasks::words(b.tokens().length(t))));
  }
}

MemoryEstimate estimate_memory(const Exec& ex, int64_t parameters, Batch batch, const MakeObjective& make) {
  complete_batch(batch);
  const size_t wide = size_of(ex.wide()), count = static_cast<size_t>(parameters);
  const auto alone = make_null_comm(rank_of(batch), static_cast<int>(std::max<size_t>(1, batch.rank_queries.size())));
  const std::unique_ptr<Objective> objective = make(*alone);
  DryRun dry(ex.backend);
  const Buffer memory(dry.backend().memory(), count * wide);
  const Tensor grads = memory.tensor(ex.wide(), {parameters});
  objective->accumulate(dry.exec(ex.at(Key(1))), batch, 1, grads, dry.arena().tensor(DType::f64, {1}), {});
  MemoryEstimate m;
  m.parameters = count * wide + (ex.compute == DType::bf16 ? count * size_of(DType::bf16) : 0);
  m.gradients = count * wide;
  m.moments = 2 * count * wide;
  m.activations = dry.arena().peak_bytes(Use::activations);
  m.chunks = objective->chunks();
  m.embeddings = dry.arena().peak_bytes(Use::vectors);
  m.work = dry.arena().peak_bytes(Use::work);
  m.scratch = dry.backend().scratch_bytes();
  m.batches = batches_held * batch.memory_bytes();
  return m;
}

void require_step_memory(const Exec& ex, int64_t parameters, size_t limit_bytes, int64_t longest, const std::function<Batch(int64_t)>& row,
                         const MakeObjective& make) {
  const auto need = [&](int64_t tokens) {
    const MemoryEstimate m = estimate_memory(ex, parameters, row(tokens), make);
    return m.activations + m.embeddings + m.work;
  };
  const size_t of_longest = need(longest);
  if (of_longest <= limit_bytes) return;
  int64_t fits = 0, fails = longest;
  while (fails - fits > 1) {
    const int64_t middle = fits + (fails - fits) / 2;
    (need(middle) <= limit_bytes ? fits : fails) = middle;
  }
  const auto mebibytes = [](size_t bytes) { return (bytes + (size_t{1} << 20) - 1) >> 20; };
  throw Error(
      ExitCode::resource, "F14",
      cat("a row with texts of ", longest, " tokens needs ", mebibytes(of_longest), " MiB of step memory, train.step_memory_mb allows ",
          mebibytes(limit_bytes), " MiB"),
      fits > 0 ? cat("the longest texts that fit have ", fits, " tokens: lower data.query_max_len and data.passage_max_len, or allow more")
               : cat("allow more: a row with texts of one token needs ", mebibytes(need(1)), " MiB"));
}

}  // namespace lodestone
