// What model folders call the things that they choose: one row for each pooling and each activation, as it is read and written.
#pragma once

#include <optional>
#include <string>

#include "core/choice.h"
#include "core/error.h"
#include "core/nn/config.h"

namespace lodestone {

struct PoolingName {
  const char* flag;                // of 1_Pooling/config.json, in the order in which it is written
  std::string_view mode;           // pooling_mode, in newer versions
  std::optional<Pooling> pooling;  // empty: not supported here
  const char* card = "";           // what a model card says
};
inline constexpr PoolingName pooling_names[] = {
    {"pooling_mode_cls_token", "cls", Pooling::cls, "first token ([CLS])"},
    {"pooling_mode_mean_tokens", "mean", Pooling::mean, "mean over tokens"},
    {"pooling_mode_max_tokens", "max", std::nullopt},
    {"pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens", std::nullopt},
    {"pooling_mode_weightedmean_tokens", "weightedmean", std::nullopt},
    {"pooling_mode_lasttoken", "lasttoken", Pooling::last_token, "last token"},
};

struct SquashName {
  const char* function = "";  // activation_function of 2_Dense/config.json
  Squash squash = Squash::identity;
  const char* remedy = "";  // in a list of what works
  const char* card = "";    // behind the sizes, in a model card
};
inline constexpr SquashName squash_names[] = {
    {"torch.nn.modules.activation.Tanh", Squash::tanh, "Tanh", ", tanh"},
    {"torch.nn.modules.linear.Identity", Squash::identity, "Identity"},
};

/// hidden_act of config.json. The first row of a value is what is written.
struct HiddenActivationName {
  const char* name;
  HiddenActivation activation;
};
inline constexpr HiddenActivationName hidden_activation_names[] = {
    {"gelu", HiddenActivation::gelu},
    {"gelu_python", HiddenActivation::gelu},
};

struct ModelTypeName {
  ModelType type;
  const char* encoder;   // the classes of transformers: in `architectures` of an embedder
  const char* reranker;  // and of a cross-encoder
  const char* prefix;    // of the encoder's tensors where others stand beside them
  const char* card;      // in a model card
};
inline constexpr ModelTypeName model_type_names[] = {
    {ModelType::bert, "BertModel", "BertForSequenceClassification", "bert.", "BERT"},
};

/// The first row of `table` whose `member` is `value`.
template <class Row, size_t n, class Member, class Value>
constexpr const Row& row_with(const Row (&table)[n], Member Row::*member, Value value) {
  for (const Row& row : table)
    if (row.*member == value) return row;
  throw_internal(__FILE__, __LINE__, "value", "a value without a row in a table of names");
}

/// The row of a value; all have one, see below.
constexpr const ModelTypeName& row_of(ModelType type) { return row_with(model_type_names, &ModelTypeName::type, type); }
constexpr const PoolingName& row_of(Pooling pooling) { return row_with(pooling_names, &PoolingName::pooling, pooling); }
constexpr const SquashName& row_of(Squash squash) { return row_with(squash_names, &SquashName::squash, squash); }
constexpr const HiddenActivationName& row_of(HiddenActivation activation) {
  return row_with(hidden_activation_names, &HiddenActivationName::activation, activation);
}

/// Does not compile where a value has no row.
template <class Enum>
constexpr bool all_have_rows() {
  for (const Enum value : values_of<Enum>()) (void)row_of(value);
  return true;
}
static_assert(all_have_rows<Pooling>() && all_have_rows<Squash>() && all_have_rows<HiddenActivation>() && all_have_rows<ModelType>());

}  // namespace lodestone
