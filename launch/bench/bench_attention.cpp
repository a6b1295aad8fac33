#include "launch/bench/bench_attention.h"

#include "launch/bench/bench_timing.h"

namespace lodestone {

namespace {

using Json = nlohmann::ordered_json;

constexpr int64_t text_lengths[] = {16, 32, 64, 128, 256, 512}, head_sizes[] = {32, 64}, heads = 12;
constexpr double dropout = 0.1;

/// Who computes, with memory for operands. Not there: reason says why.
struct Engine {
  std::unique_ptr<Backend> backend;
  std::optional<Arena> arena;
  std::string reason;

  Engine(const BenchOptions& options, int threads, AttentionChoice choice, int64_t tokens) {
    try {
      backend = make_backend({.kind = options.backend, .threads = threads, .attention = choice});
      // At most 11 rows of 12 heads of 64 in f32, and what describes the texts.
      arena.emplace(backend->memory(), static_cast<size_t>(tokens) * 11 * 12 * 64 * sizeof(float) + (size_t{64} << 20));
    } catch (const Error& error) {
      reason = error.what();
    }
  }
};

/// Operands of one head size for as many tokens as there may be.
struct Operands {
  Tensor qkv, ctx, lse, d_ctx, d_qkv;

  Operands(Engine& engine, DType dtype, int64_t tokens, int64_t head_size) {
    Arena& arena = *engine.arena;
    Backend& backend = *engine.backend;
    const int64_t hidden = heads * head_size;
    qkv = arena.tensor(dtype, {tokens, 3 * hidden});
    ctx = arena.tensor(dtype, {tokens, hidden});
    lse = arena.tensor(DType::f32, {tokens, heads});
    d_ctx = arena.tensor(dtype, {tokens, hidden});
    d_qkv = arena.tensor(dtype, {tokens, 3 * hidden});
    const auto scope = arena.scope();
    const std::vector<float> values = random_values(qkv.count());
    const Tensor wide = arena.tensor(DType::f32, qkv.shape());
    backend.upload(view(std::span<const float>(values)).reshape(qkv.shape()), wide);
    backend.cast(wide, qkv);
    backend.cast(wide.reshape({3 * tokens, hidden}).rows(0, tokens), d_ctx);
    backend.synchronize();
  }
  Operands rows(int64_t n) const {
    Operands some = *this;
    for (Tensor* t : {&some.qkv, &some.ctx, &some.lse, &some.d_ctx, &some.d_qkv}) *t = t->rows(0, n);
    return some;
  }
};

/// Texts of equal length.
struct EqualTexts {
  std::vector<int32_t> ids;
  std::vector<int64_t> offsets{0};
  std::vector<uint64_t> keys;

  EqualTexts(int64_t texts, int64_t length) : ids(static_cast<size_t>(texts * length), 1000) {
    for (int64_t b = 0; b < texts; ++b) {
      offsets.push_back((b + 1) * length);
      keys.push_back(text_key(static_cast<uint64_t>(b), Role::query, 0, static_cast<uint64_t>(b)));
    }
  }
  TokenBatch tokens() const { return {ids, offsets, keys}; }
};

/// One way to compute a shape: its two calls.
struct Way {
  const char* name;
  Engine& engine;
  DeviceTexts texts;
  Operands x;
  Dropout drop;

