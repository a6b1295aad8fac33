#include "launch/verify_export.h"

#include <algorithm>
#include <cmath>

#include "launch/embedder.h"

namespace lodestone {

namespace {

constexpr double tolerance = 1e-6;   // of unit vectors; both sides run the same f32 code on the same weights

constexpr std::string_view samples[] = {
    "a", "Hello, world!", "Text embeddings map sentences to vectors.", "The quick brown fox jumps over the lazy dog, 1234567890 times.",
    "naïve café, Straße, ÅNGSTRÖM", "机器学习 与 向量", "مرحبا بالعالم", "नमस्ते दुनिया", "emoji 🙂🚀 and symbols ½ ± µ",
    "a-very-long-compound_word.with/many:different;separators, and then more than enough ordinary words to make this sample a good deal longer than the "
    "others, so that more than a handful of positions of the position table take part in the comparison as well."};

}  // namespace

double export_verified(const std::filesystem::path& path, const LiveModel& live, const std::filesystem::path& source, const ModelCard& card,
                       Backend& backend) {
  write_model_folder(path, live.folder, live.params, source, card, IfExists::refuse);

  ParamStore params(embedder_layout(live.folder.config), DType::f32);
  backend.cast(live.params.masters(), params.masters());
  const Encoder encoder(live.folder.config, params);
  const EmbedOptions options{.max_length = live.folder.max_seq_length};
  TextEmbedder embedder(encoder, live.tokenizer, options);
  Arena arena;
  const size_t count = std::size(samples) * static_cast<size_t>(embedder.embedding());
  std::vector<float> ours(count), reloaded(count);
  embedder.embed(Exec{backend, arena, Key{}, DType::f32}, samples, "", ours);

  LoadedModel again(path, {.threads = backend.threads()});
  again.embedder().embed(again.exec(), samples, "", reloaded);
  double largest = 0;
  for (size_t i = 0; i < count; ++i) largest = std::max(largest, std::isfinite(ours[i]) ? static_cast<double>(std::fabs(ours[i] - reloaded[i])) : 1e30);
  if (largest > tolerance) {
    std::filesystem::remove_all(path);
    throw Error(ExitCode::internal, "export", cat("the written model embeds sample texts differently from the live one (by ", largest, ")"),
                "report this with the command that caused it")
        .at("file", path.string());
  }
  return largest;
}

}  // namespace lodestone
