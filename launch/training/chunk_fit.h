// Which chunks of a batch have room in step memory?
#pragma once

#include "launch/training/run.h"

namespace lodestone {

/// The most tokens, a multiple of the backend's row bucket below train.chunk_tokens, of which chunks may be so that a step of the task's
/// `batch` takes no more than the run's step memory. 0 where none has room, or those of train.chunk_tokens have. Found by steps that
/// compute nothing, a dozen or so; one rank may call it alone.
int64_t largest_fitting_chunk(const Run& run, const Task& task, const Batch& batch);

}  // namespace lodestone
