#include "tests/cuda/doubles/streams.h"

#include <cuda_runtime_api.h>
#include <sched.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <memory>
#include <string_view>
#include <vector>

#include "tests/cuda/doubles/counts.h"
#include "tests/cuda/doubles/graphs.h"
#include "tests/cuda/doubles/runtime.h"

namespace lodestone::doubles {

namespace {

struct Stream;

struct Event {
  int64_t recorded = 0, done = 0;  // how often
  int64_t behind = 0;              // how much work of its stream, when it was recorded last
  uint64_t capture = 0;            // in which it was recorded last; 0: in none
  Stream* stream = nullptr;        // where it was recorded last
};

/// Something to run, something to try until it is done, or an event to wait for.
struct Item {
  std::function<void()> work{};
  std::function<bool()> step{};
  std::shared_ptr<Event> event{};
  int64_t count = 0;       // of the event
  Stream* from = nullptr;  // where it was recorded by then
};

struct Stream {
  std::deque<Item> items{};
  int64_t number = 0;  // of those that were ever made
  int64_t enqueued = 0, done = 0;
  int64_t work = 0;  // since note_enqueued()
  bool running = false, held = false;

  bool may_run() const {
    return !running && !items.empty() && (items.front().event == nullptr || items.front().event->done >= items.front().count);
  }
  /// False where the item is tried, and not done.
  bool run_one() {
    running = true;
    const bool is_done = !items.front().step || items.front().step();
    if (is_done) {
      const Item item = std::move(items.front());
      items.pop_front();
      if (item.work) item.work();
      ++done;
    }
    running = false;
    return is_done;
  }
};

struct State {
  std::vector<std::unique_ptr<Stream>> streams{};
  std::vector<std::unique_ptr<std::shared_ptr<Event>>> events{};
  Execution execution = Execution::at_once;
  uint64_t draw = 1;
  int64_t waits = 0, forgotten = -1;  // since forget_event()
  std::vector<int64_t> open{};        // of the waits, those for an event that was not over
  std::vector<Enqueued> noted{};
  bool noting = false;
};

/// What LODESTONE_DOUBLE_EXECUTION asks for, of a program that calls no set_execution(): a name, or "shuffled:" and a seed; at once without
/// it.
State asked_for() {
  State s;
  const char* const as = std::getenv("LODESTONE_DOUBLE_EXECUTION");
  if (as == nullptr) return s;
  const std::string_view asked = as, shuffled = "shuffled:";
  const std::string_view seed = asked.substr(std::min(asked.size(), shuffled.size()));
  if (asked == "late")
    s.execution = Execution::late;
  else if (asked == "oldest_first")
    s.execution = Execution::oldest_first;
  else if (asked == "newest_first")
    s.execution = Execution::newest_first;
  else if (asked.starts_with(shuffled) && std::from_chars(seed.data(), seed.data() + seed.size(), s.draw).ec == std::errc())
    s.execution = Execution::shuffled;
  else
    fail("LODESTONE_DOUBLE_EXECUTION is none of 'late', 'oldest_first', 'newest_first' and 'shuffled:SEED'");
  return s;
}

State& state() {
  static State s = asked_for();
  return s;
}

Stream& stream_of(cudaStream_t handle) {
  for (const auto& s : state().streams)
    if (reinterpret_cast<cudaStream_t>(s.get()) == handle) return *s;
  fail("work for a stream that does not exist (the default stream is not used here)");
}

std::shared_ptr<Event>& event_of(cudaEvent_t handle) {
  for (const auto& e : state().events)
    if (reinterpret_cast<cudaEvent_t>(e.get()) == handle) return *e;
  fail("an event that does not exist");
}

/// Runs what may run anywhere until nothing may.
void run_all() {
  for (bool ran = true; ran;) {
    ran = false;
    for (const auto& s : state().streams)
      while (s->may_run() && s->run_one()) ran = true;
  }
}

/// Drawn, or the oldest or newest. Null where none may, or where streams run as they are waited for.
Stream* chosen_to_run() {
  const Execution as = state().execution;
  if (as != Execution::shuffled && as != Execution::oldest_first && as != Execution::newest_first) return nullptr;
  std::vector<Stream*> all;
  for (const auto& s : state().streams)
    if (s->may_run()) all.push_back(s.get());
  if (all.empty()) return nullptr;
  if (as == Execution::oldest_first) return all.front();
  if (as == Execution::newest_first) return all.back();
  state().draw = state().draw * 6364136223846793005u + 1442695040888963407u;
  return all[(state().draw >> 33) % all.size()];
}

/// The stream whose next item must run before this one's can: itself, where its own can. Null where nothing leads there.
Stream* leading_to(Stream& stream) {
  Stream* next = &stream;
  for (size_t hops = 0; hops <= state().streams.size(); ++hops) {
    if (next->may_run()) return next;
    if (next->running || next->items.empty() || next->items.front().from == nullptr) break;
    next = next->items.front().from;
  }
  return nullptr;
}

Stream& first_to_run(Stream& stream) {
  Stream* const next = leading_to(stream);
  if (next == nullptr) fail("the host waits for what can never run");
  return *next;
}

/// Runs until `over`: no further than this stream needs, or as chosen.
template <class Over>
void run_until(Stream& stream, const Over& over) {
  while (!over()) {
    Stream* const chosen = chosen_to_run();
    if (!(chosen != nullptr ? *chosen : first_to_run(stream)).run_one()) sched_yield();
  }
}

void enqueue_item(Stream& stream, Item item) {
  if (dropping()) return;
  stream.items.push_back(std::move(item));
  ++stream.enqueued;
  if (state().execution == Execution::at_once) run_all();
}

void note(const Enqueued& what) {
  if (state().noting) state().noted.push_back(what);
}

/// Whether it is over. Asking again and again is a way of waiting: what has yet to run moves on by one item with each question.
cudaError_t over(Stream& stream, bool is_over) {
  ++counts().questions;
  if (is_over) return cudaSuccess;
  Stream* const chosen = chosen_to_run();
  Stream* const next = chosen != nullptr ? chosen : leading_to(stream);
  if (next != nullptr) next->run_one();
  return said(cudaErrorNotReady);
}

/// Whether LODESTONE_DOUBLE_FORGET, "FROM:TO", leaves out what stream number TO is to wait for in stream number FROM.
bool is_forgotten(const Stream* from, const Stream& to) {
  static const char* const said = std::getenv("LODESTONE_DOUBLE_FORGET");
  if (said == nullptr) return false;
  long numbers[2] = {};
  if (std::sscanf(said, "%ld:%ld", &numbers[0], &numbers[1]) != 2) fail("LODESTONE_DOUBLE_FORGET is not FROM:TO");
  return from != nullptr && from->number == numbers[0] && to.number == numbers[1];
}

void wait_for_stream(Stream& stream) {
  const int64_t end = stream.enqueued;
  run_until(stream, [&] { return stream.done >= end; });
}

}  // namespace

void set_execution(Execution execution, uint64_t seed) {
  run_all();
  state().execution = execution;
  state().draw = seed;
}

void enqueue(cudaStream_t stream, std::function<void()> work, std::span<const std::byte> bytes) {
  if (!captures(stream)) return enqueue_pieces(stream, {std::move(work)});
  if (!dropping()) record(stream, std::move(work), bytes);
}

void enqueue_pieces(cudaStream_t stream, const std::vector<std::function<void()>>& pieces) {
  note({.kind = Enqueued::Kind::work, .stream = stream_of(stream).number});
  ++stream_of(stream).work;
  for (const auto& piece : pieces) enqueue_item(stream_of(stream), {.work = piece});
}

void enqueue_shared(cudaStream_t stream, std::function<bool()> step) {
  note({.kind = Enqueued::Kind::verb, .stream = stream_of(stream).number});
  ++stream_of(stream).work;
  enqueue_item(stream_of(stream), {.step = std::move(step)});
}

void note_enqueued() {
  for (const auto& stream : state().streams) stream->work = 0;
  state().noted.clear();
  state().noting = true;
}

const std::vector<Enqueued>& enqueued() { return state().noted; }

void hold(cudaStream_t stream, bool held) { stream_of(stream).held = held; }

bool is_held(cudaStream_t stream) { return stream_of(stream).held; }

bool dropping() { return state().execution == Execution::dropped; }

const std::vector<int64_t>& open_events() { return state().open; }

void forget_event(int64_t n) {
  state().waits = 0;
  state().open.clear();
  state().forgotten = n;
}

void fail(const char* what) {
  std::fprintf(stderr, "CUDA double: %s\n", what);
  std::abort();
}

}  // namespace lodestone::doubles

