#include "launch/networks/network.h"

#include <algorithm>

#include "data/models/vocabulary_fit.h"

namespace lodestone {

namespace {

struct TextLimit {
  int64_t tokens = 0;
  std::string key{};  // that asks for them
};

/// The longest text, or pair of texts, that any task asks for.
TextLimit longest_text(const RunConfig& c) {
  TextLimit longest;
  const auto add = [&](const TaskConfig& t, const char* key, int64_t tokens) {
    const std::string own = cat("tasks.", t.name, ".data.", key);
    if (tokens > longest.tokens) longest = {tokens, c.origins.contains(own) ? own : cat("data.", key)};
  };
  for (const TaskConfig& t : c.tasks) {
    switch (c.objective.kind) {
      case ObjectiveKind::reranker:
        add(t, t.data.pair_max_len > 0 ? "pair_max_len" : "query_max_len", pair_lengths(t.data).longest_pair());
        break;
      case ObjectiveKind::embedding:
        add(t, "query_max_len", t.data.query_max_len);
        add(t, "passage_max_len", t.data.passage_max_len);
        break;
      case ObjectiveKind::retromae:
        add(t, "query_max_len", t.data.query_max_len);
        break;
    }
  }
  return longest;
}

std::vector<std::string_view> names_of(const Corpus& corpus) {
  std::vector<std::string_view> names;
  for (const CorpusSource& source : corpus.sources()) names.push_back(source.name);
  return names;
}

/// Refuses a folder of another shape than model.config says.
void require_shape(const ModelConfig& model, const EncoderConfig& is, const EncoderConfig& wanted) {
  const std::pair<const char*, std::pair<int64_t, int64_t>> sizes[] = {{"vocabulary", {is.vocab, wanted.vocab}},
                                                                       {"hidden size", {is.hidden, wanted.hidden}},
                                                                       {"number of layers", {is.layers, wanted.layers}},
                                                                       {"number of heads", {is.heads, wanted.heads}},
                                                                       {"feed-forward size", {is.feed_forward, wanted.feed_forward}}};
  for (const auto& [what, both] : sizes)
    if (both.first != both.second)
      throw Error(ExitCode::usage, "config", cat("model.folder has ", what, " ", both.first, ", model.config says ", both.second),
                  "choose a folder of that shape, or leave model.config out")
          .at("file", model.folder.string());
}

/// model.head: the folder's own dense layer, which must have that width, or else a new one.
void set_head(const ModelConfig& model, ModelFolder& folder) {
  if (model.head == 0) return;
  const int64_t own = folder.config.head ? folder.config.head->out_features : 0;
  if (own != 0 && own != model.head)
    throw Error(
        ExitCode::usage, "config", cat("model.head is ", model.head, ", the dense layer of model.folder has ", own, " outputs"),
        cat("set model.head to ", own, " (or 0) to train it on, or give a folder without a Dense module for a new one of ", model.head))
        .at("file", folder.path.string());
  if (own != 0) return;
  folder.config.head = HeadConfig{.out_features = model.head};
  folder.new_head = true;
}

/// Tokens of a text that the exported folder takes: model.max_seq_length, else what the starting folder says, and never fewer than
/// training uses. Rerankers take pairs as training cuts them, models from random weights texts.
int64_t exported_length(const RunConfig& c, const ModelFolder& folder, bool from_config, int64_t trained) {
  const int64_t most = folder.config.encoder.longest_text(), wanted = c.model.max_seq_length;
  if (wanted > most)
    throw refusal(c, "model.max_seq_length", cat("texts of ", wanted, " tokens, the model has ", most, " positions"),
                  cat("use ", most, " or less"));
  if (wanted > 0) return wanted;
  if (from_config || c.objective.kind == ObjectiveKind::reranker) return trained;
  return std::max(trained, folder.max_seq_length);
}

}  // namespace

ModelFolder open_model_folder(const RunConfig& c, Weights weights) {
  const bool from_config = c.model.folder.empty() || (weights == Weights::shapes && !c.model.config.empty());
  ModelFolder f = from_config ? read_model_config(c.model.config) : read_model_folder(c.model.folder);
  if (!from_config && !c.model.config.empty()) require_shape(c.model, f.config.encoder, read_model_config(c.model.config).config.encoder);
  if (c.model.pooling) f.config.pooling = *c.model.pooling;
  if (c.model.dropout >= 0) f.config.encoder.hidden_dropout = f.config.encoder.attention_dropout = c.model.dropout;
  if (c.model.attention_dropout >= 0) f.config.encoder.attention_dropout = c.model.attention_dropout;
  set_head(c.model, f);
  if (from_config && !c.model.folder.empty()) f.new_head = false;  // the folder was not looked at
  if (c.model.normalize) f.config.normalize = *c.model.normalize;
  const DataConfig& data = c.tasks.front().data;  // the folder's prompts are those of the first task
  if (!data.query_prompt.empty()) f.prompts["query"] = data.query_prompt;
  if (!data.passage_prompt.empty()) f.prompts["document"] = f.prompts["passage"] = data.passage_prompt;  // "document" is looked for first
  const TextLimit longest = longest_text(c);
  if (longest.tokens > f.config.encoder.longest_text())
    throw refusal(c, longest.key,
                  cat(c.objective.kind == ObjectiveKind::reranker ? "pairs" : "texts", " of ", longest.tokens, " tokens, the model has ",
                      f.config.encoder.longest_text(), " positions"),
                  cat("use ", f.config.encoder.longest_text(), " or less"));
  f.max_seq_length = exported_length(c, f, from_config, longest.tokens);
  return f;
}

ParamStore open_params(const RunConfig& c, const ModelFolder& folder, ParamLayout layout, Weights weights, Backend& backend) {
  ParamStore params(backend.memory(), std::move(layout), c.train.precision);
  if (weights == Weights::shapes) return params;
  edit_on_host(params, backend, [&](ParamStore& host) {
    initialize_parameters(folder.config, host, static_cast<uint64_t>(c.train.seed));
    if (!c.model.folder.empty()) load_weights(folder, host);
  });
  return params;
}

void keep_encoder_source(const ModelConfig& c, const ModelFolder& folder, const Tokenizer& tokenizer, const std::filesystem::path& to) {
  if (c.folder.empty())
    make_model_source(folder, tokenizer, to);
  else
    keep_model_source(folder, tokenizer, to);
}

namespace {

const std::filesystem::path& tokenizer_place(const ModelConfig& c) { return c.folder.empty() ? c.vocab : c.folder; }

}  // namespace

std::vector<std::string> tokenizer_warnings(const RunConfig& c, const EncoderConfig& encoder, const Tokenizer& tokenizer) {
  return check_vocabulary(tokenizer, encoder, tokenizer_place(c.model));
}

Tokenizer open_tokenizer(const RunConfig& c, const EncoderConfig& encoder) {
  const std::filesystem::path& from = tokenizer_place(c.model);
  std::error_code unknown;
  Tokenizer tokenizer = std::filesystem::is_directory(from, unknown) ? Tokenizer::from_folder(from) : Tokenizer::from_vocab(from, {});
  require_vocabulary(tokenizer, encoder, from);
  return tokenizer;
}

std::vector<int64_t> source_groups(const TaskConfig& task, const Corpus& corpus) {
  return source_groups(names_of(corpus), task.data.rules, task.data.train_group_size);
}

CollateConfig collate_config(const TaskConfig& task, uint64_t seed, Purpose purpose, const Corpus& corpus) {
  const DataConfig& d = task.data;
  const bool no_window = purpose != Purpose::training && d.select_negative == SelectNegative::window;
  return {.group = d.train_group_size,
          .source_groups = source_groups(task, corpus),
          .query_max_len = d.query_max_len,
          .passage_max_len = d.passage_max_len,
          .seed = seed,
          .purpose = purpose,
          .select_positive = d.select_positive,
          .select_negative = no_window ? SelectNegative::first : d.select_negative};
}

Framing make_framing(const TaskConfig& task, const Tokenizer& tokenizer, const Corpus& corpus) {
  const std::vector<std::string_view> names = names_of(corpus);
  return make_framing(tokenizer, task.data.query_prompt, task.data.passage_prompt, corpus.prompts(),
                      prompted_sources(names, task.data.rules));
}

namespace {

Error no_vectors() {
  return Error(ExitCode::usage, "config", "mining: there are no sentence vectors to rank negatives by", "leave mining out");
}

}  // namespace

std::unique_ptr<NegativeRanker> Network::ranker(Exec, const TaskConfig&, const Tokenizer&, const Corpus&, const RowSource&) {
  throw no_vectors();
}
std::unique_ptr<NegativeProbe> Network::probe(Exec, const TaskConfig&, const Tokenizer&, const Corpus&, const Plan&, const RowSource&) {
  throw no_vectors();
}

std::unique_ptr<Network> open_network(const RunConfig& config, Weights weights, Backend& backend) {
  switch (config.objective.kind) {
    case ObjectiveKind::retromae:
      return open_retromae_network(config, weights, backend);
    case ObjectiveKind::reranker:
      return open_reranker_network(config, weights, backend);
    case ObjectiveKind::embedding:
      return open_embedding_network(config, weights, backend);
  }
  throw_internal(__FILE__, __LINE__, "objective", "no such objective");
}

}  // namespace lodestone
