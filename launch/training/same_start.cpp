#include "launch/training/same_start.h"

#include "comm/require_same.h"
#include "data/files/durable.h"

namespace lodestone {

namespace {

/// Compared by its facts alone.
Fingerprint of_facts(const std::string& what, std::string facts) {
  return {what, checksum(facts), [facts = std::move(facts)] { return facts; }};
}

}  // namespace

void require_same_configuration(Communicator& comm, const RunConfig& config) {
  std::string keys;
  for (const ConfigKey& key : config.keys) keys += cat(key.path, ": ", key.value, "\n");
  const Fingerprint prints[] = {of_facts("configuration", std::move(keys))};
  require_same(comm, prints, {.remedy = "give every rank the same files and overrides"});
}

void require_same_model(Communicator& comm, const Network& network, const Tokenizer& tokenizer) {
  const Fingerprint prints[] = {of_facts("model", network.facts()), {.what = "tokenizer", .hash = tokenizer.fingerprint()}};
  require_same(comm, prints, {.remedy = "give every host the same model files"});
}

void require_same_corpus(Communicator& comm, const Corpus& corpus, const std::string& key) {
  const Fingerprint prints[] = {{.what = cat("corpus of ", key), .hash = corpus.fingerprint()}};
  require_same(comm, prints, {.remedy = "give every host the same packed folder"});
}

}  // namespace lodestone
