// From texts to sentence vectors with a model folder: tokenizer, encoder and normalisation as inference uses them.
#pragma once

#include <filesystem>
#include <functional>
#include <string_view>

#include "comm/communicator.h"
#include "core/length_chunks.h"
#include "core/nn/encoder.h"
#include "data/models/model_folder.h"
#include "data/text/tokenizer.h"

namespace lodestone {

struct EmbedOptions {
  int64_t max_length = 512;     // tokens of a text with [CLS], prompt and [SEP]; the rest is cut off
  int64_t chunk_tokens = 2048;  // tokens that pass the encoder at once
  int64_t dimensions = 0;       // leading components of a vector that are kept (Matryoshka); 0: all
};

/// Embeds texts with a live model. A view: encoder and tokenizer must outlive it.
class TextEmbedder {
 public:
  TextEmbedder(const Encoder& encoder, const Tokenizer& tokenizer, const EmbedOptions& options);

  /// out [n,E] = the vector of [CLS] prompt text [SEP] for each of n texts (valid UTF-8), of length 1 if the model normalises; of the
  /// leading components where not all are kept, and then E is their number.
  /// Texts are sorted by length and pass the encoder in chunks; the vectors do not depend on their order beyond rounding.
  void embed(Exec ex, std::span<const std::string_view> texts, std::string_view prompt, std::span<float> out);
  /// Throws Error (usage, "length") when the prompt leaves no room for a token of a text: all texts would be embedded alike.
  void require_room(std::string_view prompt) const;
  int64_t embedding() const { return options_.dimensions > 0 ? options_.dimensions : encoder_.config().embedding(); }

 private:
  /// Fills ids_ and offsets_.
  void tokenize(int threads, std::span<const std::string_view> texts, std::string_view prompt);

  const Encoder& encoder_;
  const Tokenizer& tokenizer_;
  EmbedOptions options_;
  struct PerThread {
    Tokenizer::Scratch scratch;
    std::string text;  // behind the prompt
  };
  std::vector<PerThread> per_thread_;
  std::vector<std::vector<int32_t>> text_ids_;
  std::vector<int32_t> ids_;
  std::vector<int64_t> offsets_;
  LengthChunks chunks_;
};

/// What is put in front of texts.
struct Prompts {
  std::string query, passage;
};

/// Sets the masters of a model's parameters, which lie where the host writes them.
using FillParams = std::function<void(ParamStore& host)>;

/// A model folder in memory, ready to embed on a backend: owns everything else that needs.
class LoadedModel {
 public:
  struct Options {
    DType compute = DType::f32;
    int64_t max_length = 0;  // 0: what the folder says
    int64_t chunk_tokens = 2048;
    int64_t dimensions = 0;  // 0: all; not of a reranker, which has no vectors
  };
  /// `backend` must outlive it. Throws Error (checkpoint, usage) naming the file that is missing or does not fit.
  LoadedModel(const std::filesystem::path& folder, const Options& options, Backend& backend);

  /// What `folder` says, with other weights than those that may lie in it; an empty `fill` takes these. Throws likewise.
  LoadedModel(ModelFolder folder, const FillParams& fill, const Options& options, Backend& backend);

  /// Other weights from now on.
  void set_weights(const FillParams& fill);
  const ModelFolder& folder() const { return folder_; }
  const Tokenizer& tokenizer() const { return tokenizer_; }
  TextEmbedder& embedder() { return embedder_; }
  Exec exec() { return {backend_, arena_, Key{}, params_.compute_dtype()}; }
  /// Lines for the user (check_vocabulary).
  const std::vector<std::string>& warnings() const { return warnings_; }
  /// The prompt of this name, else the folder's default prompt, else "".
  std::string prompt(const std::string& name) const;
  /// Throws Error (usage, F12) where other ranks have loaded another one. Collective.
  void require_same_on(Communicator& comm);

 private:
  ModelFolder folder_;
  Tokenizer tokenizer_;
  Backend& backend_;
  ParamStore params_;
  Arena arena_;  // behind the weights: on a GPU it takes of what is left
  Encoder encoder_;
  TextEmbedder embedder_;
  std::vector<std::string> warnings_;
};

}  // namespace lodestone