using namespace lodestone::doubles;

extern "C" {

cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  *least = 0;
  *greatest = -5;
  return cudaSuccess;
}

cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned, int) {
  static int64_t number = 0;
  state().streams.push_back(std::make_unique<Stream>());
  state().streams.back()->number = number++;
  *stream = reinterpret_cast<cudaStream_t>(state().streams.back().get());
  return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) { return cudaStreamCreateWithPriority(stream, flags, 0); }

cudaError_t cudaStreamDestroy(cudaStream_t handle) {
  Stream& stream = stream_of(handle);
  drop_capture(handle);
  wait_for_stream(stream);
  std::erase_if(state().streams, [&](const auto& s) { return s.get() == &stream; });
  return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t handle) {
  if (const cudaError_t result = result_of("cudaStreamSynchronize"); result != cudaSuccess) return result;
  if (const cudaError_t result = question_to(handle); result != cudaSuccess) return result;
  ++counts().host_waits;
  wait_for_stream(stream_of(handle));
  return cudaSuccess;
}

cudaError_t cudaStreamQuery(cudaStream_t handle) {
  if (const cudaError_t result = result_of("cudaStreamQuery"); result != cudaSuccess) return result;
  if (const cudaError_t result = question_to(handle); result != cudaSuccess) return result;
  Stream& stream = stream_of(handle);
  return over(stream, stream.done >= stream.enqueued);
}

