#include "launch/bench/bench_options.h"

#include <algorithm>
#include <array>

#include "launch/bench/bench_batch.h"
#include "launch/bench/bench_loss.h"

namespace lodestone {

namespace {

/// Random texts have 512 tokens at most.
bool is_length(const std::string& text) {
  return !text.empty() && text.size() < 4 && std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; }) &&
         std::stoi(text) >= 1 && std::stoi(text) <= 512;
}

}  // namespace

std::span<const std::string> step_option_names() {
  static const std::array<std::string, 10> names{"--model", "--lengths",      "--precision", "--loss",    "--group",
                                                 "--pairs", "--chunk-tokens", "--keep-mb",   "--dropout", "--cuda-graphs"};
  return names;
}

BenchOptions read_step_options(const Options& given) {
  BenchOptions o;
  const auto one_of = [&](const char* name, std::string& value, std::initializer_list<const char*> known) {
    value = given.text(name, value);
    if (std::find(known.begin(), known.end(), value) == known.end()) given.refuse(cat(name, " '", value, "' is not known"));
  };
  one_of("--model", o.model, {"minilm", "bert-base", "bert-large"});
  if (is_length(given.text("--lengths", "")))
    o.lengths = given.text("--lengths", "");
  else
    one_of("--lengths", o.lengths, {"dense", "real", "short"});
  one_of("--precision", o.precision, {"bf16", "f32"});
  if (std::string dropout = "0.1"; given.has("--dropout")) {
    one_of("--dropout", dropout, {"0.1", "0"});
    o.dropout = dropout == "0" ? 0 : o.dropout;
  }
  o.launches = read_launches(given);
  o.loss = given.text("--loss", o.loss);
  const BenchLoss& loss = bench_loss(o.loss);
  o.group = given.integer("--group", loss.group, 1);
  o.pairs = given.integer("--pairs", o.pairs, 2);
  o.chunk_tokens = given.integer("--chunk-tokens", o.chunk_tokens, 1);
  o.keep_mb = given.integer("--keep-mb", o.keep_mb, 0);
  if (needs_scores(loss.config(1)) && o.group != 1) given.refuse(cat(loss.name, " takes pairs: --group 1"));
  return o;
}

Launches read_launches(const Options& given) {
  const std::string graphs = given.text("--cuda-graphs", "false");
  if (graphs != "true" && graphs != "false") given.refuse(cat("--cuda-graphs is true or false, not '", graphs, "'"));
  return graphs == "true" ? Launches::graphs : Launches::single;
}

EmbedderConfig bench_config(const BenchOptions& options) {
  EmbedderConfig config = bench_shape(options.model);
  config.encoder.hidden_dropout = config.encoder.attention_dropout = options.dropout;
  return config;
}

DType compute_dtype(const BenchOptions& options) { return options.precision == "bf16" ? DType::bf16 : DType::f32; }

EmbeddingObjectiveOptions objective_options(const BenchOptions& options) {
  return {.chunk_tokens = options.chunk_tokens, .keep_activations_bytes = static_cast<size_t>(options.keep_mb) << 20};
}

}  // namespace lodestone
