#include "launch/inference/embedder.h"

#include <omp.h>

#include <algorithm>

#include "data/models/model_facts.h"
#include "data/models/vocabulary_fit.h"
#include "launch/inference/same_work.h"

namespace lodestone {

namespace {

ParamStore filled_params(const ModelFolder& folder, const FillParams& fill, DType compute, Backend& backend) {
  ParamStore params(backend.memory(), embedder_layout(folder.config), compute);
  edit_on_host(params, backend, [&](ParamStore& host) { fill ? fill(host) : static_cast<void>(load_weights(folder, host)); });
  return params;
}

int64_t length_limit(const ModelFolder& folder, int64_t wanted) {
  const int64_t positions = folder.config.encoder.longest_text();
  if (wanted > positions)
    throw Error(ExitCode::usage, "usage", cat("texts of ", wanted, " tokens for a model with ", positions, " positions"),
                cat("give --max-len ", positions, " or less"));
  return wanted > 0 ? wanted : std::min(folder.max_seq_length, positions);
}

int64_t kept_dimensions(const ModelFolder& folder, int64_t wanted) {
  const int64_t all = folder.config.embedding();
  if (wanted > all)
    throw Error(ExitCode::usage, "usage", cat("vectors of ", wanted, " dimensions from a model with ", all),
                cat("give --dimensions ", all, " or less"));
  return wanted;
}

/// The leading components [n,width] of vectors emb [n,E], of length 1 if the model normalises.
Tensor kept_components(Exec& ex, ConstTensor emb, int64_t width, bool normalize) {
  const int64_t n = emb.dim(0);
  const Tensor kept = ex.arena.tensor(normalize ? ex.wide() : DType::f64, {n, width});
  if (normalize)
    ex.backend.l2_normalize_forward(emb, kept, ex.arena.tensor(ex.wide(), {n}));
  else
    ex.backend.read_band(emb, {.width = width}, kept);
  return kept;
}

}  // namespace

TextEmbedder::TextEmbedder(const Encoder& encoder, const Tokenizer& tokenizer, const EmbedOptions& options)
    : encoder_(encoder), tokenizer_(tokenizer), options_(options) {
  LODE_CHECK(options.max_length >= 2, "a text needs room for [CLS] and [SEP], got a maximum of ", options.max_length, " tokens");
}

void TextEmbedder::require_room(std::string_view prompt) const {
  std::vector<int32_t> ids;
  tokenizer_.encode(prompt, ids);
  const int64_t taken = std::ssize(ids) + 2;
  if (prompt.empty() || taken < options_.max_length) return;
  throw Error(
      ExitCode::usage, "length",
      cat("texts of at most ", options_.max_length, " tokens: [CLS], [SEP] and the prompt take ", taken, " and leave no room for a text"),
      cat("give --max-len ", taken + 1, " or more, or a shorter prompt"));
}

void TextEmbedder::tokenize(int threads, std::span<const std::string_view> texts, std::string_view prompt) {
  const auto n = static_cast<int64_t>(texts.size());
  const auto room = static_cast<size_t>(options_.max_length - 2);
  text_ids_.resize(std::max(text_ids_.size(), texts.size()));
  per_thread_.resize(std::max(per_thread_.size(), static_cast<size_t>(threads)));
#pragma omp parallel for schedule(dynamic, 16) num_threads(threads)
  for (int64_t i = 0; i < n; ++i) {
    std::vector<int32_t>& ids = text_ids_[static_cast<size_t>(i)];
    ids.clear();
    PerThread& own = per_thread_[static_cast<size_t>(omp_get_thread_num())];
    const std::string_view text = texts[static_cast<size_t>(i)];
    tokenizer_.encode(prompt.empty() ? text : own.text.assign(prompt).append(text), own.scratch, ids);
    ids.resize(std::min(ids.size(), room));
  }
  ids_.clear();
  offsets_.assign(1, 0);
  for (size_t i = 0; i < texts.size(); ++i) {
    ids_.push_back(tokenizer_.cls_id());
    ids_.insert(ids_.end(), text_ids_[i].begin(), text_ids_[i].end());
    ids_.push_back(tokenizer_.sep_id());
    offsets_.push_back(static_cast<int64_t>(ids_.size()));
  }
}

void TextEmbedder::embed(Exec ex, std::span<const std::string_view> texts, std::string_view prompt, std::span<float> out) {
  const int64_t width = embedding();
  const auto n = static_cast<int64_t>(texts.size());
  LODE_CHECK(static_cast<int64_t>(out.size()) == n * width, "embed: ", out.size(), " elements for ", n, " vectors of ", width);
  tokenize(ex.backend.threads(), texts, prompt);
  chunks_.assign({ids_, offsets_, {}}, options_.chunk_tokens);
  const auto columns = static_cast<size_t>(width);
  for (int64_t c = 0; c < chunks_.count(); ++c) {
    const auto scope = ex.arena.scope();
    const Slice places = chunks_.places(c);
    const Tensor emb = ex.arena.tensor(ex.wide(), {places.count(), encoder_.config().embedding()});
    encoder_.forward(ex, upload_texts(ex.backend, ex.arena, chunks_.tokens(c)), emb);
    const Tensor vectors = ex.arena.tensor(DType::f32, {places.count(), width});
    ex.backend.cast(kept_components(ex, emb, width, encoder_.config().normalize), vectors);
    const std::span<const float> found = fetch<float>(ex.backend, ex.arena, vectors);
    for (size_t i = 0; i < static_cast<size_t>(places.count()); ++i) {
      const auto row = static_cast<size_t>(chunks_.order()[static_cast<size_t>(places.begin) + i]);
      std::ranges::copy(found.subspan(i * columns, columns), out.subspan(row * columns, columns).begin());
    }
  }
}

LoadedModel::LoadedModel(const std::filesystem::path& folder, const Options& options, Backend& backend)
    : LoadedModel(read_model_folder(folder), {}, options, backend) {}

LoadedModel::LoadedModel(ModelFolder folder, const FillParams& fill, const Options& options, Backend& backend)
    : folder_(std::move(folder)),
      tokenizer_(Tokenizer::from_folder(folder_.path)),
      backend_(backend),
      params_(filled_params(folder_, fill, options.compute, backend)),
      arena_(backend.memory()),
      encoder_(folder_.config, params_),
      embedder_(encoder_, tokenizer_,
                {.max_length = length_limit(folder_, options.max_length),
                 .chunk_tokens = options.chunk_tokens,
                 .dimensions = kept_dimensions(folder_, options.dimensions)}) {
  warnings_ = check_vocabulary(tokenizer_, folder_.config.encoder, folder_.path);
}

void LoadedModel::set_weights(const FillParams& fill) { edit_on_host(params_, backend_, fill); }

std::string LoadedModel::prompt(const std::string& name) const {
  if (const auto found = folder_.prompts.find(name); found != folder_.prompts.end()) return found->second;
  if (const auto found = folder_.prompts.find(folder_.default_prompt); found != folder_.prompts.end()) return found->second;
  return {};
}

void LoadedModel::require_same_on(Communicator& comm) {
  require_same_loaded_model(comm, folder_facts(folder_), tokenizer_, params_, exec());
}

}  // namespace lodestone
