#include "losses/loss.h"

#include "losses/info_nce.h"
#include "losses/matryoshka.h"

namespace lodestone {

namespace {

std::unique_ptr<Loss> make_info_nce(const LossConfig& config) {
  InfoNceOptions options{.temperature = config.temperature};
  if (!config.in_batch_negatives)
    options.candidates = Candidates::own_group;
  else if (!config.cross_rank_negatives)
    options.candidates = Candidates::this_rank;
  return std::make_unique<InfoNce>(options);
}

struct LossEntry {
  const char* name;
  std::unique_ptr<Loss> (*make)(const LossConfig&);
};

constexpr LossEntry losses[] = {
    {"info_nce", make_info_nce},
};

[[noreturn]] void refuse(const char* key, const std::string& what, const std::string& remedy) {
  throw Error(ExitCode::usage, "config", what, remedy).at("key", key);
}

void check_dims(const std::vector<int64_t>& dims, int64_t embedding) {
  int64_t last = 0;
  for (const int64_t d : dims) {
    if (d <= last) refuse("loss.matryoshka_dims", cat(d, " follows ", last), "give positive dimensions in ascending order");
    last = d;
  }
  if (last > embedding)
    refuse("loss.matryoshka_dims", cat(last, " is more than the model's ", embedding, " dimensions"),
           cat("give at most ", embedding));
}

}  // namespace

std::unique_ptr<Loss> make_loss(const LossConfig& config, int64_t embedding) {
  if (!(config.temperature > 0))
    refuse("loss.temperature", cat("the temperature is ", config.temperature), "give a positive number; 0.01 to 0.1 is usual");
  check_dims(config.matryoshka_dims, embedding);
  std::string known;
  for (const LossEntry& entry : losses) {
    if (config.name == entry.name) {
      auto loss = entry.make(config);
      if (config.matryoshka_dims.empty()) return loss;
      return std::make_unique<Matryoshka>(std::move(loss), config.matryoshka_dims);
    }
    known += cat(known.empty() ? "" : ", ", entry.name);
  }
  refuse("loss.name", cat("there is no loss \"", config.name, "\""), cat("choose one of: ", known));
}

}  // namespace lodestone
