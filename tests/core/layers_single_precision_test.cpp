// Does the backward of every layer in f32 find the gradients that the reference finds in f64, and are they the derivative of what the
// layer's own forward computes in f32? Dropout is on: masks are functions of their names on every backend.
#include <gtest/gtest.h>

#include "core/choice.h"
#include "core/nn/encoder.h"
#include "core/nn/layout.h"
#include "core/nn/mlm_decoder.h"
#include "core/nn/reranker.h"
#include "tests/core/op_fixture.h"
#include "tests/support/rounding.h"
#include "tests/support/tiny_model.h"

namespace lodestone::test {
namespace {

constexpr int64_t H = 8, vocab = 13;

/// A backend with parameters and texts of its own.
struct Side {
  Side(std::unique_ptr<Backend> on, DType compute, const ParamLayout& layout)
      : backend(std::move(on)),
        params(backend->memory(), layout, compute),
        ex{*backend, arena, Key(5).with("train"), compute},
        grads_memory(backend->memory(), static_cast<size_t>(layout.count()) * size_of(ex.wide())),
        grads(grads_memory.tensor(ex.wide(), {layout.count()})),
        tokens(upload_texts(*backend, arena, texts.tokens())) {
    edit_on_host(params, *backend, [](ParamStore& host) { randomize(host); });
  }
  int64_t rows() const { return texts.tokens().tokens(); }
  int64_t count() const { return texts.tokens().texts(); }
  Activation take(int64_t columns) { return take_rows(ex, ex.compute, rows(), columns, Padding::zero); }
  void fill(Tensor x, const char* name) {
    std::vector<double> drawn(static_cast<size_t>(x.count()));
    fill_uniform(std::span(drawn), name, 1.0);
    from_double(*backend, arena, drawn, x);
  }
  Activation filled(int64_t columns, const char* name) {
    const Activation x = take(columns);
    fill(x.real(), name);
    return x;
  }

