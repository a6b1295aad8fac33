// What ranks that share the work of a command must have alike, since their parts become one file or one figure.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "comm/communicator.h"
#include "core/params.h"
#include "data/text/tokenizer.h"

namespace lodestone {

/// A loaded model: what it computes (data/models/model_facts.h), its tokenizer and its weights. Throws Error (usage, F12) on all ranks.
/// Collective.
void require_same_loaded_model(Communicator& comm, const std::string& facts, const Tokenizer& tokenizer, const ParamStore& params, Exec ex);

/// Texts in their order. `what` names them: "queries". Throws as above. Collective.
void require_same_texts(Communicator& comm, std::span<const std::string_view> texts, const std::string& what);

}  // namespace lodestone
