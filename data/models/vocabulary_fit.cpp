#include "data/models/vocabulary_fit.h"

#include "core/error.h"
#include "data/text/tokenizer_files.h"

namespace lodestone {

void require_vocabulary(const Tokenizer& tokenizer, const EncoderConfig& encoder, const std::filesystem::path& folder) {
  if (tokenizer.vocab_size() > encoder.vocab)
    throw Error(ExitCode::checkpoint, "F42", cat("the tokenizer has ", tokenizer.vocab_size(), " tokens, the model only ", encoder.vocab),
                "use the vocabulary that belongs to the model")
        .at("file", folder.string());
}

std::vector<std::string> check_vocabulary(const Tokenizer& tokenizer, const EncoderConfig& encoder, const std::filesystem::path& folder) {
  require_vocabulary(tokenizer, encoder, folder);
  if (tokenizer.vocab_size() == encoder.vocab || is_told_twice(folder, tokenizer.fingerprint())) return {};
  return {cat("the vocabulary has ", tokenizer.vocab_size(), " tokens, the model's table ", encoder.vocab,
              " rows: tokens may be missing; file=", folder.string())};
}

}  // namespace lodestone
