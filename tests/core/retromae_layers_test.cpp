// B2 to B4 at the level of layers: the two-stream decoder, basic decoding and the tied head against central differences in f64 with
// dropout on, what a row may see, and what the switch of the query stream changes.
#include <gtest/gtest.h>

#include "core/nn/encoder.h"
#include "core/nn/layout.h"
#include "core/nn/mlm_decoder.h"
#include "tests/support/gradcheck.h"
#include "tests/support/tiny_model.h"

namespace lodestone::test {
namespace {

/// A decoder's surroundings: parameters, texts of ids below the vocabulary, masks that hide about half of the positions.
class RetroMaeLayers : public ::testing::Test {
 protected:
  EmbedderConfig config = tiny_embedder(Pooling::cls);
  std::unique_ptr<Backend> backend = any_backend("reference");
  Arena arena{backend->memory(), size_t{1} << 30};
  ParamStore params{backend->memory(), retromae_layout(config), DType::f64};
  Exec ex{*backend, arena, Key(5).with("train"), DType::f64};
  ModelTexts texts = make_texts({4, 1, 7, 2}, 13, Masks::on);
  int64_t S = texts.tokens().tokens(), B = 4, H = 8;
  std::vector<int32_t> text_of;
  std::vector<uint64_t> bits;
  std::vector<int64_t> first;
  std::vector<uint8_t> of_row;
  Buffer grads_buffer{backend->memory(), static_cast<size_t>(params.layout().count()) * 8};
  Tensor grads = grads_buffer.tensor(DType::f64, {params.layout().count()});
  Arena::Scope scope{arena};
  Tensor sentence = arena.tensor(DType::f64, {B, H});

