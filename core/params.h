// ParamStore: all parameters as one vector, cut into named views; gradients and moments share its layout.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "core/buffer.h"
#include "core/exec.h"

namespace lodestone {

enum class Decay : uint8_t { no, yes };

struct Param {
  std::string name;  // Hugging Face name without the "bert." prefix, e.g. "encoder.layer.0.attention.self.query.weight"
  Shape shape;
  Slice slice;  // its elements in the flat vector
  Decay decay = Decay::yes;
};

/// The layout: names, shapes and places. Built once by the encoder in the order of its forward pass.
class ParamLayout {
 public:
  /// Appends a parameter directly behind the last one (so query, key and value weights added in a row are one [3H,H] view).
  const Param& add(std::string name, Shape shape, Decay decay);
  const std::vector<Param>& params() const { return params_; }
  /// Throws Error (internal) on an unknown name.
  const Param& find(std::string_view name) const;
  bool contains(std::string_view name) const;
  int64_t count() const { return count_; }

 private:
  std::vector<Param> params_;
  int64_t count_ = 0;
};

/// Master parameters in the wide dtype, and for bf16 a rounded copy that products read. Where some are still on their way from other ranks,
/// whoever takes a view of them orders what is enqueued from then on behind their arrival: so a layer waits for its own and no later ones.
/// A view must therefore not be kept beyond the next expect(): nobody would order what reads it.
class ParamStore {
 public:
  /// All zero. `memory` must outlive the store.
  ParamStore(Memory& memory, ParamLayout layout, DType compute);

  const ParamLayout& layout() const { return layout_; }
  DType compute_dtype() const { return compute_; }
  DType wide_dtype() const { return compute_ == DType::f64 ? DType::f64 : DType::f32; }
  Tensor masters() const { return masters({0, layout_.count()}); }  // [n]
  Tensor masters(Slice slice) const {                               // [elements of the slice]
    need(slice);
    return masters_view_.slice(slice);
  }
  Tensor master(const Param& p) const { return masters(p.slice).reshape(p.shape); }
  /// What products read: the masters themselves, or their bf16 copy as of the last refresh().
  ConstTensor compute(const Param& p) const { return compute(p.slice, p.shape); }
  ConstTensor compute(Slice slice, Shape shape) const {
    need(slice);
    return compute_view_.slice(slice).reshape(shape);
  }
  /// Rounds the masters into the bf16 copy. Call after every change of the masters. Nothing to do for f32 and f64.
  void refresh(Backend& backend);
  /// The same for a slice, by who brings it.
  void refresh(Backend& backend, Slice slice);

  /// From now on parameters arrive from the front to the end of the vector, none of them being there. bring(end) is called when a view of
  /// elements before `end` is taken that have not arrived: it orders what is enqueued from then on behind them, refreshes them, and returns
  /// how many have arrived by then, `end` at least. It must be valid until all have.
  void expect(std::function<int64_t(int64_t end)> bring);
  /// Whether all are there.
  bool complete() const { return arrived_ == layout_.count(); }

 private:
  void need(Slice slice) const {
    if (slice.end > arrived_) arrived_ = bring_(slice.end);
  }

  ParamLayout layout_;
  DType compute_;
  Buffer masters_, rounded_;
  Tensor masters_view_, compute_view_;
  mutable int64_t arrived_;  // elements from the front on
  std::function<int64_t(int64_t)> bring_;
};

/// Runs body on the parameters where the host can read them: the store itself on the CPU, elsewhere a downloaded copy.
void read_on_host(const ParamStore& params, Backend& backend, const std::function<void(const ParamStore&)>& body);
/// The same where body changes the masters, which are then brought back and refreshed.
void edit_on_host(ParamStore& params, Backend& backend, const std::function<void(ParamStore&)>& body);

}  // namespace lodestone
