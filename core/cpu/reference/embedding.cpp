// Reference loops: token, position and type embeddings.
#include "core/checks.h"
#include "core/cpu/reference/reference_backend.h"
#include "core/cpu/reference/views.h"

namespace lodestone {

using reference::for_dtype;
using reference::read;
using reference::write;

void ReferenceBackend::embed_forward(const DeviceTexts& texts, ConstTensor word, ConstTensor position, ConstTensor type, Tensor y) {
  checks::embed("embed_forward", texts, checks::wide(y.dtype()), word, position, type, y);
  const TokenBatch tokens = on_host(texts);
  for_dtype("embed_forward", y.dtype(), [&]<class T>(T) {
    const auto w = read<T>(word), p = read<T>(position), k = read<T>(type);
    const auto out = write<T>(y);
    for (int64_t b = 0; b < tokens.texts(); ++b)
      for (int64_t t = 0; t < tokens.length(b); ++t) {
        const int64_t s = tokens.offsets[static_cast<size_t>(b)] + t;
        const int64_t id = tokens.ids[static_cast<size_t>(s)], kind = t < tokens.first_length(b) ? 0 : 1;
        for (int64_t h = 0; h < out.columns; ++h) out(s, h) = w(id, h) + p(t, h) + k(kind, h);
      }
  });
}

void ReferenceBackend::embed_backward(const DeviceTexts& texts, ConstTensor dy, Tensor d_word, Tensor d_position, Tensor d_type) {
  checks::embed("embed_backward", texts, checks::wide(dy.dtype()), d_word, d_position, d_type, dy);
  const TokenBatch tokens = on_host(texts);
  for_dtype("embed_backward", dy.dtype(), [&]<class T>(T) {
    const auto d = read<T>(dy);
    const auto w = write<T>(d_word), p = write<T>(d_position), k = write<T>(d_type);
    for (int64_t b = 0; b < tokens.texts(); ++b)
      for (int64_t t = 0; t < tokens.length(b); ++t) {
        const int64_t s = tokens.offsets[static_cast<size_t>(b)] + t;
        const int64_t id = tokens.ids[static_cast<size_t>(s)], kind = t < tokens.first_length(b) ? 0 : 1;
        for (int64_t h = 0; h < d.columns; ++h) {
          w(id, h) += d(s, h);
          p(t, h) += d(s, h);
          k(kind, h) += d(s, h);
        }
      }
  });
}

}  // namespace lodestone