  ModelTexts texts = make_texts({3, 1, 5}, vocab, Masks::on);
  RandomMasks masks{texts.tokens(), 3};  // of RetroMAE's decoder
  std::unique_ptr<Backend> backend;
  Arena arena{backend->memory(), size_t{1} << 28};
  ParamStore params;
  Exec ex;
  Buffer grads_memory;
  Tensor grads;
  DeviceTexts tokens;
};

/// A layer on one side. `inputs` is all that it reads, rows and parameters; `gradients`, of the same sizes, is what backward finds for
/// them.
struct Layer {
  std::vector<Tensor> inputs, gradients;
  Tensor y;
  std::function<void()> forward;           // sets y
  std::function<void(Tensor d)> backward;  // after forward; d [as y] may be overwritten
  void parameters(const Side& side, Slice slice) {
    inputs.push_back(side.params.masters().slice(slice));
    gradients.push_back(side.grads.slice(slice));
  }
};
using Make = std::function<Layer(Side&)>;

std::vector<double> joined(Side& side, const std::vector<Tensor>& parts) {
  std::vector<double> all;
  for (const Tensor& part : parts) {
    const std::vector<double> values = to_double(*side.backend, side.arena, part);
    all.insert(all.end(), values.begin(), values.end());
  }
  return all;
}

std::vector<double> output_at(Side& side, const Layer& layer, std::span<const double> at) {
  for (const Tensor& input : layer.inputs) {
    from_double(*side.backend, side.arena, at.first(static_cast<size_t>(input.count())), input);
    at = at.subspan(static_cast<size_t>(input.count()));
  }
  side.params.refresh(*side.backend);
  layer.forward();
  return to_double(*side.backend, side.arena, layer.y);
}

/// The gradient of <d, y> there.
std::vector<double> gradient_at(Side& side, const Layer& layer, std::span<const double> at, std::span<const double> d) {
  output_at(side, layer, at);
  side.backend->fill_zero(side.grads);
  layer.backward(tensor_of(*side.backend, side.arena, d, layer.y.shape(), layer.y.dtype()));
  return joined(side, layer.gradients);
}

/// Values that f32 holds exactly.
std::vector<double> rounded(std::vector<double> x) {
  for (double& v : x) v = static_cast<double>(static_cast<float>(v));
  return x;
}

std::vector<double> moved(std::span<const double> x, double by, std::span<const double> direction) {
  std::vector<double> there(x.begin(), x.end());
  for (size_t i = 0; i < there.size(); ++i) there[i] += by * direction[i];
  return there;
}

void expect_single_precision(const std::string& what, const ParamLayout& layout, const Make& make) {
  Side exact(make_backend({.kind = BackendKind::reference}), DType::f64, layout), single(any_backend("cpu"), DType::f32, layout);
  const Layer e = make(exact), s = make(single);
  const std::vector<double> at = rounded(joined(exact, e.inputs)), d = rounded(random_values(e.y.count(), 3));
  const std::vector<double> y = output_at(exact, e, at), g = gradient_at(exact, e, at, d);

  constexpr int64_t terms = 13;  // of the longest sum: over the vocabulary
  const std::vector<double> there = beside(at), single_g = gradient_at(single, s, at, d);
  const double of_y = rounding_of(y, output_at(exact, e, there), terms), of_g = rounding_of(g, gradient_at(exact, e, there, d), terms);
  EXPECT_LT(distance_between(output_at(single, s, at), y), of_y) << what << ": output";
  EXPECT_LT(distance_between(single_g, g), of_g) << what << ": gradient";

  // Along a direction, by a difference of fourth order. Its weights (8, 8, 1 and 1 over 12 h) bring 1.5 / h of the error of <d, y>; that h
  // is small enough for the truncation shows on the side that does not round.
  constexpr double h = 0x1p-7;
  const std::vector<double> direction = random_values(std::ssize(at), 5);
  const auto along = [&](Side& side, const Layer& layer) {
    const auto value = [&](double by) { return dot(output_at(side, layer, moved(at, by, direction)), d); };
    return (8 * (value(h) - value(-h)) - (value(2 * h) - value(-2 * h))) / (12 * h);
  };
  const double allowed = 1.5 / h * of_y * norm(d) + of_g * norm(direction);
  EXPECT_NEAR(dot(g, direction), along(exact, e), allowed) << what << ": truncation";
  EXPECT_NEAR(dot(single_g, direction), along(single, s), allowed) << what << ": derivative of the own forward";
  EXPECT_LT(allowed, 5e-3 * norm(g)) << what << ": a gradient that is wrong by a hundredth would pass";
}

const EmbedderConfig config = tiny_embedder(Pooling::mean, HeadConfig{5, true, Squash::tanh}), headless = tiny_embedder(Pooling::cls);

TEST(SinglePrecision, Linear) {
  const ParamLayout layout = embedder_layout(config);
  expect_single_precision("linear", layout, [&](Side& side) {
    const Slice weight = layout.find("encoder.layer.1.intermediate.dense.weight").slice,
                bias = layout.find("encoder.layer.1.intermediate.dense.bias").slice;
    const Linear linear(H, 12, weight, bias);
    const Activation x = side.filled(H, "x"), dx = side.take(H), y = side.take(12), dy = side.take(12);
    Layer layer{.inputs = {x.real()},
                .gradients = {dx.real()},
                .y = y.real(),
                .forward = [&side, linear, x, y] { linear.forward(side.ex, side.params, x, y); },
                .backward =
                    [&side, linear, x, dx, dy](Tensor d) {
                      side.backend->copy(d, dy.real());
                      linear.backward(side.ex, side.params, x, dy, Linear::Into::set, dx, side.grads);
                    }};
    layer.parameters(side, weight);
    layer.parameters(side, bias);
    return layer;
  });
}

TEST(SinglePrecision, ResidualNorm) {
  const ParamLayout layout = embedder_layout(config);
  expect_single_precision("residual norm", layout, [&](Side& side) {
    const Slice gamma = layout.find("encoder.layer.0.output.LayerNorm.weight").slice,
                beta = layout.find("encoder.layer.0.output.LayerNorm.bias").slice;
    const ResidualNorm residual_norm({gamma, beta, 1e-12}, 0.3, 0, Place::feed_forward_output);
    const Activation residual = side.filled(H, "residual"), branch = side.filled(H, "branch"), y = side.take(H), d_residual = side.take(H),
                     d_branch = side.take(H);
    const ResidualNorm::Saved saved = ResidualNorm::take(side.ex, side.take(H));
    Layer layer{.inputs = {residual.real(), branch.real()},
                .gradients = {d_residual.real(), d_branch.real()},
                .y = y.real(),
                .forward =
                    [&side, residual_norm, residual, branch, saved, y] {
                      side.backend->copy(branch.real(), saved.sum.real());
                      residual_norm.forward(side.ex, side.params, side.tokens, residual, saved, y);
                    },
                .backward =
                    [&side, residual_norm, saved, d_residual, d_branch](Tensor d) {
                      side.backend->copy(d, d_residual.real());
                      residual_norm.backward(side.ex, side.params, side.tokens, saved, d_residual, d_branch, side.grads);
                    }};
    layer.parameters(side, gamma);
    layer.parameters(side, beta);
    return layer;
  });
}

TEST(SinglePrecision, Block) {
  const ParamLayout layout = embedder_layout(config);
  expect_single_precision("block", layout, [&](Side& side) {
    const Block block = make_block(config.encoder, layout, 1);
    const Activation x = side.filled(H, "x"), y = side.take(H), dx = side.take(H);
    const BlockSaved saved = block.take(side.ex, side.rows(), Keep::all);
    Layer layer{.inputs = {x.real()},
                .gradients = {dx.real()},
                .y = y.real(),
                .forward = [&side, block, x, saved, y] { block.forward(side.ex, side.params, side.tokens, x, saved, y); },
                .backward =
                    [&side, block, x, saved, dx](Tensor d) {
                      side.backend->copy(d, dx.real());
                      block.backward(side.ex, side.params, side.tokens, x, saved, dx, side.grads);
                    }};
    layer.parameters(side, block.slice());
    return layer;
  });
}

TEST(SinglePrecision, Embedding) {
  const ParamLayout layout = embedder_layout(config);
  expect_single_precision("embedding", layout, [&](Side& side) {
    const Embedding embedding = make_embedding(config.encoder, layout);
    const Activation y = side.take(H), dy = side.take(H);
    const Embedding::Saved saved = embedding.take(side.ex, side.rows());
    Layer layer{.inputs = {},
                .gradients = {},
                .y = y.real(),
                .forward = [&side, embedding, saved, y] { embedding.forward(side.ex, side.params, side.tokens, saved, y); },
                .backward =
                    [&side, embedding, saved, dy](Tensor d) {
                      side.backend->copy(d, dy.real());
                      embedding.backward(side.ex, side.params, side.tokens, saved, dy, side.grads);
                    }};
    layer.parameters(side, embedding.slice());
    return layer;
  });
}

TEST(SinglePrecision, HeadOfEveryPoolingAndActivation) {
  const ParamLayout layout = embedder_layout(config);
  for (const Pooling pooling : values_of<Pooling>())
    for (const Squash squash : values_of<Squash>())
      expect_single_precision(cat("head, ", name_of(pooling), ", ", name_of(squash)), layout, [&](Side& side) {
        EmbedderConfig other = config;
        other.pooling = pooling;
        other.head = HeadConfig{5, true, squash};
        const Head head = make_head(other, layout);
        const Activation x = side.filled(H, "x"), dx = side.take(H);
        const Tensor y = side.arena.tensor(side.ex.wide(), {side.count(), 5});
        const Head::Saved saved = head.take(side.ex, side.count());
        Layer layer{
            .inputs = {x.real()},
            .gradients = {dx.real()},
            .y = y,
            .forward = [&side, head, x, saved, y] { head.forward(side.ex, side.params, side.tokens, x, saved, y); },
            .backward = [&side, head, saved, dx](Tensor d) { head.backward(side.ex, side.params, side.tokens, saved, d, dx, side.grads); }};
        layer.parameters(side, head.slice());
        return layer;
      });
}

TEST(SinglePrecision, ScoreHead) {
  const RerankerConfig reranker{.encoder = config.encoder, .classifier_dropout = 0.3};
  const ParamLayout layout = reranker_layout(reranker);
  expect_single_precision("score head", layout, [&](Side& side) {
    const ScoreHead head = make_score_head(reranker, layout);
    const ScoreHead::Saved saved = head.take(side.ex, side.count());
    const Activation x = take_rows(side.ex, side.ex.wide(), side.count(), H, Padding::zero),
                     dx = take_rows(side.ex, side.ex.wide(), side.count(), H, Padding::zero);
    side.fill(x.real(), "x");
    const Tensor y = side.arena.tensor(side.ex.wide(), {side.count()});
    Layer layer{
        .inputs = {x.real()},
        .gradients = {dx.real()},
        .y = y,
        .forward =
            [&side, head, x, saved, y] {
              side.backend->copy(x.real(), saved.x.real());  // which drops elements in place
              head.forward(side.ex, side.params, side.tokens, saved, y);
            },
        .backward = [&side, head, saved, dx](Tensor d) { head.backward(side.ex, side.params, side.tokens, saved, d, dx, side.grads); }};
    layer.parameters(side, head.slice());
    return layer;
  });
}

/// What RetroMAE's decoder reads of a side's texts.
DecoderTexts decoder_texts(Side& side) {
  std::vector<int32_t> text_of;
  for (int64_t b = 0; b < side.count(); ++b)
    text_of.insert(text_of.end(), static_cast<size_t>(side.texts.tokens().length(b)), static_cast<int32_t>(b));
  const Tensor ids = side.arena.tensor(DType::i32, {side.rows()});
  side.backend->upload(view(std::span(std::as_const(text_of))), ids);
  const DeviceMasks on_device = upload_masks(*side.backend, side.arena, side.texts.tokens(), side.masks.view());
  side.backend->synchronize();
  return {side.tokens, side.tokens.with_ids(ids, side.count()), side.tokens.offsets.slice({0, side.count()}), on_device};
}

TEST(SinglePrecision, RetroMaeDecoderOfEveryForm) {
  const ParamLayout layout = retromae_layout(headless);
  for (const Decoding decoding : {Decoding::enhanced, Decoding::basic})
    for (const QueryStream stream : {QueryStream::embed_block, QueryStream::add}) {
      if (decoding == Decoding::basic && stream == QueryStream::add) continue;  // it has no query stream
      expect_single_precision(cat("decoder ", static_cast<int>(decoding), static_cast<int>(stream)), layout, [&](Side& side) {
        const MlmDecoder decoder(headless.encoder, layout, decoding, stream);
        const DecoderTexts texts = decoder_texts(side);
        const MlmDecoder::Saved saved = decoder.take(side.ex, side.rows());
        const Tensor sentence = side.arena.tensor(side.ex.wide(), {side.count(), H}),
                     d_sentence = side.arena.tensor(side.ex.wide(), {side.count(), H});
        side.fill(sentence, "sentence");
        const Activation y = side.take(H), dy = side.take(H);
        Layer layer{
            .inputs = {sentence},
            .gradients = {d_sentence},
            .y = y.real(),
            .forward = [&side, decoder, texts, sentence, saved, y] { decoder.forward(side.ex, side.params, texts, sentence, saved, y); },
            .backward =
                [&side, decoder, texts, saved, dy, d_sentence](Tensor d) {
                  side.backend->copy(d, dy.real());
                  decoder.backward(side.ex, side.params, texts, saved, dy, d_sentence, side.grads);
                }};
        layer.parameters(side, decoder.slice());
        layer.parameters(side, make_embedding(headless.encoder, layout).slice());
        return layer;
      });
    }
}

TEST(SinglePrecision, HeadOfMaskedWords) {
  const ParamLayout layout = retromae_layout(headless);
  expect_single_precision("masked words", layout, [&](Side& side) {
    const MlmHead head = make_mlm_head(headless.encoder, layout, {.rows = 4, .elements = 8});
    const Activation x = side.filled(H, "x"), dx = side.take(H);
    const Tensor total = side.arena.tensor(DType::f64, {1}), again = side.arena.tensor(DType::f64, {1});
    const ConstTensor labels = side.tokens.ids;
    Layer layer{.inputs = {x.real()},
                .gradients = {dx.real()},
                .y = total,
                .forward =
                    [&side, head, x, labels, total] {
                      side.backend->fill_zero(total);
                      head.value(side.ex, side.params, x, labels, total);
                    },
                .backward =
                    [&side, head, x, labels, dx, again](Tensor d) {
                      side.backend->fill_zero(again);
                      head.gradient(side.ex, side.params, x, labels, to_double(*side.backend, side.arena, d)[0], dx, side.grads, again);
                    }};
    layer.parameters(side, head.slice());
    layer.parameters(side, layout.find("embeddings.word_embeddings.weight").slice);
    return layer;
  });
}

}  // namespace
}  // namespace lodestone::test
