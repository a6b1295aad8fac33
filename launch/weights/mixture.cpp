#include "launch/weights/mixture.h"

#include <algorithm>
#include <sstream>

#include "data/models/model_facts.h"
#include "data/text/tokenizer.h"

namespace lodestone {

namespace fs = std::filesystem;

namespace {

constexpr int64_t piece_values = int64_t{1} << 24;  // read at once, unless one tensor has more
constexpr const char* one_family = "merge models of one architecture that come from one starting model";

/// Lines of both that differ first: "hidden_size: 8" against "hidden_size: 16"; none where all are equal.
std::optional<std::pair<std::string, std::string>> first_difference(const std::string& a, const std::string& b) {
  std::istringstream left(a), right(b);
  for (;;) {
    std::string x, y;
    const bool more_left = static_cast<bool>(std::getline(left, x)), more_right = static_cast<bool>(std::getline(right, y));
    if (!more_left && !more_right) return std::nullopt;
    if (x != y) return std::pair(more_left ? x : "nothing", more_right ? y : "nothing");
  }
}

/// Settings of training, which weights may be mixed in spite of.
EncoderConfig without_training(EncoderConfig c) {
  c.hidden_dropout = c.attention_dropout = c.initializer_range = 0;
  return c;
}

std::string facts_of(const ModelFolder& model) {
  EmbedderConfig c = model.config;
  c.encoder = without_training(c.encoder);
  return model_facts(c);
}

Shape shape_of(const ParamLayout& layout, const std::string& name) { return layout.find(name).shape; }

}  // namespace

Mixture::Mixture(std::vector<FoundWeights> found) {
  LODE_CHECK(!found.empty(), "there is no model to mix");
  const fs::path first = found.front().source;
  const bool reranker = is_reranker_folder(first);
  tokenizer_ = Tokenizer::from_folder(first).fingerprint();
  for (FoundWeights& f : found) {
    if (f.source != first && Tokenizer::from_folder(f.source).fingerprint() != tokenizer_)
      throw Error(ExitCode::checkpoint, "model",
                  cat("its tokenizer is not that of ", first.string(), ", so its embeddings stand for other tokens"),
                  "merge models that were trained from one starting model")
          .at("file", f.source.string());
    if (is_reranker_folder(f.source) != reranker)
      throw Error(ExitCode::checkpoint, "model",
                  cat("a reranker and an embedder: the first model, ", first.string(), ", is the ", reranker ? "reranker" : "embedder"),
                  "merge models of one kind")
          .at("file", f.source.string());
    if (reranker)
      add_reranker(std::move(f));
    else
      add_embedder(std::move(f));
  }
}

void Mixture::add_embedder(FoundWeights found) {
  ModelFolder model = read_model_folder(found.source);
  if (is_retromae(found)) model.config.pooling = Pooling::cls;
  if (!embedder_) {
    embedder_ = model;
    facts_ = facts_of(model);
    layout_ = embedder_layout(model.config);
  } else if (!model.has_modules) {  // it says nothing of these
    model.config.pooling = embedder_->config.pooling;
    model.config.normalize = embedder_->config.normalize;
  }
  WeightReader reader(std::move(found), model);
  require_alike(reader, facts_of(model));
  models_.push_back(std::move(reader));
}

void Mixture::add_reranker(FoundWeights found) {
  RerankerFolder model = read_reranker_folder(found.source);
  const std::string facts = model_facts(without_training(model.config.encoder));
  if (!reranker_) {
    reranker_ = model;
    facts_ = facts;
    layout_ = reranker_layout(model.config);
  }
  WeightReader reader(std::move(found), model);
  require_alike(reader, facts);
  models_.push_back(std::move(reader));
}

void Mixture::require_alike(const WeightReader& model, const std::string& facts) const {
  const std::string first = models_.empty() ? model.found().path.string() : models_.front().found().path.string();
  const auto differs = [&](const std::string& what, const Param& p) {
    return Error(ExitCode::checkpoint, "F42", what, one_family).at("tensor", p.name).at("file", model.file(p).string());
  };
  for (const Param& p : layout_.params()) {
    if (!model.layout().contains(p.name)) throw differs(cat("this tensor is missing, and ", first, " has it"), p);
    const Shape own = shape_of(model.layout(), p.name);
    if (!(own == p.shape)) throw differs(cat("its shape is ", own, ", that of ", first, " is ", p.shape), p);
  }
  if (!is_retromae(model.found()))
    for (const Param& p : model.layout().params())
      if (!layout_.contains(p.name)) throw differs(cat(first, " has no such tensor"), p);
  if (const auto lines = first_difference(facts, facts_))
    throw Error(ExitCode::checkpoint, "model",
                cat("the models compute differently: ", lines->first, ", and of ", first, " ", lines->second), one_family)
        .at("file", model.found().source.string());
}

void Mixture::mix(std::span<const double> weights, std::span<const Param* const> params, std::vector<double>& sum,
                  std::vector<double>& values) const {
  const auto count = static_cast<size_t>(params.back()->slice.end - params.front()->slice.begin);
  sum.assign(count, 0);
  values.resize(count);
  bool first = true;
  for (size_t m = 0; m < models_.size(); ++m) {
    if (weights[m] == 0) continue;
    models_[m].read(params, values);
    for (size_t i = 0; i < count; ++i) sum[i] = first ? weights[m] * values[i] : sum[i] + weights[m] * values[i];  // keeps a first -0
    first = false;
  }
}

void Mixture::for_each(std::span<const Param* const> params, std::span<const double> weights, const Use& use) const {
  LODE_CHECK(weights.size() == models_.size(), weights.size(), " weights for ", models_.size(), " models");
  std::vector<double> sum, values;
  for (size_t begin = 0, end = 0; begin < params.size(); begin = end) {
    const int64_t from = params[begin]->slice.begin;
    for (end = begin + 1; end < params.size(); ++end)
      if (params[end]->slice.begin != params[end - 1]->slice.end || params[end]->slice.end - from > piece_values) break;
    mix(weights, params.subspan(begin, end - begin), sum, values);
    for (const Param* p : params.subspan(begin, end - begin))
      use(*p, std::span(sum).subspan(static_cast<size_t>(p->slice.begin - from), static_cast<size_t>(p->slice.count())));
  }
}

void Mixture::fill(std::span<const double> weights, ParamStore& host) const {
  std::vector<const Param*> all;
  for (const Param& p : layout_.params()) all.push_back(&p);
  for_each(all, weights, [&](const Param& p, std::span<const double> values) {
    const Tensor to = host.masters(p.slice);
    if (to.dtype() == DType::f64)
      std::copy(values.begin(), values.end(), to.host<double>().begin());
    else
      std::transform(values.begin(), values.end(), to.host<float>().begin(), [](double x) { return static_cast<float>(x); });
  });
}

}  // namespace lodestone
