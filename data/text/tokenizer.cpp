#include "data/text/tokenizer.h"

#include "data/text/tokenizer_kind.h"
#include "data/text/tokenizer_spec.h"

namespace lodestone {

struct Tokenizer::Scratch::State {
  std::unique_ptr<TokenizerKind::Memory> memory;  // null before the first text
  uint64_t made_for = 0;                          // fingerprint of the tokenizer that it was made by
};

Tokenizer::Scratch::Scratch() : state_(std::make_unique<State>()) {}
Tokenizer::Scratch::Scratch(Scratch&&) noexcept = default;
Tokenizer::Scratch& Tokenizer::Scratch::operator=(Scratch&&) noexcept = default;
Tokenizer::Scratch::~Scratch() = default;
int64_t Tokenizer::Scratch::steps() const { return state_->memory ? state_->memory->steps() : 0; }

// A folder of another kind is told apart here: by model.type of its tokenizer.json.
Tokenizer Tokenizer::from_folder(const std::filesystem::path& folder) { return Tokenizer(read_tokenizer_folder(folder)); }
Tokenizer Tokenizer::from_vocab(const std::filesystem::path& vocab_txt, const TokenizerOptions& options) {
  return Tokenizer(read_vocabulary(vocab_txt, options));
}
Tokenizer::Tokenizer(const TokenizerSpec& spec) : Tokenizer(make_word_piece(spec)) {}
Tokenizer::Tokenizer(std::unique_ptr<const TokenizerKind> kind) : kind_(std::move(kind)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

void Tokenizer::encode(std::string_view text, Scratch& scratch, std::vector<int32_t>& ids) const {
  Scratch::State& state = *scratch.state_;
  if (state.memory == nullptr || state.made_for != fingerprint())
    state = {kind_->make_memory(TokenizerKind::Remember::words), fingerprint()};
  kind_->encode(text, *state.memory, ids);
}

void Tokenizer::encode(std::string_view text, std::vector<int32_t>& ids) const {
  kind_->encode(text, *kind_->make_memory(TokenizerKind::Remember::nothing), ids);
}

int32_t Tokenizer::cls_id() const { return kind_->vocabulary().cls; }
int32_t Tokenizer::sep_id() const { return kind_->vocabulary().sep; }
int32_t Tokenizer::pad_id() const { return kind_->vocabulary().pad; }
int32_t Tokenizer::unk_id() const { return kind_->vocabulary().unk; }
int32_t Tokenizer::mask_id() const { return kind_->vocabulary().mask; }
int64_t Tokenizer::vocab_size() const { return static_cast<int64_t>(kind_->vocabulary().tokens.size()); }
const std::string& Tokenizer::token(int32_t id) const { return kind_->vocabulary().tokens.at(static_cast<size_t>(id)); }
bool Tokenizer::continues_word(int32_t id) const { return kind_->continues_word(id); }
void Tokenizer::write_files(int64_t max_seq_length, const std::filesystem::path& to) const { kind_->write_files(max_seq_length, to); }
uint64_t Tokenizer::fingerprint() const { return kind_->vocabulary().fingerprint; }

}  // namespace lodestone
