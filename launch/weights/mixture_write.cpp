// Writes a mixture as a model folder, tensor by tensor.
#include <algorithm>

#include "data/files/safetensors_writer.h"
#include "launch/weights/mixture.h"

namespace lodestone {

namespace fs = std::filesystem;

namespace {

/// An embedder's pooler: dense layer behind [CLS].
struct Pooler {
  std::vector<double> weight, bias;  // empty: there is none
  std::string dtype;
};

void add_to(std::vector<double>& sum, double weight, std::span<const float> values) {
  if (sum.empty()) sum.assign(values.size(), -0.0);  // which changes nothing that is added to it
  for (size_t i = 0; i < sum.size(); ++i) sum[i] += weight * values[i];
}

/// The sum of the models' poolers; none where one of those that count has none.
Pooler mixed_pooler(const Mixture& mixture, std::span<const double> weights) {
  Pooler sum;
  for (size_t m = 0; m < mixture.size(); ++m) {
    if (weights[m] == 0) continue;
    const FoundWeights& found = mixture.model(m).found();
    const PoolerWeights own = read_pooler(found.checkpoint ? found.source : found.path, mixture.embedder()->config.encoder.hidden);
    if (own.weight.empty()) return {};
    if (sum.dtype.empty()) sum.dtype = own.dtype;
    add_to(sum.weight, weights[m], own.weight);
    add_to(sum.bias, weights[m], own.bias);
  }
  return sum;
}

/// Where the values of a tensor to be written come from.
struct Planned {
  StoredTensor tensor;
  const Param* param = nullptr;         // of the mixture, or
  std::span<const double> values = {};  // these
};

StoredTensor described(const std::string& name, const std::string& dtype, const Shape& shape) {
  StoredTensor t{.name = name, .dtype = dtype, .shape = {}};
  for (size_t i = 0; i < shape.rank(); ++i) t.shape.push_back(shape[i]);
  t.count = shape.count();
  return t;
}

/// Wider elements first, as the format needs them.
void write_file(const fs::path& path, const Mixture& mixture, std::span<const double> weights, std::vector<Planned> plan) {
  std::stable_sort(plan.begin(), plan.end(),
                   [](const Planned& a, const Planned& b) { return element_size(a.tensor.dtype) > element_size(b.tensor.dtype); });
  std::vector<StoredTensor> tensors;
  for (const Planned& p : plan) tensors.push_back(p.tensor);
  SafetensorsWriter writer(path, std::move(tensors));
  for (size_t begin = 0, end = 0; begin < plan.size(); begin = end) {
    std::vector<const Param*> params;
    for (end = begin; end < plan.size() && plan[end].param != nullptr; ++end) params.push_back(plan[end].param);
    mixture.for_each(params, weights, [&](const Param&, std::span<const double> values) { writer.write(values); });
    if (params.empty()) writer.write(plan[end++].values);
  }
  writer.finish();
}

std::string torch_name(const std::string& dtype) {
  for (const auto& [stored, name] : {std::pair("F64", "float64"), std::pair("F16", "float16"), std::pair("BF16", "bfloat16")})
    if (dtype == stored) return name;
  return "float32";
}

}  // namespace

void Mixture::write_weights(const fs::path& folder, std::span<const double> weights) const {
  const std::vector<WeightsFile> files =
      embedder_ ? embedder_files(embedder_->config, layout_) : reranker_files(reranker_->config, layout_);
  for (const WeightsFile& file : files) {
    std::vector<Planned> plan;
    for (const auto& [name, param] : file.tensors)
      plan.push_back({.tensor = described(name, models_.front().dtype(*param), param->shape), .param = param});
    Pooler pooler;
    if (embedder_ && &file == &files.front()) pooler = mixed_pooler(*this, weights);
    if (!pooler.weight.empty()) {
      const int64_t hidden = embedder_->config.encoder.hidden;
      plan.push_back({.tensor = described("pooler.dense.bias", pooler.dtype, {hidden}), .values = pooler.bias});
      plan.push_back({.tensor = described("pooler.dense.weight", pooler.dtype, {hidden, hidden}), .values = pooler.weight});
    }
    write_file(folder / file.path, *this, weights, std::move(plan));
  }
}

void Mixture::write(const fs::path& path, std::span<const double> weights, const ModelCard& card, const std::string& report) const {
  const WeightsWriter writer{torch_name(models_.front().dtype(layout_.params().front())), [&](const fs::path& folder) {
                               write_weights(folder, weights);
                               write_new_file(folder / "merge.json", report);
                             }};
  const fs::path& source = models_.front().found().source;
  if (embedder_)
    write_model_folder(path, *embedder_, writer, source, card, IfExists::refuse);
  else
    write_reranker_folder(path, *reranker_, writer, source, card, IfExists::refuse);
}

}  // namespace lodestone
