// Work: what an operation asks of a GPU, in numbers.
#pragma once

#include <cstdint>
#include <string_view>

#include "core/dtype.h"

namespace lodestone {

/// What is counted together, and in the end what the host does beside.
enum class WorkKind : uint8_t {
  products,
  attention,
  attention_backward,
  norms,        // layer normalisation, dropout, residual connections
  activations,  // GELU and tanh
  embeddings,   // embeddings and pooling
  scores,       // what losses do beside products
  update,       // AdamW, the norm of the gradient
  copies,       // casts, fills, copies, rows
  graphs,       // a CUDA graph is launched; what is in it follows
  exchanges,    // between ranks, in a stream of their own
  uploads,      // from the host, likewise
  waits,        // the host waits until all is computed
  joins,        // what is computed from here on waits for the exchanges that were started
};

constexpr std::string_view name_of(WorkKind value) {
  switch (value) {
    case WorkKind::products:
      return "products";
    case WorkKind::attention:
      return "attention";
    case WorkKind::attention_backward:
      return "attention back";
    case WorkKind::norms:
      return "norms";
    case WorkKind::activations:
      return "activations";
    case WorkKind::embeddings:
      return "embeddings";
    case WorkKind::scores:
      return "scores";
    case WorkKind::update:
      return "update";
    case WorkKind::copies:
      return "copies";
    case WorkKind::graphs:
      return "graphs";
    case WorkKind::exchanges:
      return "exchanges";
    case WorkKind::uploads:
      return "uploads";
    case WorkKind::waits:
      return "waits";
    case WorkKind::joins:
      return "joins";
  }
  return {};
}

/// Of one operation.
struct Work {
  WorkKind kind = WorkKind::copies;
  DType dtype = DType::f32;  // of what is multiplied: it decides which units do that. Attention off tensor cores counts as f32
  double product_flops = 0;  // of matrix products, which tensor cores can do
  double other_flops = 0;
  double bytes = 0;       // read and written in device memory, at least; of an exchange those that this rank sends, of an upload its own
  int64_t launches = 0;   // kernels, products, fills and copies
  bool in_graph = false;  // that the host does not start one by one
};

}  // namespace lodestone
