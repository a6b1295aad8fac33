// How an encoder's layers are cut from the flat parameter vector by name.
#pragma once

#include <vector>

#include "core/nn/block.h"
#include "core/nn/config.h"
#include "core/nn/embedding.h"
#include "core/nn/head.h"
#include "core/nn/mlm_head.h"
#include "core/nn/score_head.h"
#include "core/nn/two_stream_attention.h"

namespace lodestone {

/// Layers that read their parameters at the places `layout` names. Throws Error (internal) when a name is missing.
Embedding make_embedding(const EncoderConfig& config, const ParamLayout& layout);
Block make_block(const EncoderConfig& config, const ParamLayout& layout, int64_t layer);
/// Parts of one transformer layer whose names begin with `prefix`; `layer` names its dropout masks.
SelfAttention make_attention(const EncoderConfig& config, const ParamLayout& layout, const std::string& prefix, int64_t layer);
TwoStreamAttention make_two_stream_attention(const EncoderConfig& config, const ParamLayout& layout, const std::string& prefix,
                                             int64_t layer);
Mlp make_mlp(const EncoderConfig& config, const ParamLayout& layout, const std::string& prefix, int64_t layer);
/// The parameters of that layer.
Slice block_slice(const ParamLayout& layout, const std::string& prefix);
MlmHead make_mlm_head(const EncoderConfig& config, const ParamLayout& layout, MlmTile tile);
/// The dense layer is called head.*, or pooler.dense.* in the layout of a reranker.
Head make_head(const EmbedderConfig& config, const ParamLayout& layout);
ScoreHead make_score_head(const RerankerConfig& config, const ParamLayout& layout);

}  // namespace lodestone
