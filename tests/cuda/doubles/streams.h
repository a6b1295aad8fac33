// Streams and events of the CUDA runtime's double: what is enqueued runs at once, late, or shuffled between streams, always in this thread.
#pragma once

#include <driver_types.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace lodestone::doubles {

/// When what was enqueued runs. Within a stream always in its order, and never before an event that the stream was told to wait for.
enum class Execution : uint8_t {
  at_once,       // as soon as it may
  late,          // when somebody waits for it, and no more than must
  shuffled,      // when somebody waits, with work of other streams between, drawn by a seed
  oldest_first,  // when somebody waits: of the streams that may run always the one that was made first
  newest_first,  // and always the one that was made last
  dropped,       // never: it counts as done at once, for measuring what the host does
};

/// From here on. What is enqueued is run first. Before the first call it is as LODESTONE_DOUBLE_EXECUTION says ("late",
/// "oldest_first", "newest_first", "shuffled:SEED"), or at once.
void set_execution(Execution execution, uint64_t seed = 1);
/// Where the stream captures `work` is recorded (graphs.h). `bytes`: those of what it holds.
void enqueue(cudaStream_t stream, std::function<void()> work, std::span<const std::byte> bytes);
/// `work` holds what it needs by value.
template <class Work>
void enqueue(cudaStream_t stream, const Work& work) {
  enqueue(stream, work, std::as_bytes(std::span(&work, 1)));
}
/// One piece of work that others may run between the parts of.
void enqueue_pieces(cudaStream_t stream, const std::vector<std::function<void()>>& pieces);
/// Work that others have a part in: called again and again from when its turn comes until it returns true.
void enqueue_shared(cudaStream_t stream, std::function<bool()> step);
/// Whether something is yet to be enqueued in the stream by a library: an event may not be recorded there meanwhile.
void hold(cudaStream_t stream, bool held);
bool is_held(cudaStream_t stream);
/// Whether what is enqueued is dropped. Who would only copy its operands asks first.
bool dropping();
/// The n-th event (from 0, beginning here) that any stream is told to wait for is forgotten. -1: none. For negative controls.
void forget_event(int64_t n);
/// Of the events that streams were told to wait for since forget_event(), the numbers of those that were not over by then.
const std::vector<int64_t>& open_events();

/// What the host enqueued.
struct Enqueued {
  enum class Kind : uint8_t { work, verb, wait };  // a verb is work that others have a part in
  Kind kind{};
  int64_t stream = 0;  // in which: streams are numbered as they are made
  // Of a wait: for an event that was recorded in this stream, when so much work had been enqueued there since note_enqueued().
  int64_t from = -1, behind = 0;
};
/// From here on what is enqueued is noted, in the order of the host's calls; what was noted before is forgotten.
void note_enqueued();
const std::vector<Enqueued>& enqueued();

/// Ends the process: the program asks for what no device would do.
[[noreturn]] void fail(const char* what);

}  // namespace lodestone::doubles
