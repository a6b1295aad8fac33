// Instructions: the prompts of published models, by name.
#pragma once

#include <span>
#include <string_view>

namespace lodestone {

/// What stands before queries and before passages; empty: nothing.
struct Instruction {
  std::string_view name, query, passage;
};

/// All there are: none (Conan-embedding and GTE use no prompts), bge_zh, bge_en (queries only), and of LLM-Embedder
/// llm_embedder_qa, _convsearch, _chat, _lrlm, _icl and _tool (both sides).
std::span<const Instruction> instructions();

/// Throws Error (usage) that lists the names.
const Instruction& instruction(std::string_view name);

}  // namespace lodestone
