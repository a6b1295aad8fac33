// The literal prompts that published models were trained with.
#include "data/text/instructions.h"

#include <algorithm>
#include <array>
#include <string>

#include "core/error.h"

namespace lodestone {
namespace {

constexpr std::array<Instruction, 9> table{{
    {"none", "", ""},
    {"bge_zh", "为这个句子生成表示以用于检索相关文章：", ""},
    {"bge_en", "Represent this sentence for searching relevant passages: ", ""},
    {"llm_embedder_qa", "Represent this query for retrieving relevant documents: ", "Represent this document for retrieval: "},
    {"llm_embedder_convsearch", "Encode this query and context for searching relevant passages: ", "Encode this passage for retrieval: "},
    {"llm_embedder_chat", "Embed this dialogue to find useful historical dialogues: ", "Embed this historical dialogue for retrieval: "},
    {"llm_embedder_lrlm",
     "Embed this text chunk for finding useful historical chunks: ", "Embed this historical text chunk for retrieval: "},
    {"llm_embedder_icl",
     "Convert this example into vector to look for useful examples: ", "Convert this example into vector for retrieval: "},
    {"llm_embedder_tool",
     "Transform this user request for fetching helpful tool descriptions: ", "Transform this tool description for retrieval: "},
}};

}  // namespace

std::span<const Instruction> instructions() { return table; }

const Instruction& instruction(std::string_view name) {
  const auto found = std::find_if(table.begin(), table.end(), [&](const Instruction& i) { return i.name == name; });
  if (found != table.end()) return *found;
  std::string names;
  for (const Instruction& i : table) names += cat(names.empty() ? "" : ", ", i.name);
  throw Error(ExitCode::usage, "instruction", cat("there is no instruction \"", name, "\""),
              cat("use one of ", names, ", or give the prompts themselves"));
}

}  // namespace lodestone