  RetroMaeLayers() {
    edit_on_host(params, *backend, [](ParamStore& host) { randomize(host); });
    set_uniform(sentence, "sentence");
    const Key key = Key(8).with("masks");
    for (int64_t b = 0; b < B; ++b) {
      first.push_back(std::ssize(bits));
      for (int64_t m = 0; m < 3; ++m) bits.push_back(key.bits(bits.size()) & ~uint64_t{1});
      for (int64_t t = 0; t < texts.tokens().length(b); ++t) {
        text_of.push_back(static_cast<int32_t>(b));
        of_row.push_back(static_cast<uint8_t>(key.with("row").bits(of_row.size()) % 3));
      }
    }
  }
  std::vector<double> values(ConstTensor x) { return to_double(*backend, arena, x); }
  void set(Tensor x, std::span<const double> to) { from_double(*backend, arena, to, x); }
  void set_uniform(Tensor x, const char* name) {
    std::vector<double> drawn(static_cast<size_t>(x.count()));
    fill_uniform(std::span(drawn), name, 1.0);
    set(x, drawn);
  }
  Tensor table(const char* name) { return params.master(params.layout().find(name)); }
  /// Compares d with central differences of `loss` in the elements of x.
  void expect_gradient_in(const char* name, Tensor x, ConstTensor d, const std::function<double()>& loss) {
    std::vector<double> at = values(x);
    expect_gradient(name, at, values(d), [&] {
      set(x, at);
      return loss();
    });
    set(x, at);
  }
  /// `tokens` and the masks, as the backend reads them.
  DecoderTexts decoder_texts(const TokenBatch& tokens) {
    const DeviceTexts on_device = upload_texts(*backend, arena, tokens);
    return {on_device, on_device.with_ids(backend->upload(view(std::span(text_of)), arena), B), on_device.offsets.slice({0, B}),
            device_masks(tokens)};
  }
  DeviceMasks device_masks(const TokenBatch& tokens) { return upload_masks(*backend, arena, tokens, {bits, first, of_row}); }
  MlmDecoder decoder(Decoding decoding, QueryStream h1_mode) const {
    return MlmDecoder(config.encoder, params.layout(), decoding, h1_mode);
  }
  /// Rows of the decoder's output, in double.
  std::vector<double> decode(const MlmDecoder& d, const TokenBatch& tokens) {
    const auto inner = arena.scope();
    const Activation y = take_rows(ex, DType::f64, S, H, Padding::zero);
    d.forward(ex, params, decoder_texts(tokens), sentence, d.take(ex, S), y);
    return values(y.real());
  }
};

struct Form {
  Decoding decoding;
  QueryStream h1_mode;
};
const Form forms[] = {
    {Decoding::enhanced, QueryStream::embed_block}, {Decoding::enhanced, QueryStream::add}, {Decoding::basic, QueryStream::embed_block}};

TEST_F(RetroMaeLayers, B2_DecoderReachesTheSentenceAndAllParameters) {
  for (const Form& form : forms) {
    const MlmDecoder d = decoder(form.decoding, form.h1_mode);
    std::vector<double> weights(static_cast<size_t>(S * H));
    fill_uniform(std::span(weights), "weights", 1.0);
    const auto loss = [&] { return dot(decode(d, texts.tokens()), weights); };
    const auto inner = arena.scope();
    const MlmDecoder::Saved saved = d.take(ex, S);
    const Activation y = take_rows(ex, DType::f64, S, H, Padding::zero), dy = take_rows(ex, DType::f64, S, H, Padding::zero);
    d.forward(ex, params, decoder_texts(texts.tokens()), sentence, saved, y);
    set(dy.real(), weights);
    backend->fill_zero(grads);
    const Tensor d_sentence = arena.tensor(DType::f64, {B, H});
    d.backward(ex, params, decoder_texts(texts.tokens()), saved, dy, d_sentence, grads);
    expect_gradient_in("sentence", sentence, d_sentence, loss);
    const Slice embeddings = make_embedding(config.encoder, params.layout()).slice();
    for (const Slice slice : {d.slice(), embeddings})
      expect_gradient_in("parameters", params.masters().slice(slice), grads.slice(slice), loss);
  }
}

// The word at place i enters H2 at row i only, and no row sees its own position; rows that see i must change.
TEST_F(RetroMaeLayers, B2_ATokensOwnRowDoesNotSeeItWhileOthersDo) {
  const MlmDecoder d = decoder(Decoding::enhanced, QueryStream::embed_block);
  const std::vector<double> before = decode(d, texts.tokens());
  const KeyMasks masks{bits, first, of_row};
  for (int64_t b = 0; b < B; ++b) {
    const int64_t begin = texts.offsets[static_cast<size_t>(b)], length = texts.tokens().length(b);
    for (int64_t j = 1; j < length; ++j) {
      ModelTexts changed = texts;
      int32_t& id = changed.ids[static_cast<size_t>(begin + j)];
      id = (id + 1) % 13;
      const std::vector<double> after = decode(d, changed.tokens());
      for (int64_t s = 0; s < S; ++s) {
        const int64_t i = s - begin;
        const bool inside = i >= 0 && i < length;
        const bool sees = inside && i != j && (masks.row(b, begin, length, i)[0] >> j & 1) == 0;
        const bool equal = std::equal(before.begin() + s * H, before.begin() + (s + 1) * H, after.begin() + s * H);
        EXPECT_EQ(equal, !sees) << "text " << b << ", token " << j << ", row " << s;
      }
    }
  }
}

// [CLS]'s own word is replaced by the sentence vector in both streams.
TEST_F(RetroMaeLayers, B2_TheFirstTokensWordIsNotUsed) {
  for (const Form& form : forms) {
    const MlmDecoder d = decoder(form.decoding, form.h1_mode);
    ModelTexts changed = texts;
    for (int64_t b = 0; b < B; ++b) {
      int32_t& id = changed.ids[static_cast<size_t>(texts.offsets[static_cast<size_t>(b)])];
      id = (id + 1) % 13;
    }
    EXPECT_EQ(decode(d, texts.tokens()), decode(d, changed.tokens()));
  }
}

// model.attention_dropout and model.dropout set them apart.
TEST_F(RetroMaeLayers, BothKindsOfDropoutReachTheDecoderEachByItself) {
  const TokenBatch named = texts.tokens(), unnamed{texts.ids, texts.offsets, {}};
  EncoderConfig& encoder = config.encoder;
  for (const Form& form : forms) {
    const auto drops = [&](double hidden, double attention) {
      encoder.hidden_dropout = hidden;
      encoder.attention_dropout = attention;
      const MlmDecoder d = decoder(form.decoding, form.h1_mode);
      return decode(d, named) != decode(d, unnamed);
    };
    EXPECT_FALSE(drops(0, 0));
    EXPECT_TRUE(drops(0, 0.3));
    EXPECT_TRUE(drops(0.3, 0));
  }
}

// Without dropout the query stream is, by its definition, h + p_i, and layer_norm(h + p_i + t_0) in the embedding block's form.
TEST_F(RetroMaeLayers, B4_SwitchOfTheQueryStreamChangesTheOutputAsDerived) {
  const TokenBatch tokens{texts.ids, texts.offsets, {}};
  const DeviceTexts on_device = upload_texts(*backend, arena, tokens);
  const auto position = values(table("embeddings.position_embeddings.weight")),
             type = values(table("embeddings.token_type_embeddings.weight")), gamma = values(table("embeddings.LayerNorm.weight")),
             beta = values(table("embeddings.LayerNorm.bias")), word = values(table("embeddings.word_embeddings.weight")),
             sentences = values(sentence);
  const auto normed = [&](std::vector<double> x) {
    double mean = 0, variance = 0;
    for (const double v : x) mean += v / static_cast<double>(H);
    for (const double v : x) variance += (v - mean) * (v - mean) / static_cast<double>(H);
    for (size_t h = 0; h < x.size(); ++h) x[h] = (x[h] - mean) / std::sqrt(variance + 1e-12) * gamma[h] + beta[h];
    return x;
  };
  const TwoStreamAttention attention = make_two_stream_attention(config.encoder, params.layout(), retromae_decoder_prefix, 2);
  const Mlp mlp = make_mlp(config.encoder, params.layout(), retromae_decoder_prefix, 2);
  std::vector<std::vector<double>> outputs;
  for (const QueryStream mode : {QueryStream::embed_block, QueryStream::add}) {
    const auto inner = arena.scope();
    const Activation h1 = take_rows(ex, DType::f64, S, H, Padding::zero), h2 = take_rows(ex, DType::f64, S, H, Padding::zero);
    std::vector<double> queries, tokens_in;
    for (int64_t b = 0; b < B; ++b)
      for (int64_t t = 0; t < tokens.length(b); ++t) {
        const int64_t s = texts.offsets[static_cast<size_t>(b)] + t;
        std::vector<double> query(static_cast<size_t>(H)), token(static_cast<size_t>(H)), vector(static_cast<size_t>(H));
        for (int64_t h = 0; h < H; ++h) {
          const auto k = static_cast<size_t>(h);
          vector[k] = sentences[static_cast<size_t>(b * H + h)];
          query[k] = vector[k] + position[static_cast<size_t>(t * H + h)] + (mode == QueryStream::embed_block ? type[k] : 0);
          token[k] =
              word[static_cast<size_t>(texts.ids[static_cast<size_t>(s)] * H + h)] + position[static_cast<size_t>(t * H + h)] + type[k];
        }
        if (mode == QueryStream::embed_block) query = normed(query);
        queries.insert(queries.end(), query.begin(), query.end());
        token = t == 0 ? vector : normed(token);
        tokens_in.insert(tokens_in.end(), token.begin(), token.end());
      }
    set(h1.real(), queries);
    set(h2.real(), tokens_in);
    const Activation middle = take_rows(ex, DType::f64, S, H, Padding::zero), y = take_rows(ex, DType::f64, S, H, Padding::zero);
    const MlmDecoder d = decoder(Decoding::enhanced, mode);
    const MlmDecoder::Saved saved = d.take(ex, S);
    attention.forward(ex, params, on_device, device_masks(tokens), h1, h2, saved.attention, middle);
    mlp.forward(ex, params, on_device, middle, saved.mlp, y);
    const auto expected = values(y.real());
    outputs.push_back(decode(d, tokens));
    EXPECT_LT(relative_error(outputs.back(), expected), 1e-13);
  }
  EXPECT_GT(relative_error(outputs[0], outputs[1]), 1e-2);
}

TEST_F(RetroMaeLayers, B4_BasicDecodingSeesTheWholeInput) {
  const MlmDecoder d = decoder(Decoding::basic, QueryStream::embed_block);
  const std::vector<double> before = decode(d, texts.tokens());
  ModelTexts changed = texts;
  changed.ids[6] = (changed.ids[6] + 1) % 13;  // in the third text
  const std::vector<double> after = decode(d, changed.tokens());
  for (int64_t s = 5; s < 12; ++s)
    EXPECT_FALSE(std::equal(before.begin() + s * H, before.begin() + (s + 1) * H, after.begin() + s * H)) << s;
  EXPECT_TRUE(std::equal(before.begin(), before.begin() + 5 * H, after.begin()));
}

/// Cross-entropy written out: -sum_r log softmax(layer_norm(gelu(x_r W^T + b)) E^T + c)[label_r].
double naive_mlm(const ParamStore& params, std::span<const double> x, std::span<const int32_t> labels, size_t H, size_t V) {
  const auto of = [&](const char* name) { return params.master(params.layout().find(name)).host<double>(); };
  const auto W = of("cls.predictions.transform.dense.weight"), b = of("cls.predictions.transform.dense.bias");
  const auto gamma = of("cls.predictions.transform.LayerNorm.weight"), beta = of("cls.predictions.transform.LayerNorm.bias");
  const auto words = of("embeddings.word_embeddings.weight"), c = of("cls.predictions.bias");
  double loss = 0;
  for (size_t r = 0; r < labels.size(); ++r) {
    std::vector<double> t(H);
    double mean = 0, variance = 0, sum = 0;
    for (size_t i = 0; i < H; ++i) {
      double u = b[i];
      for (size_t h = 0; h < H; ++h) u += W[i * H + h] * x[r * H + h];
      t[i] = 0.5 * u * (1 + std::erf(u / std::sqrt(2.0)));
      mean += t[i] / static_cast<double>(H);
    }
    for (const double v : t) variance += (v - mean) * (v - mean) / static_cast<double>(H);
    std::vector<double> logits(V);
    for (size_t v = 0; v < V; ++v) {
      logits[v] = c[v];
      for (size_t i = 0; i < H; ++i) logits[v] += ((t[i] - mean) / std::sqrt(variance + 1e-12) * gamma[i] + beta[i]) * words[v * H + i];
      sum += std::exp(logits[v]);
    }
    loss += std::log(sum) - logits[static_cast<size_t>(labels[r])];
  }
  return loss;
}

TEST_F(RetroMaeLayers, B3_TiedHeadEqualsTheFormulaAndItsGradientInAnyTiling) {
  const std::vector<int32_t> ids = {3, 0, 12, 5, 5};
  const auto inner = arena.scope();
  const ConstTensor labels = backend->upload(view(std::span(ids)), arena);
  const Activation x = take_rows(ex, DType::f64, 5, H, Padding::zero), dx = take_rows(ex, DType::f64, 5, H, Padding::zero);
  set_uniform(x.real(), "x");
  double expected = 0;
  read_on_host(params, *backend, [&](const ParamStore& host) { expected = naive_mlm(host, values(x.real()), ids, 8, 13); });
  const Tensor total = arena.tensor(DType::f64, {1});
  for (const MlmTile tile :
       {MlmTile{}, MlmTile{.rows = 2, .elements = 8}, MlmTile{.rows = 3, .elements = 1}, MlmTile{.rows = 1, .elements = 13}}) {
    const MlmHead head = make_mlm_head(config.encoder, params.layout(), tile);
    const auto value = [&] {
      backend->fill_zero(total);
      head.value(ex, params, x, labels, total);
      return values(total)[0];
    };
    const auto loss = [&] { return 0.3 * value(); };
    EXPECT_NEAR(value(), expected, 1e-12 * expected);
    backend->fill_zero(grads);
    set(total, std::vector<double>{1});  // it is added
    head.gradient(ex, params, x, labels, 0.3, dx, grads, total);
    EXPECT_NEAR(values(total)[0] - 1, expected, 1e-12 * expected);
    expect_gradient_in("x", x.real(), dx.real(), loss);
    const Slice word = params.layout().find("embeddings.word_embeddings.weight").slice;
    for (const Slice slice : {head.slice(), word})
      expect_gradient_in("parameters", params.masters().slice(slice), grads.slice(slice), loss);
  }
}

TEST_F(RetroMaeLayers, B3_NoSecondWordTableIsStoredAndTheHeadsNamesAreHuggingFaces) {
  const ParamLayout& layout = params.layout();
  const int64_t V = config.encoder.vocab, F = config.encoder.feed_forward;
  const int64_t layer = 4 * (H * H + H) + 2 * H * F + F + H + 4 * H;
  EXPECT_EQ(layout.count(), embedder_layout(config).count() + layer + (H * H + H + 2 * H + V));
  for (const char* name :
       {"cls.predictions.transform.dense.weight", "cls.predictions.transform.dense.bias", "cls.predictions.transform.LayerNorm.weight",
        "cls.predictions.transform.LayerNorm.bias", "cls.predictions.bias"})
    EXPECT_TRUE(layout.contains(name)) << name;
  EXPECT_FALSE(layout.contains("cls.predictions.decoder.weight"));
  config.head = HeadConfig{5};
  EXPECT_THROW(retromae_layout(config), Error);
}

// The logits of 700 rows over 5,000 words would take 14 MB in f32; the head holds a tile.
TEST(MlmHead, MemoryBeyondTheRowsIsATile) {
  EmbedderConfig config = tiny_embedder(Pooling::cls);
  config.encoder.vocab = 5000;
  const auto backend = any_backend("cpu");
  Arena arena{backend->memory(), size_t{1} << 30};
  ParamStore params(backend->memory(), retromae_layout(config), DType::f32);
  edit_on_host(params, *backend, [](ParamStore& host) { randomize(host); });
  Exec ex{*backend, arena, Key(5), DType::f32};
  const int64_t R = 700, H = 8;
  const Buffer grads(backend->memory(), static_cast<size_t>(params.layout().count()) * 4);
  std::vector<double> drawn(static_cast<size_t>(R * H));
  fill_uniform(std::span(drawn), "x", 1.0);
  const std::vector<int32_t> words(static_cast<size_t>(R), 4321);
  const auto scope = arena.scope();
  const Activation x = take_rows(ex, DType::f32, R, H, Padding::zero), dx = take_rows(ex, DType::f32, R, H, Padding::zero);
  from_double(*backend, arena, drawn, x.real());
  const ConstTensor labels = backend->upload(view(std::span(words)), arena);
  const Tensor total = arena.tensor(DType::f64, {1});
  backend->fill_zero(total);
  const int64_t tile_bytes = 4 << 16;
  const MlmHead head = make_mlm_head(config.encoder, params.layout(), {.rows = 256, .elements = 1 << 16});
  arena.reset_peak();
  const size_t before = arena.used_bytes();
  head.gradient(ex, params, x, labels, 1, dx, grads.tensor(DType::f32, {params.layout().count()}), total);
  const int64_t rows_bytes = 6 * (R + 32) * H * 4 + 8 * R * 4;  // what is proportional to the rows alone
  EXPECT_LE(static_cast<int64_t>(arena.peak_bytes() - before), tile_bytes + rows_bytes);
}

}  // namespace
}  // namespace lodestone::test
