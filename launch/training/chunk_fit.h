// How much is there for steps, and which chunks of a batch have room in it?
#pragma once

#include "launch/training/run.h"

namespace lodestone {

/// What step memory can have: what is asked for, or as much as there is room for behind `others_bytes` that are still to be taken: of a GPU
/// all, but from 64 GiB on a 32nd of it, which libraries may want that take memory by the size of the GPU. Throws Error (resource, "F14")
/// where that is too little to try.
size_t room_for_steps(const Memory& memory, const TrainConfig& train, size_t others_bytes = 0);
/// What of the room that a device has a run takes unasked: from 64 GiB on a 32nd less, for what libraries turn out to need.
size_t room_less_margin(size_t room_bytes);

/// What train.chunk_tokens: auto stands for. On a GPU, or where one is counted for, the most of 8,192, 4,096, 2,048 and 1,024 with which no
/// task's step takes more than `room_bytes` on one of `ranks` ranks, however long its texts are, and 1,024 where even that takes more;
/// elsewhere what the configuration has, 1,024. An automatic train.keep_activations_mb then has what is left. `network` tells the width of
/// vectors. Found by steps that compute nothing, one for each task and size.
int64_t automatic_chunk_tokens(const RunConfig& config, const Network& network, const Exec& ex, int ranks, size_t room_bytes);

/// What train.keep_activations_mb: auto stands for, once train.chunk_tokens is settled. On a GPU, where sentence vectors are trained, what
/// `room_bytes` have left beside a step of the hungriest task that keeps no more than one chunk, on one of `ranks` ranks, whose texts all
/// reach their limits and whose chunks are fuller than any can be, and beside a 32nd of the room: for the masks of false negatives and for
/// what many short texts take. Elsewhere what the configuration has, 4,096. Not a bit of a run depends on it. Found as the above is.
int64_t automatic_keep_mb(const RunConfig& config, const Network& network, const Exec& ex, int ranks, size_t room_bytes);

/// Chunks of a task's batch on one of `ranks` ranks, all of whose texts reach their limits, and how many are kept. Found by a step that
/// computes nothing.
ChunkCounts chunks_of_longest(const RunConfig& config, const Network& network, const Exec& ex, size_t task, int ranks);

/// "12 of 600 chunks kept in up to 4096 MiB, the rest computed twice", or "6 of 6 chunks kept".
std::string kept_text(const ChunkCounts& chunks, const TrainConfig& train);

/// The most tokens, a multiple of the backend's row bucket below train.chunk_tokens, of which chunks may be so that a step of the task's
/// `batch` takes no more than the run's step memory. 0 where none has room, or those of train.chunk_tokens have. Found by steps that
/// compute nothing, a dozen or so; one rank may call it alone.
int64_t largest_fitting_chunk(const Run& run, const Task& task, const Batch& batch);

}  // namespace lodestone
