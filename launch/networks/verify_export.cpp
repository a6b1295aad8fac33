#include "launch/networks/verify_export.h"

#include <algorithm>
#include <cmath>

#include "data/text/tokenizer_files.h"
#include "launch/inference/scorer.h"

namespace lodestone {

namespace {

constexpr double tolerance = 1e-6;  // of values around 1; both sides run the same f32 code on the same backend and weights

/// More than a handful of positions of the position table take part in it.
constexpr std::string_view long_sample =
    "a-very-long-compound_word.with/many:different;separators, and then more than enough ordinary words to make this sample a good deal "
    "longer than the others, so that more than a handful of positions of the position table take part in the comparison as well.";

constexpr std::string_view samples[] = {"a",
                                        "Hello, world!",
                                        "Text embeddings map sentences to vectors.",
                                        "The quick brown fox jumps over the lazy dog, 1234567890 times.",
                                        "naïve café, Straße, ÅNGSTRÖM",
                                        "机器学习 与 向量",
                                        "مرحبا بالعالم",
                                        "नमस्ते दुनिया",
                                        "emoji 🙂🚀 and symbols ½ ± µ",
                                        long_sample};

struct Comparison {
  double largest = 0;  // difference
  double size = 0;     // of our values
};

Comparison compare(std::span<const float> ours, std::span<const float> reloaded) {
  Comparison c;
  for (size_t i = 0; i < ours.size(); ++i) {
    c.size = std::max(c.size, static_cast<double>(std::fabs(ours[i])));
    c.largest = std::max(c.largest, std::isfinite(ours[i] - reloaded[i]) ? static_cast<double>(std::fabs(ours[i] - reloaded[i])) : 1e30);
  }
  return c;
}

constexpr const char* of_diverged = "export an earlier checkpoint, or train again with a lower optim.learning_rate";

bool all_finite(std::span<const float> values) {
  return std::all_of(values.begin(), values.end(), [](float v) { return std::isfinite(v); });
}

/// Throws when what a model gives for the samples is not finite: its weights are too large.
void require_finite_results(const char* what, std::span<const float> values) {
  if (all_finite(values)) return;
  throw Error(ExitCode::numerical, "F44", cat("the run has diverged: the model's ", what, " are not finite"), of_diverged);
}

std::vector<TextPair> sample_pairs() {
  std::vector<TextPair> pairs;
  for (size_t i = 0; i < std::size(samples); ++i) pairs.push_back({samples[i], samples[(i + 1) % std::size(samples)]});
  return pairs;
}

/// Vectors of the samples, or scores of pairs of them.
std::vector<float> sample_results(const std::filesystem::path& path, Backend& backend) {
  if (is_reranker_folder(path)) {
    LoadedReranker model(path, {}, backend);
    const std::vector<TextPair> pairs = sample_pairs();
    std::vector<float> scores(pairs.size());
    model.scorer().score(model.exec(), pairs, scores);
    return scores;
  }
  LoadedModel model(path, {}, backend);
  std::vector<float> vectors(std::size(samples) * static_cast<size_t>(model.embedder().embedding()));
  model.embedder().embed(model.exec(), samples, "", vectors);
  return vectors;
}

/// Compares with what was written; the folder is removed when that fails.
template <class Compare>
double or_remove(const std::filesystem::path& path, const Compare& compare_reloaded) {
  try {
    return compare_reloaded();
  } catch (...) {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
    throw;
  }
}

/// Throws when what was read back is not what was written. Returns the difference.
double require_equal(const std::filesystem::path& path, const char* what, double difference, double bound) {
  if (difference <= bound) return difference;
  throw Error(ExitCode::internal, "export", cat("the written model ", what, " differently from the live one (by ", difference, ")"),
              "report this with the command that caused it")
      .at("file", path.string());
}

/// to = the values of the same names, which may be fewer than `from` has (an encoder without what it was pre-trained with). Both on the
/// host.
void copy_by_name(const ParamStore& from, ParamStore& to) {
  const auto copy = [](auto in, std::span<float> out) {
    std::transform(in.begin(), in.end(), out.begin(), [](auto v) { return static_cast<float>(v); });
  };
  for (const Param& p : to.layout().params()) {
    const ConstTensor values = from.master(from.layout().find(p.name));
    if (values.dtype() == DType::f64)
      copy(values.host<double>(), to.master(p).host<float>());
    else
      copy(values.host<float>(), to.master(p).host<float>());
  }
}

}  // namespace

void require_finite(const ParamStore& params, const std::string& remedy) {
  const auto finite = [](auto values) { return std::all_of(values.begin(), values.end(), [](auto v) { return std::isfinite(v); }); };
  for (const Param& p : params.layout().params()) {
    const ConstTensor values = params.master(p);
    if (values.dtype() == DType::f64 ? finite(values.host<double>()) : finite(values.host<float>())) continue;
    throw Error(ExitCode::numerical, "F44", cat("the run has diverged: ", p.name, " is not finite"), remedy);
  }
}

void require_finite(Exec ex, const ParamStore& params, const std::string& remedy) {
  const auto scope = ex.arena.scope();
  const Tensor squares = ex.arena.tensor(DType::f64, {1});
  const auto finite = [&](ConstTensor x) {
    ex.backend.sum_squares(x, squares);
    return std::isfinite(fetch<double>(ex.backend, ex.arena, squares)[0]);
  };
  if (finite(params.masters())) return;
  for (const Param& p : params.layout().params())
    if (!finite(params.master(p))) throw Error(ExitCode::numerical, "F44", cat("the run has diverged: ", p.name, " is not finite"), remedy);
}

namespace {

double export_from_host(const std::filesystem::path& path, const LiveModel& live, const std::filesystem::path& source,
                        const ModelCard& card, Backend& backend) {
  require_finite(live.params, of_diverged);
  ParamStore params(backend.memory(), embedder_layout(live.folder.config), DType::f32);
  edit_on_host(params, backend, [&](ParamStore& host) { copy_by_name(live.params, host); });
  const Encoder encoder(live.folder.config, params);
  const EmbedOptions options{.max_length = live.folder.max_seq_length};
  TextEmbedder embedder(encoder, live.tokenizer, options);
  Arena arena(backend.memory());
  const size_t count = std::size(samples) * static_cast<size_t>(embedder.embedding());
  std::vector<float> ours(count), reloaded(count);
  embedder.embed(Exec{backend, arena, Key{}, DType::f32}, samples, "", ours);
  require_finite_results("vectors", ours);

  write_model_folder(path, live.folder, live.params, source, card, IfExists::refuse);
  return or_remove(path, [&] {
    require_tokenizer_files(path, live.tokenizer.fingerprint());
    LoadedModel again(path, {}, backend);
    again.embedder().embed(again.exec(), samples, "", reloaded);
    return require_equal(path, "embeds sample texts", compare(ours, reloaded).largest, tolerance);
  });
}

double export_from_host(const std::filesystem::path& path, const LiveReranker& live, const std::filesystem::path& source,
                        const ModelCard& card, Backend& backend) {
  require_finite(live.params, of_diverged);
  ParamStore params(backend.memory(), reranker_layout(live.folder.config), DType::f32);
  edit_on_host(params, backend, [&](ParamStore& host) { copy_by_name(live.params, host); });
  const Reranker reranker(live.folder.config, params);
  PairScorer scorer(reranker, live.tokenizer, inference_lengths(live.folder.max_seq_length), LoadedModel::Options{}.chunk_tokens);
  Arena arena(backend.memory());
  const std::vector<TextPair> pairs = sample_pairs();
  std::vector<float> ours(pairs.size()), reloaded(pairs.size());
  scorer.score(Exec{backend, arena, Key{}, DType::f32}, pairs, ours);
  require_finite_results("scores", ours);

  write_reranker_folder(path, live.folder, live.params, source, card, IfExists::refuse);
  return or_remove(path, [&] {
    require_tokenizer_files(path, live.tokenizer.fingerprint());
    LoadedReranker again(path, {}, backend);
    again.scorer().score(again.exec(), pairs, reloaded);
    const Comparison c = compare(ours, reloaded);
    return require_equal(path, "scores sample pairs", c.largest, tolerance * std::max(c.size, 1.0));
  });
}

/// Calls export_from_host with the parameters where the host reads them. What was written is compared on the host too: a run's step memory
/// leaves a device no room for two more models.
template <class Live>
double export_any(const std::filesystem::path& path, const Live& live, const std::filesystem::path& source, const ModelCard& card,
                  Backend& backend) {
  double difference = 0;
  const auto on_host = backend.device() == Device::cpu ? nullptr : make_backend({.kind = BackendKind::cpu});
  read_on_host(live.params, backend, [&](const ParamStore& params) {
    difference = export_from_host(path, Live{live.folder, params, live.tokenizer}, source, card, on_host ? *on_host : backend);
  });
  return difference;
}

}  // namespace

void require_usable(const std::filesystem::path& path, uint64_t tokenizer, const std::string& remedy, Backend& backend) {
  or_remove(path, [&] {
    require_tokenizer_files(path, tokenizer);
    if (!all_finite(sample_results(path, backend)))
      throw Error(ExitCode::numerical, "F44", "what the written model gives is not finite", remedy).at("file", path.string());
    return 0.0;
  });
}

double export_verified(const std::filesystem::path& path, const LiveModel& live, const std::filesystem::path& source, const ModelCard& card,
                       Backend& backend) {
  return export_any(path, live, source, card, backend);
}

double export_verified(const std::filesystem::path& path, const LiveReranker& live, const std::filesystem::path& source,
                       const ModelCard& card, Backend& backend) {
  return export_any(path, live, source, card, backend);
}

}  // namespace lodestone
