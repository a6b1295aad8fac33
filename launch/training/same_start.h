// What all ranks of a run must have alike before its first step: compared as it is read, before anything is built on it.
#pragma once

#include "comm/communicator.h"
#include "data/corpus/corpus.h"
#include "data/text/tokenizer.h"
#include "launch/config/config.h"
#include "launch/networks/network.h"

namespace lodestone {

// Each is collective and throws Error (usage, F12) on all ranks, naming the rank that differs and the first thing in which it does.

/// The first key that has another value is named.
void require_same_configuration(Communicator& comm, const RunConfig& config);
/// What the network computes, and the tokenizer; weights are compared by Replicas.
void require_same_model(Communicator& comm, const Network& network, const Tokenizer& tokenizer);
/// The manifest, which holds a checksum of every shard. `key`: where the configuration names the corpus.
void require_same_corpus(Communicator& comm, const Corpus& corpus, const std::string& key);

}  // namespace lodestone
