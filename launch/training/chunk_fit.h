// How much is there for steps, and which chunks of a batch have room in it?
#pragma once

#include "launch/training/run.h"

namespace lodestone {

/// What step memory can have: what is asked for, or as much as there is room for behind `others_bytes` that are still to be taken. Throws
/// Error (resource, "F14") where that is too little to try.
size_t room_for_steps(const Memory& memory, const TrainConfig& train, size_t others_bytes = 0);

/// What train.chunk_tokens: auto stands for. On a GPU the most of 8,192, 4,096, 2,048 and 1,024 with which no task's step takes more than
/// `room_bytes` on one of `ranks` ranks, however long its texts are, and 1,024 where even that takes more; elsewhere what the configuration
/// has, 1,024. `network` tells the width of vectors. Found by steps that compute nothing, one for each task and size.
int64_t automatic_chunk_tokens(const RunConfig& config, const Network& network, const Exec& ex, int ranks, size_t room_bytes);

/// The most tokens, a multiple of the backend's row bucket below train.chunk_tokens, of which chunks may be so that a step of the task's
/// `batch` takes no more than the run's step memory. 0 where none has room, or those of train.chunk_tokens have. Found by steps that
/// compute nothing, a dozen or so; one rank may call it alone.
int64_t largest_fitting_chunk(const Run& run, const Task& task, const Batch& batch);

}  // namespace lodestone
