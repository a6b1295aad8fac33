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
  ModelTexts texts = make_texts({3, 1, 5}, 13, Masks::on);
  DeviceTexts tokens = model.on_device(texts);  // of a backend on the host: views
  int64_t S = tokens.tokens(), H = 8;
  Buffer grads_buffer{model.backend->memory(), static_cast<size_t>(model.params.layout().count()) * 8};
  Tensor grads = grads_buffer.tensor(DType::f64, {model.params.layout().count()});
  Arena::Scope scope{model.arena};

  Exec& ex() { return model.ex; }
  const ParamLayout& layout() { return model.params.layout(); }

  Activation random_rows(int64_t columns, const char* name) {
    const Activation x = take_rows(ex(), DType::f64, S, columns, Padding::zero);
    fill(x.real(), name);
    return x;
  }
  std::vector<double> values(ConstTensor x) { return model.to_double(x); }
  void fill(Tensor x, const char* name) {
    std::vector<double> uniform(static_cast<size_t>(x.count()));
    fill_uniform(std::span(uniform), name, 1.0);
    from_double(*model.backend, model.arena, uniform, x);
  }
  double product(ConstTensor a, ConstTensor b) { return dot(values(a), values(b)); }
  double product(const Activation& a, const Activation& b) { return product(a.real(), b.real()); }
  /// gradient against central differences of `loss` in x, which is as it was afterwards.
  void expect_tensor(const char* name, Tensor x, ConstTensor gradient, const std::function<double()>& loss) {
    std::vector<double> varied = values(x);
    expect_gradient(name, varied, values(gradient), [&] {
      from_double(*model.backend, model.arena, varied, x);
      return loss();
    });
    from_double(*model.backend, model.arena, varied, x);
  }
  void expect_parameters(Slice slice, const std::function<double()>& loss) {
    expect_tensor("parameters", model.params.masters().slice(slice), grads.slice(slice), loss);
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
  expect_tensor("x", x.real(), dx.real(), loss);
  expect_parameters(w.slice, loss);
  expect_parameters(bias, loss);

  const Activation twice = copy_of(dx);
  linear.backward(ex(), model.params, x, weights, Linear::Into::add, twice, grads);
  const std::vector<double> both = values(twice.real()), one = values(dx.real());
  for (size_t i = 0; i < one.size(); ++i) EXPECT_NEAR(both[i], 2 * one[i], 1e-14);
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
  expect_tensor("residual", residual.real(), d_residual.real(), loss);
  expect_tensor("branch", branch.real(), d_branch.real(), loss);
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
  expect_tensor("x", x.real(), d.real(), loss);
  expect_parameters(block.slice(), loss);
}

TEST_F(LayerGradient, BlockGivesTheSameOutputWhenNothingIsKept) {
  const Block block = make_block(model.config.encoder, layout(), 0);
  const Activation x = random_rows(H, "x"), kept = random_rows(H, "a"), passing = random_rows(H, "b");
  block.forward(ex(), model.params, tokens, x, block.take(ex(), S, Keep::all), kept);
  block.forward(ex(), model.params, tokens, x, block.take(ex(), S, Keep::nothing), passing);
  EXPECT_EQ(values(kept.real()), values(passing.real()));
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
      fill(weights, "w");
      const Head::Saved saved = head.take(ex(), 3);
      const auto loss = [&] {
        head.forward(ex(), model.params, tokens, x, saved, emb);
        return product(emb, weights);
      };
      loss();
      ex().backend.fill_zero(grads);
      head.backward(ex(), model.params, tokens, saved, weights, dx, grads);
      expect_tensor("x", x.real(), dx.real(), loss);
      expect_parameters(head.slice(), loss);
    }
}

}  // namespace
}  // namespace lodestone::test
