#include "launch/inference/same_work.h"

#include "comm/require_same.h"
#include "data/checkpoints/replica_hash.h"
#include "data/files/durable.h"

namespace lodestone {

void require_same_loaded_model(Communicator& comm, const std::string& facts, const Tokenizer& tokenizer, const ParamStore& params,
                               Exec ex) {
  if (comm.size() == 1) return;
  const CheckpointVector weights[] = {{"params", params.masters()}};
  const std::vector<uint64_t> hashes = replica_hashes(ex.backend, ex.arena, params.layout(), weights);
  const Fingerprint prints[] = {
      {"model", checksum(facts), [&] { return facts; }},
      {.what = "tokenizer", .hash = tokenizer.fingerprint()},
      {"weights", checksum(std::as_bytes(std::span(hashes))), [&] { return replica_facts(params.layout(), weights, hashes); }}};
  require_same(comm, prints, {.remedy = "give every host the same model folder"});
}

void require_same_texts(Communicator& comm, std::span<const std::string_view> texts, const std::string& what) {
  if (comm.size() == 1) return;
  Checksum sum;
  for (const std::string_view text : texts) {
    sum.add(std::as_bytes(std::span(text)));
    sum.add(std::as_bytes(std::span("", 1)));  // where it ends
  }
  const Fingerprint prints[] = {{.what = what, .hash = sum.value()}};
  require_same(comm, prints, {.remedy = "give every host the same files"});
}

}  // namespace lodestone
