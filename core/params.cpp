#include "core/params.h"

#include <algorithm>

namespace lodestone {

const Param& ParamLayout::add(std::string name, Shape shape, Decay decay) {
  LODE_CHECK(!contains(name), "parameter ", name, " is declared twice");
  const Slice slice{count_, count_ + shape.count()};
  count_ = slice.end;
  params_.push_back({std::move(name), shape, slice, decay});
  return params_.back();
}

bool ParamLayout::contains(std::string_view name) const {
  return std::any_of(params_.begin(), params_.end(), [&](const Param& p) { return p.name == name; });
}

const Param& ParamLayout::find(std::string_view name) const {
  const auto it = std::find_if(params_.begin(), params_.end(), [&](const Param& p) { return p.name == name; });
  LODE_CHECK(it != params_.end(), "no parameter is called ", name);
  return *it;
}

ParamStore::ParamStore(Memory& memory, ParamLayout layout, DType compute)
    : layout_(std::move(layout)), compute_(compute), arrived_(layout_.count()) {
  const auto n = static_cast<size_t>(layout_.count());
  masters_ = Buffer(memory, n * size_of(wide_dtype()));
  masters_view_ = masters_.tensor(wide_dtype(), {layout_.count()});
  if (compute_ == DType::bf16) rounded_ = Buffer(memory, n * size_of(DType::bf16));
  compute_view_ = compute_ == DType::bf16 ? rounded_.tensor(DType::bf16, {layout_.count()}) : masters_view_;
}

void ParamStore::refresh(Backend& backend) {
  const Slice all{0, layout_.count()};
  need(all);
  refresh(backend, all);
}

void ParamStore::refresh(Backend& backend, Slice slice) {
  if (compute_ == DType::bf16) backend.cast(masters_view_.slice(slice), compute_view_.slice(slice));
}

void ParamStore::expect(std::function<int64_t(int64_t end)> bring) {
  LODE_CHECK(arrived_ == layout_.count(), "parameters are expected while others have not arrived");
  bring_ = std::move(bring);
  arrived_ = 0;
}

namespace {

ParamStore downloaded(HostMemory& memory, const ParamStore& params, Backend& backend) {
  ParamStore copy(memory, params.layout(), params.compute_dtype());
  backend.download(params.masters(), copy.masters());
  backend.synchronize();
  return copy;
}

}  // namespace

void read_on_host(const ParamStore& params, Backend& backend, const std::function<void(const ParamStore&)>& body) {
  if (params.masters().device() == Device::cpu) return body(params);
  HostMemory memory;
  body(downloaded(memory, params, backend));
}

void edit_on_host(ParamStore& params, Backend& backend, const std::function<void(ParamStore&)>& body) {
  if (params.masters().device() == Device::cpu) {
    body(params);
  } else {
    HostMemory memory;
    ParamStore copy = downloaded(memory, params, backend);
    body(copy);
    backend.upload(copy.masters(), params.masters());
    backend.synchronize();
  }
  params.refresh(backend);
}

}  // namespace lodestone
