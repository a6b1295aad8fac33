// A chunk of texts through BERT on the doubles, forward and backward, to count and to time what the host does.
#pragma once

#include "core/cuda/cuda_backend.h"
#include "core/nn/encoder.h"
#include "tests/support/tiny_model.h"

namespace lodestone::test {

/// BERT-base of `layers` layers with zero weights, in bf16, and `texts` texts of 128 tokens. For Execution::dropped, where nothing is
/// computed.
class BertChunk {
 public:
  BertChunk(int64_t layers, int64_t texts, Launches launches = Launches::single)
      : backend_(0, AttentionChoice::own, launches),  // whatever cuDNN lies where the program looks
        config_(base(layers)),
        arena_(backend_.memory(), size_t{16} << 30),
        params_(backend_.memory(), embedder_layout(config_), DType::bf16),
        encoder_(config_, params_),
        memory_(backend_.memory(), static_cast<size_t>(params_.layout().count()) * sizeof(float)),
        grads_(memory_.tensor(DType::f32, {params_.layout().count()})) {
    for (int64_t text = 0; text < texts; ++text) {
      texts_.ids.resize(texts_.ids.size() + 128, 1000);
      texts_.offsets.push_back(std::ssize(texts_.ids));
      texts_.keys.push_back(static_cast<uint64_t>(text) + 1);
    }
  }

  void run() {
    const auto scope = arena_.scope();
    Exec ex{backend_, arena_, Key(1), DType::bf16};
    const DeviceTexts texts = upload_texts(backend_, arena_, texts_.tokens());
    const Tensor emb = arena_.tensor(DType::f32, {texts.texts(), config_.embedding()});
    EncoderSaved* const saved = encoder_.forward_saved(ex, texts, emb);
    encoder_.backward(ex, texts, saved, emb, grads_, {});
  }

 private:
  static EmbedderConfig base(int64_t layers) {
    EmbedderConfig c;
    c.encoder = {.vocab = 30522, .hidden = 768, .layers = layers, .heads = 12, .feed_forward = 3072};
    return c;
  }

  CudaBackend backend_;
  EmbedderConfig config_;
  Arena arena_;
  ParamStore params_;
  Encoder encoder_;
  Buffer memory_;
  Tensor grads_;
  ModelTexts texts_;
};

}  // namespace lodestone::test