  void forward() const { engine.backend->attention_forward(texts, x.qkv, heads, drop, x.ctx, x.lse); }
  void backward() const { engine.backend->attention_backward(texts, x.qkv, x.ctx, x.lse, x.d_ctx, heads, drop, x.d_qkv); }
  /// Why cuDNN does not compute one of the two: its description counts what it has computed.
  std::string refusal() const {
    try {
      const std::string none = engine.backend->description();
      forward();
      const std::string one = engine.backend->description();
      backward();
      engine.backend->synchronize();
      if (one == none) return "cuDNN leaves forward to own kernels, see stderr";
      if (engine.backend->description() == one) return "cuDNN leaves backward to own kernels, see stderr";
    } catch (const Error& error) {
      return error.what();
    }
    return {};
  }
};

Json timed(const Spread& forward, const Spread& backward, double forward_flops) {
  return {{"forward_s", forward.median_s},
          {"forward_s_min", forward.fastest_s},
          {"forward_s_max", forward.slowest_s},
          {"backward_s", backward.median_s},
          {"backward_s_min", backward.fastest_s},
          {"backward_s_max", backward.slowest_s},
          {"forward_tflops", forward_flops / forward.median_s / 1e12},
          {"backward_tflops", 2.5 * forward_flops / backward.median_s / 1e12},
          {"tflops", 3.5 * forward_flops / (forward.median_s + backward.median_s) / 1e12}};
}

class AttentionBench {
 public:
  AttentionBench(const BenchOptions& options, int threads, int64_t tokens)
      : tokens_(tokens),
        rounds_(options.steps),
        dtype_(options.precision == "bf16" ? DType::bf16 : DType::f32),
        own_(options, threads, AttentionChoice::own, tokens),
        cudnn_(options, threads, AttentionChoice::cudnn, tokens) {
    if (!own_.reason.empty()) throw Error(ExitCode::usage, "usage", own_.reason, "choose another --device");
    if (cudnn_.reason.empty() && own_.backend->device() != Device::cuda) cudnn_.reason = "cuDNN computes on GPUs";
    if (cudnn_.reason.empty() && dtype_ != DType::bf16) cudnn_.reason = "cuDNN computes in bf16 here";
  }

  Json rows() {
    Json rows = Json::array();
    for (const int64_t size : head_sizes) {
      const std::array<Scope, 2> scopes{open(own_), open(cudnn_)};
      const Operands own(own_, dtype_, tokens_, size);
      const std::optional<Operands> cudnn =
          cudnn_.reason.empty() ? std::optional<Operands>(std::in_place, cudnn_, dtype_, tokens_, size) : std::nullopt;
      for (const int64_t length : text_lengths)
        if (length <= tokens_) rows.push_back(row(size, length, own, cudnn));
    }
    return rows;
  }

 private:
  using Scope = std::unique_ptr<Arena::Scope>;

  static Scope open(Engine& engine) { return engine.arena ? std::make_unique<Arena::Scope>(*engine.arena) : nullptr; }

  Json row(int64_t size, int64_t length, const Operands& own, const std::optional<Operands>& cudnn) {
    const int64_t texts = tokens_ / length, n = texts * length;
    const EqualTexts equal(texts, length);
    const std::array<Scope, 2> scopes{open(own_), open(cudnn_)};
    const auto way = [&](const char* name, Engine& engine, const Operands& x, double p) {
      return Way{name, engine, upload_texts(*engine.backend, *engine.arena, equal.tokens()), x.rows(n), {p, Key(1).with("bench dropout")}};
    };
    std::vector<Way> ways{way("own", own_, own, 0), way("own_dropout", own_, own, dropout)};
    std::string reason = cudnn_.reason;
    if (cudnn) {
      ways.push_back(way("cudnn", cudnn_, *cudnn, 0));
      reason = ways.back().refusal();
      if (!reason.empty()) ways.pop_back();
    }
    std::vector<Timed> calls;
    for (const Way& w : ways) {
      calls.push_back({*w.engine.backend, [&w] { w.forward(); }});
      calls.push_back({*w.engine.backend, [&w] { w.backward(); }});
    }
    const std::vector<Spread> spreads = in_turns(calls, rounds_);
    const double flops = 4.0 * static_cast<double>(length * size * heads * n);
    Json found{{"tokens_per_text", length}, {"texts", texts}, {"heads", heads}, {"head_size", size}};
    for (size_t i = 0; i < ways.size(); ++i) found[ways[i].name] = timed(spreads[2 * i], spreads[2 * i + 1], flops);
    if (!reason.empty()) {
      found["cudnn"] = not_measured(reason);
      return found;
    }
    const auto whole_s = [&](size_t i) { return spreads[2 * i].median_s + spreads[2 * i + 1].median_s; };
    found["own_speed_over_cudnn"] = whole_s(2) / whole_s(0);
    return found;
  }

  int64_t tokens_, rounds_;
  DType dtype_;
  Engine own_, cudnn_;
};

}  // namespace

Json bench_attention(const BenchOptions& options, int threads, int64_t tokens) { return AttentionBench(options, threads, tokens).rows(); }

}  // namespace lodestone
