// Captures and graphs of the CUDA runtime's double: what is enqueued in a stream that captures is recorded, and runs with every launch of
// the graph. Here stands what the other files of the doubles ask; programs call the runtime.
#pragma once

#include <driver_types.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>

namespace lodestone::doubles {

/// One more of what `count` counts is to be enqueued in the stream: adds 1 to it, or a node to the graph where the stream captures. An
/// error where its capture is broken, and nothing can be enqueued.
cudaError_t counted(cudaStream_t stream, int64_t& count);

/// Whether the stream captures.
bool captures(cudaStream_t stream);
/// The work of the node that was counted last, which runs with every launch. Where a pointer among these bytes leads into a block of
/// memory, the graph ends with that block.
void record(cudaStream_t stream, std::function<void()> work, std::span<const std::byte> bytes);
/// Of the capture that goes on in the stream, its number. 0: there is none.
uint64_t capture_in(cudaStream_t stream);
/// The stream is no more, and neither is its capture.
void drop_capture(cudaStream_t stream);
/// This block of memory is given back.
void block_freed(const void* block);

/// What captures allow to a call that asks something of no stream, or of another one.
enum class Allowed : uint8_t { never, where_relaxed };
/// Success, or what a call returns that a capture forbids, which is then broken.
cudaError_t beside_captures(Allowed allowed);
/// The same of a call by which the host asks or waits how far the stream is.
cudaError_t question_to(cudaStream_t stream);
/// The same of an event that was last recorded in this capture. 0: in none.
cudaError_t question_to_event(uint64_t recorded_in);
/// The same of an event that is recorded in the stream, or of other calls that a broken capture alone forbids.
cudaError_t goes_on(cudaStream_t stream);
/// What becomes of a wait in the stream for an event that was last recorded in this capture. Nothing: it is a wait as outside of captures.
std::optional<cudaError_t> wait_beside_captures(cudaStream_t stream, uint64_t recorded_in);

}  // namespace lodestone::doubles
