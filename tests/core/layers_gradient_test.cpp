// Every layer's backward against central differences in f64, with dropout on (masks are fixed functions of their names).
#include <gtest/gtest.h>

#include "core/choice.h"
#include "core/nn/config.h"
#include "core/nn/layout.h"
#include "tests/support/gradcheck.h"
#include "tests/support/tiny_model.h"

namespace lodestone::test {
namespace {

/// A layer under test: inputs x [S,H] and the model's parameters are varied; the loss is <weights, y>.
class LayerGradient : public ::testing::Test {
 protected:
  Model model{tiny_embedder(Pooling::mean, HeadConfig{5, true, Squash::tanh}), DType::f64, "reference"};
  Texts texts = make_texts({3, 1, 5}, 13, Masks::on);
  TokenBatch tokens = texts.tokens();
  int64_t S = tokens.tokens(), H = 8;
  Buffer grads_buffer{model.backend->memory(), static_cast<size_t>(model.params.layout().count()) * 8};
  Tensor grads = grads_buffer.tensor(DType::f64, {model.params.layout().count()});
  Arena::Scope scope{model.arena};

  Exec& ex() { return model.ex; }
  const ParamLayout& layout() { return model.params.layout(); }

  Activation random_rows(int64_t columns, const char* name) {
    const Activation x = take_rows(ex(), DType::f64, S, columns, Padding::zero);
    fill_uniform(x.real().host<double>(), name, 1.0);
    return x;
  }
  static double product(const Activation& a, const Activation& b) { return dot(a.real().host<double>(), b.real().host<double>()); }
  void expect_parameters(Slice slice, const std::function<double()>& loss) {
    expect_gradient("parameters", model.params.masters().slice(slice).host<double>(), grads.slice(slice).host<double>(), loss);
  }
  /// Copies dy, which backward overwrites.
  Activation copy_of(const Activation& x) {
    const Activation y = take_rows(ex(), DType::f64, x.rows, x.padded.dim(1), Padding::zero);
    ex().backend.copy(x.real(), y.real());
    return y;
  }
};

TEST_F(LayerGradient, LinearSetsOrAddsItsInputGradient) {
  const Param& w = layout().find("encoder.layer.1.intermediate.dense.weight");
  const Slice bias = layout().find("encoder.layer.1.intermediate.dense.bias").slice;
  const Linear linear(H, 12, w.slice, bias);
  const Activation x = random_rows(H, "x"), weights = random_rows(12, "w"), y = random_rows(12, "y"), dx = random_rows(H, "dx");
  const auto loss = [&] {
    linear.forward(ex(), model.params, x, y);
    return product(y, weights);
  };
  linear.backward(ex(), model.params, x, weights, Linear::Into::set, dx, grads);
  expect_gradient("x", x.real().host<double>(), dx.real().host<double>(), loss);
  expect_parameters(w.slice, loss);
  expect_parameters(bias, loss);

  const Activation twice = copy_of(dx);
  linear.backward(ex(), model.params, x, weights, Linear::Into::add, twice, grads);
  for (size_t i = 0; i < static_cast<size_t>(S * H); ++i)
    EXPECT_NEAR(twice.real().host<double>()[i], 2 * dx.real().host<double>()[i], 1e-14);
}

TEST_F(LayerGradient, ResidualNormReachesBothInputs) {
  const Slice gamma = layout().find("encoder.layer.0.output.LayerNorm.weight").slice;
  const Slice beta = layout().find("encoder.layer.0.output.LayerNorm.bias").slice;
  const ResidualNorm norm({gamma, beta, 1e-12}, 0.3, 0, Place::feed_forward_output);
  const Activation residual = random_rows(H, "residual"), branch = random_rows(H, "branch"), weights = random_rows(H, "w");
  const Activation y = random_rows(H, "y"), d_branch = random_rows(H, "d");
  const ResidualNorm::Saved saved = ResidualNorm::take(ex(), random_rows(H, "sum"));
  const auto loss = [&] {
    ex().backend.copy(branch.real(), saved.sum.real());
    norm.forward(ex(), model.params, tokens, residual, saved, y);
    return product(y, weights);
  };
  loss();
  const Activation d_residual = copy_of(weights);
  norm.backward(ex(), model.params, tokens, saved, d_residual, d_branch, grads);
  expect_gradient("residual", residual.real().host<double>(), d_residual.real().host<double>(), loss);
  expect_gradient("branch", branch.real().host<double>(), d_branch.real().host<double>(), loss);
  expect_parameters(gamma, loss);
  expect_parameters(beta, loss);
}

TEST_F(LayerGradient, BlockReachesItsInputAndAllItsParameters) {
  const Block block = make_block(model.config.encoder, layout(), 1);
  const Activation x = random_rows(H, "x"), weights = random_rows(H, "w"), y = random_rows(H, "y");
  const BlockSaved saved = block.take(ex(), S, Keep::all);
  const auto loss = [&] {
    block.forward(ex(), model.params, tokens, x, saved, y);
    return product(y, weights);
  };
  loss();
  const Activation d = copy_of(weights);
  block.backward(ex(), model.params, tokens, x, saved, d, grads);
  expect_gradient("x", x.real().host<double>(), d.real().host<double>(), loss);
  expect_parameters(block.slice(), loss);
}

TEST_F(LayerGradient, BlockGivesTheSameOutputWhenNothingIsKept) {
  const Block block = make_block(model.config.encoder, layout(), 0);
  const Activation x = random_rows(H, "x"), kept = random_rows(H, "a"), passing = random_rows(H, "b");
  block.forward(ex(), model.params, tokens, x, block.take(ex(), S, Keep::all), kept);
  block.forward(ex(), model.params, tokens, x, block.take(ex(), S, Keep::nothing), passing);
  for (size_t i = 0; i < static_cast<size_t>(S * H); ++i) EXPECT_EQ(kept.real().host<double>()[i], passing.real().host<double>()[i]);
}

TEST_F(LayerGradient, EmbeddingReachesTablesAndNorm) {
  const Embedding embedding = make_embedding(model.config.encoder, layout());
  const Activation weights = random_rows(H, "w"), y = random_rows(H, "y");
  const Embedding::Saved saved = embedding.take(ex(), S);
  const auto loss = [&] {
    embedding.forward(ex(), model.params, tokens, saved, y);
    return product(y, weights);
  };
  loss();
  embedding.backward(ex(), model.params, tokens, saved, copy_of(weights), grads);
  expect_parameters(embedding.slice(), loss);
}

TEST_F(LayerGradient, HeadReachesTokensAndItsParametersForEveryPoolingAndActivation) {
  for (const Pooling pooling : values_of<Pooling>())
    for (const Squash squash : values_of<Squash>()) {
      EmbedderConfig config = model.config;
      config.pooling = pooling;
      config.head = HeadConfig{5, true, squash};
      const Head head = make_head(config, layout());
      const Activation x = random_rows(H, "x"), dx = random_rows(H, "dx");
      const Tensor weights = ex().arena.tensor(DType::f64, {3, 5}), emb = ex().arena.tensor(DType::f64, {3, 5});
      fill_uniform(weights.host<double>(), "w", 1.0);
      const Head::Saved saved = head.take(ex(), 3);
      const auto loss = [&] {
        head.forward(ex(), model.params, tokens, x, saved, emb);
        return dot(emb.host<double>(), weights.host<double>());
      };
      loss();
      ex().backend.fill_zero(grads);
      head.backward(ex(), model.params, tokens, saved, weights, dx, grads);
      expect_gradient("x", x.real().host<double>(), dx.real().host<double>(), loss);
      expect_parameters(head.slice(), loss);
    }
}

}  // namespace
}  // namespace lodestone::test
