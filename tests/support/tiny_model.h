// A tiny embedder with random values everywhere, and ragged texts for it: what encoder tests start from.
#pragma once

#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include "core/nn/encoder.h"
#include "tests/support/any_backend.h"

namespace lodestone::test {

/// Small enough for a gradient check of every element; no two sizes are equal, so that a transposed shape fails.
inline EncoderConfig tiny_encoder() {
  EncoderConfig c;
  c.vocab = 13, c.hidden = 8, c.layers = 2, c.heads = 2, c.feed_forward = 12, c.positions = 9, c.types = 2;
  c.hidden_dropout = 0.2, c.attention_dropout = 0.25;
  return c;
}

inline EmbedderConfig tiny_embedder(Pooling pooling = Pooling::mean, std::optional<HeadConfig> head = {}) {
  EmbedderConfig c;
  c.encoder = tiny_encoder();
  c.pooling = pooling;
  c.head = head;
  return c;
}

/// Uniform values in [-size, size) named by `name`.
template <class T>
void fill_uniform(std::span<T> values, const char* name, double size) {
  const Key key = Key(7).with(name);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<T>(size * (2 * key.uniform(i) - 1));
}

/// Every parameter random, biases and LayerNorm too (those around 1), the same for every dtype up to rounding.
inline void randomize(ParamStore& params, double size = 0.5) {
  const auto fill = [&]<class T>(std::span<T> values, const Param& p) {
    fill_uniform(values, p.name.c_str(), size);
    if (p.name.ends_with("LayerNorm.weight"))
      for (T& v : values) v += T{1};
  };
  for (const Param& p : params.layout().params()) {  // on the host
    if (params.wide_dtype() == DType::f64)
      fill(params.master(p).host<double>(), p);
    else
      fill(params.master(p).host<float>(), p);
  }
}

enum class Masks : uint8_t { off, on };

/// Texts for a model, with their storage; text(b) says which of them a view holds.
struct ModelTexts {
  std::vector<int32_t> ids;
  std::vector<int64_t> offsets{0};
  std::vector<uint64_t> keys;
  std::vector<int64_t> second{};  // where token type 1 begins; empty: nowhere

  TokenBatch tokens() const { return {ids, offsets, keys, second}; }
  /// Texts [first, last) as a batch of their own.
  ModelTexts part(size_t first, size_t last) const {
    ModelTexts t;
    for (size_t b = first; b < last; ++b) {
      t.ids.insert(t.ids.end(), ids.begin() + offsets[b], ids.begin() + offsets[b + 1]);
      t.offsets.push_back(static_cast<int64_t>(t.ids.size()));
      if (!keys.empty()) t.keys.push_back(keys[b]);
      if (!second.empty()) t.second.push_back(second[b]);
    }
    return t;
  }
};

/// Texts of the given lengths with ids below `vocab`.
inline ModelTexts make_texts(std::initializer_list<int64_t> lengths, int64_t vocab, Masks masks) {
  ModelTexts t;
  for (const int64_t length : lengths) {
    for (int64_t i = 0; i < length; ++i) t.ids.push_back(static_cast<int32_t>(Key(3).bits(t.ids.size()) % static_cast<uint64_t>(vocab)));
    t.offsets.push_back(static_cast<int64_t>(t.ids.size()));
    if (masks == Masks::on) t.keys.push_back(text_key(t.offsets.size(), Role::text, 0, 0));
  }
  return t;
}

/// Everything an encoder call needs, with parameters filled by randomize().
struct Model {
  EmbedderConfig config;
  std::unique_ptr<Backend> backend;
  Arena arena{backend->memory(), size_t{4} << 30};
  ParamStore params;
  Encoder encoder;
  Exec ex;

  Model(EmbedderConfig c, DType compute, const std::string& kind, Checkpointing checkpointing = Checkpointing::none)
      : Model(c, compute, any_backend(kind), checkpointing) {}
  Model(EmbedderConfig c, DType compute, std::unique_ptr<Backend> on, Checkpointing checkpointing = Checkpointing::none)
      : config(c),
        backend(std::move(on)),
        params(backend->memory(), embedder_layout(c), compute),
        encoder(c, params, checkpointing),
        ex{*backend, arena, Key(5).with("train").with(uint64_t{0}), compute} {
    edit_on_host(params, *backend, [](ParamStore& host) { randomize(host); });
  }

  /// As the backend reads them, until the innermost scope of the arena ends.
  DeviceTexts on_device(const ModelTexts& texts) { return upload_texts(*backend, arena, texts.tokens()); }
  /// Embeddings [B*E] of texts, in double.
  std::vector<double> embed(const ModelTexts& texts) {
    const auto scope = arena.scope();
    const Tensor emb = arena.tensor(ex.wide(), {texts.tokens().texts(), config.embedding()});
    encoder.forward(ex, on_device(texts), emb);
    return to_double(emb);
  }
  /// Adds the gradient of <d_emb, embeddings> into grads (wide dtype, flat); returns the embeddings.
  std::vector<double> add_gradient(const ModelTexts& texts, std::span<const double> d_emb, Tensor grads,
                                   const std::function<void(Slice)>& ready = {}) {
    const auto scope = arena.scope();
    const Tensor emb = arena.tensor(ex.wide(), {texts.tokens().texts(), config.embedding()});
    const DeviceTexts tokens = on_device(texts);
    EncoderSaved* saved = encoder.forward_saved(ex, tokens, emb);
    const Tensor d = arena.tensor(ex.wide(), emb.shape());
    from_double(*backend, arena, d_emb, d);
    encoder.backward(ex, tokens, saved, d, grads, ready);
    return to_double(emb);
  }
  /// The whole gradient, in double.
  std::vector<double> gradient(const ModelTexts& texts, std::span<const double> d_emb) {
    const Buffer grads(backend->memory(), static_cast<size_t>(params.layout().count()) * size_of(ex.wide()));
    const Tensor flat = grads.tensor(ex.wide(), {params.layout().count()});
    add_gradient(texts, d_emb, flat);
    return to_double(flat);
  }
  std::vector<double> to_double(ConstTensor t) { return test::to_double(*backend, arena, t); }
};

inline double dot(std::span<const double> a, std::span<const double> b) {
  double s = 0;
  for (size_t i = 0; i < a.size(); ++i) s += a[i] * b[i];
  return s;
}

/// |a - b| / |b| in the Euclidean norm.
inline double relative_error(std::span<const double> a, std::span<const double> b) {
  double difference = 0;
  for (size_t i = 0; i < a.size(); ++i) difference += (a[i] - b[i]) * (a[i] - b[i]);
  return std::sqrt(difference / std::max(dot(b, b), 1e-300));
}

}  // namespace lodestone::test