cudaError_t cudaStreamWaitEvent(cudaStream_t handle, cudaEvent_t event, unsigned) {
  if (const cudaError_t result = result_of("cudaStreamWaitEvent"); result != cudaSuccess) return result;
  ++counts().stream_waits;
  const std::shared_ptr<Event>& e = event_of(event);
  if (const auto result = wait_beside_captures(handle, e->capture); result.has_value()) return *result;
  const int64_t number = state().waits++;
  if (e->done < e->recorded) state().open.push_back(number);
  note({.kind = Enqueued::Kind::wait,
        .stream = stream_of(handle).number,
        .from = e->stream == nullptr ? -1 : e->stream->number,
        .behind = e->behind});
  if (number == state().forgotten || is_forgotten(e->stream, stream_of(handle))) return cudaSuccess;
  enqueue_item(stream_of(handle), {.event = e, .count = e->recorded, .from = e->stream});
  return cudaSuccess;
}

cudaError_t cudaDeviceSynchronize() {
  if (const cudaError_t result = beside_captures(Allowed::never); result != cudaSuccess) return result;
  const auto may_run = [](const auto& stream) { return stream->may_run(); };
  for (run_all(); std::any_of(state().streams.begin(), state().streams.end(), may_run); run_all()) sched_yield();
  return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  state().events.push_back(std::make_unique<std::shared_ptr<Event>>(std::make_shared<Event>()));
  *event = reinterpret_cast<cudaEvent_t>(state().events.back().get());
  return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  const auto* const which = &event_of(event);
  std::erase_if(state().events, [&](const auto& e) { return e.get() == which; });
  return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  if (const cudaError_t result = result_of("cudaEventRecord"); result != cudaSuccess) return result;
  if (const cudaError_t result = goes_on(stream); result != cudaSuccess) return result;
  ++counts().event_records;
  event_of(event)->capture = capture_in(stream);
  if (dropping() || captures(stream)) return cudaSuccess;
  if (stream_of(stream).held) fail("an event in a stream in which a library has yet to enqueue what was asked for before");
  const std::shared_ptr<Event> e = event_of(event);
  const int64_t count = ++e->recorded;
  e->stream = &stream_of(stream);
  e->behind = e->stream->work;
  if (e->stream->items.empty() && !e->stream->running) {  // nothing stands before it
    e->done = count;
    return cudaSuccess;
  }
  enqueue_item(stream_of(stream), {.work = [e, count] { e->done = std::max(e->done, count); }});
  return cudaSuccess;
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  if (const cudaError_t result = result_of("cudaEventQuery"); result != cudaSuccess) return result;
  const std::shared_ptr<Event>& e = event_of(event);
  if (const cudaError_t result = question_to_event(e->capture); result != cudaSuccess) return result;
  return e->stream == nullptr ? cudaSuccess : over(*e->stream, e->done >= e->recorded);
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  if (const cudaError_t result = result_of("cudaEventSynchronize"); result != cudaSuccess) return result;
  const std::shared_ptr<Event> e = event_of(event);
  if (const cudaError_t result = question_to_event(e->capture); result != cudaSuccess) return result;
  ++counts().host_waits;
  const int64_t count = e->recorded;
  if (e->done >= count) return cudaSuccess;
  run_until(*e->stream, [&] { return e->done >= count; });
  return cudaSuccess;
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t, cudaEvent_t) {
  *milliseconds = 0;
  return cudaSuccess;
}

}  // extern "C"
