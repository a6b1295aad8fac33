#include "launch/bench/bench_operations.h"

#include "launch/bench/bench_attention.h"
#include "launch/bench/bench_timing.h"
#include "losses/score_block.h"

namespace lodestone {

namespace {

using Json = nlohmann::ordered_json;

/// Measures AdamW::step: 7 elements of 4 bytes a parameter, and where there is a rounded copy 4 bytes read and 2 written for it.
Json optimizer(Backend& backend, const BenchOptions& options, DType compute) {
  const EmbedderConfig config = bench_config(options);
  ParamStore params(backend.memory(), embedder_layout(config), compute);
  const int64_t n = params.layout().count();
  const auto size = static_cast<size_t>(n) * sizeof(float);
  AdamW adamw(backend.memory(), {}, params.layout(), DType::f32);
  const Buffer grads_memory(backend.memory(), size), other_memory(backend.memory(), size);
  const Tensor grads = grads_memory.tensor(DType::f32, {n}), other = other_memory.tensor(DType::f32, {n});
  const std::vector<float> values = random_values(n);
  backend.upload(view(std::span<const float>(values)), grads);
  Arena arena(backend.memory(), size_t{16} << 20);
  Exec ex{backend, arena, Key(1), compute};
  const Timed calls[] = {{backend, [&] { adamw.step(ex, 1e-5, 1, grads, params); }}, {backend, [&] { backend.copy(grads, other); }}};
  const std::vector<Spread> found = in_turns(calls, options.steps);
  const double bytes = static_cast<double>(n) * (compute == DType::bf16 ? 34 : 28), copied = 2 * static_cast<double>(size);
  const double rate = bytes / found[0].median_s, copy_rate = copied / found[1].median_s;
  return {{"parameters", n},
          {"bytes", bytes},
          {"step_s", found[0].median_s},
          {"step_s_min", found[0].fastest_s},
          {"step_s_max", found[0].slowest_s},
          {"gb_per_s", rate / 1e9},
          {"copy_gb_per_s", copy_rate / 1e9},
          {"share_of_copy", rate / copy_rate}};
}

struct Tile {
  int64_t rows = 0;
  Spread products, whole;
};

/// Tiles of R rows out of n unit vectors against n: R n cosines and their two gradients, 6 R n E FLOPs, and with them the softmax, as
/// InfoNCE has it. R as for 2^20 scores, which losses have on a host, up to 2^26; on a GPU they have 2^25.
std::vector<Tile> loss_tiles(Backend& backend, const BenchOptions& options) {
  const int64_t n = options.pairs, width = bench_config(options).embedding();
  constexpr int sizes[] = {20, 22, 24, 25, 26};  // logarithms of scores
  const int64_t most_rows = tile_rows(n, n, int64_t{1} << std::end(sizes)[-1]);
  const auto elements = static_cast<size_t>(5 * n * width + 2 * most_rows * n);
  Arena arena(backend.memory(), elements * sizeof(float) + (size_t{16} << 20));
  Exec ex{backend, arena, Key(1), DType::f32};
  const std::vector<float> values = random_values(n * width);
  const auto vectors = [&] { return arena.tensor(DType::f32, {n, width}); };
  const Tensor raw = vectors(), unit = vectors(), d_rows = vectors(), d_columns = vectors(), norms = arena.tensor(DType::f32, {n});
  backend.upload(view(std::span<const float>(values)).reshape(raw.shape()), raw);
  backend.l2_normalize_forward(raw, unit, norms);
  const Tensor share = zero_total(ex);
  std::vector<Tile> tiles;
  for (const int size : sizes) {
    const int64_t scores = int64_t{1} << size, rows = tile_rows(n, n, scores);
    if (!tiles.empty() && tiles.back().rows == rows) break;
    const auto scope = arena.scope();
    const ScoreBlock block{unit.rows(0, rows), unit, d_rows.rows(0, rows), d_columns};
    const Tensor tile = arena.tensor(DType::f32, {rows, n});
    const auto products = [&] {
      score(ex, block, 0, tile);
      score_backward(ex, block, 0, tile);
    };
    const auto no_mask = [](size_t, int64_t, Tensor) {};
    const auto whole = [&] {
      cross_entropy(ex, {&block, 1}, {.row_weight = 1 / static_cast<double>(n), .tile_elements = scores, .positive_stride = 1}, no_mask,
                    share);
    };
    backend.fill_zero(d_rows);
    backend.fill_zero(d_columns);
    const Timed calls[] = {{backend, products}, {backend, whole}};
    const std::vector<Spread> found = in_turns(calls, options.steps);
    tiles.push_back({rows, found[0], found[1]});
  }
  return tiles;
}

Json tile_rows_of(const std::vector<Tile>& tiles, const BenchOptions& options, const Ceiling& bf16, const Ceiling& f32) {
  Json rows = Json::array();
  for (const Tile& t : tiles) {
    const double flops = 6.0 * static_cast<double>(t.rows * options.pairs * bench_config(options).embedding());
    const double products = flops / t.products.median_s, whole = flops / t.whole.median_s;
    rows.push_back({{"rows", t.rows},
                    {"columns", options.pairs},
                    {"products_s", t.products.median_s},
                    {"whole_s", t.whole.median_s},
                    {"products_tflops", products / 1e12},
                    {"whole_tflops", whole / 1e12},
                    {"products_share_of_f32", f32.share(products)},
                    {"whole_share_of_f32", f32.share(whole)},
                    {"whole_share_of_bf16", bf16.share(whole)}});
  }
  return rows;
}

}  // namespace

Json bench_operations(const BenchOptions& options, int64_t tokens, World& world) {
  if (world.size() > 1)
    throw Error(ExitCode::usage, "usage", "bench --operations measures one device, for one rank", "start it without mpirun");
  const int threads = choose_threads(world, options.threads).threads;
  const std::unique_ptr<Backend> backend = make_backend({.kind = options.backend, .threads = threads});
  Ceiling bf16{.edge = options.ceiling_edge, .dtype = DType::bf16}, f32{.edge = options.ceiling_edge, .dtype = DType::f32};
  const auto products = [&](double Ceiling::*when) {
    for (Ceiling* c : {&bf16, &f32}) c->*when = LargeProduct(*backend, c->edge, c->dtype).flops_per_s();
  };
  products(&Ceiling::before);
  const Json attention = bench_attention(options, threads, tokens);
  const Json update = optimizer(*backend, options, options.precision == "bf16" ? DType::bf16 : DType::f32);
  const std::vector<Tile> tiles = loss_tiles(*backend, options);
  products(&Ceiling::after);
  return {{"backend", backend->description()},
          {"precision", options.precision},
          {"tokens", tokens},
          {"rounds", options.steps},
          {"ceilings", {bf16.report(), f32.report()}},
          {"attention", attention},
          {"attention_counted", "4 T D FLOPs a row and head forward, 2.5 times that backward"},
          {"optimizer", update},
          {"loss_tiles", tile_rows_of(tiles, options, bf16, f32)}};
}

}  // namespace lodestone
