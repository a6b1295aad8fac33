#include "tests/cuda/emulator/fibers.h"

#include <vector_types.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <numeric>
#include <vector>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace lodestone::emulator {

namespace {

constexpr size_t stack_bytes = (size_t{128} << 10) + 17 * 64;  // a power of two would put all stacks into the same lines of a cache
constexpr int warp_size = 32;
constexpr int most_threads = 1024;

struct Fiber {
  void* stack_pointer = nullptr;
  std::byte* stack = nullptr;
  uint3 index{};
  int number = 0;
  bool done = false;
  const char* waits_in = nullptr;  // the barrier; null: it may run
  bool waits_for_block = false;
  unsigned generation = 0;     // of the barrier, when it arrived there
  int barriers = 0;            // calls of the block's barrier so far
  void* fake_stack = nullptr;  // of the address sanitizer
};

/// A place where some threads meet, again and again.
struct Warp {
  int arrived = 0;
  unsigned generation = 0;
  const char* what = nullptr;
  alignas(16) std::byte values[2][warp_size * lane_bytes] = {};
};

struct Block {
  dim3 grid, size;
  uint3 index{};
  std::vector<Fiber> fibers{};
  std::vector<Warp> warps{};
  std::vector<int> turns{};
  std::vector<std::byte> shared{};
  const std::function<void()>* body = nullptr;
  Fiber* running = nullptr;
  void* scheduler = nullptr;
  int arrived = 0, alive = 0;
  unsigned generation = 0;
  void* fake_stack = nullptr;
  const void* scheduler_stack = nullptr;
  size_t scheduler_bytes = 0;
};

ThreadOrder thread_order = ThreadOrder::ascending;
uint64_t order_seed = 1;
int skipped_barrier = -1;
Block* current = nullptr;

int threads_of(const dim3& size) { return static_cast<int>(size.x * size.y * size.z); }

}  // namespace

extern "C" void lodestone_switch_stack(void** save, void* to);
// Saves what a call must keep, changes the stack, and takes up what was saved there.
asm(R"(.text
.globl lodestone_switch_stack
.type lodestone_switch_stack,@function
lodestone_switch_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp,(%rdi)
  movq %rsi,%rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size lodestone_switch_stack,.-lodestone_switch_stack
)");

namespace {

#ifdef __SANITIZE_ADDRESS__
void before_switch(void** keep_fake, const void* stack, size_t size) { __sanitizer_start_switch_fiber(keep_fake, stack, size); }
void after_switch(void* fake, const void** from, size_t* size) { __sanitizer_finish_switch_fiber(fake, from, size); }
void poison_behind(const std::byte* begin, size_t size) { __asan_poison_memory_region(begin, size); }
void unpoison(const std::byte* begin, size_t size) { __asan_unpoison_memory_region(begin, size); }
#else
void before_switch(void**, const void*, size_t) {}
void after_switch(void*, const void**, size_t*) {}
void poison_behind(const std::byte*, size_t) {}
void unpoison(const std::byte*, size_t) {}
#endif

void to_scheduler(bool last) {
  Block& b = *current;
  Fiber& f = *b.running;
  before_switch(last ? nullptr : &f.fake_stack, b.scheduler_stack, b.scheduler_bytes);
  lodestone_switch_stack(&f.stack_pointer, b.scheduler);
  after_switch(f.fake_stack, &b.scheduler_stack, &b.scheduler_bytes);
}

void run_thread() {
  Block& b = *current;
  after_switch(nullptr, &b.scheduler_stack, &b.scheduler_bytes);
  (*b.body)();
  b.running->done = true;
  --b.alive;
  to_scheduler(true);
  std::abort();
}

void to_fiber(Block& b, Fiber& f) {
  b.running = &f;
  before_switch(&b.fake_stack, f.stack, stack_bytes);
  lodestone_switch_stack(&b.scheduler, f.stack_pointer);
  after_switch(b.fake_stack, nullptr, nullptr);
}

/// A stack on which lodestone_switch_stack() finds run_thread() to return to.
void prepare(Fiber& f) {
  f.done = f.waits_for_block = false;
  f.waits_in = nullptr;
  f.barriers = 0;
  std::byte* const end = f.stack + stack_bytes;
  auto* top = reinterpret_cast<void**>(end - reinterpret_cast<uintptr_t>(end) % 16);
  *--top = nullptr;
  *--top = reinterpret_cast<void*>(&run_thread);
  top -= 6;
  std::fill_n(top, 6, nullptr);
  f.stack_pointer = top;
}

/// Which thread gets its turn when: whole warps, in some order, and in some order inside.
void order_turns(Block& b) {
  const int threads = static_cast<int>(b.fibers.size());
  b.turns.resize(b.fibers.size());
  std::iota(b.turns.begin(), b.turns.end(), 0);
  if (thread_order == ThreadOrder::descending) std::reverse(b.turns.begin(), b.turns.end());
  if (thread_order != ThreadOrder::shuffled) return;
  uint64_t state = order_seed;
  const auto below = [&](int n) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return static_cast<int>((state >> 33) % static_cast<uint64_t>(n));
  };
  const auto shuffle = [&](auto begin, auto end) {
    for (auto n = static_cast<int>(end - begin); n > 1; --n) std::iter_swap(begin + n - 1, begin + below(n));
  };
  std::vector<int> warps(b.warps.size());
  std::iota(warps.begin(), warps.end(), 0);
  shuffle(warps.begin(), warps.end());
  auto at = b.turns.begin();
  for (const int w : warps) {
    const auto begin = at;
    for (int t = w * warp_size; t < std::min(threads, (w + 1) * warp_size); ++t) *at++ = t;
    shuffle(begin, at);
  }
}

bool may_run(const Block& b, Fiber& f) {
  if (f.done) return false;
  if (f.waits_in == nullptr) return true;
  const unsigned now = f.waits_for_block ? b.generation : b.warps[static_cast<size_t>(f.number / warp_size)].generation;
  if (now == f.generation) return false;
  f.waits_in = nullptr;
  return true;
}

/// Gives each of these threads turns until none of them can go on. False: none could from the start.
bool run_warp(Block& b, size_t begin, size_t end) {
  bool ran = false;
  for (bool again = true; again;) {
    again = false;
    for (size_t k = begin; k < end; ++k) {
      Fiber& f = b.fibers[static_cast<size_t>(b.turns[k])];
      if (!may_run(b, f)) continue;
      to_fiber(b, f);
      ran = again = true;
    }
  }
  return ran;
}

void run_block(Block& b) {
  b.alive = static_cast<int>(b.fibers.size());
  b.arrived = 0;
  for (Warp& w : b.warps) w.arrived = 0;
  for (Fiber& f : b.fibers) prepare(f);
  // A warp ends at another place of `turns` when threads go downwards: the incomplete one comes first there.
  const size_t threads = b.turns.size();
  while (b.alive > 0) {
    bool ran = false;
    for (size_t begin = 0; begin < threads;) {
      size_t end = begin + 1;
      while (end < threads && b.turns[end] / warp_size == b.turns[begin] / warp_size) ++end;
      ran = run_warp(b, begin, end) || ran;
      begin = end;
    }
    if (ran) continue;
    for (const Fiber& f : b.fibers)
      if (!f.done) std::fprintf(stderr, "emulator: thread %d waits in %s\n", f.number, f.waits_in != nullptr ? f.waits_in : "?");
    b.running = nullptr;
    fail("threads of a block or warp do not meet at the same barrier");
  }
}

/// Memory for the stacks of a block's threads, kept from launch to launch.
std::byte* stacks(size_t threads) {
  static std::unique_ptr<std::byte[]> memory;
  static size_t held = 0;
  if (held < threads) {
    memory.reset(new std::byte[threads * stack_bytes]);  // not touched before a thread does
    held = threads;
  }
  return memory.get();
}

}  // namespace

void set_thread_order(ThreadOrder order, uint64_t seed) {
  thread_order = order;
  order_seed = seed;
}

void skip_block_barrier(int n) { skipped_barrier = n; }

void run_grid(dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()>& body) {
  const int threads = threads_of(block);
  if (threads < 1 || threads > most_threads || shared_bytes > (size_t{227} << 10) || grid.y > 65535 || grid.z > 65535) {
    std::fprintf(stderr, "emulator: a grid of %u x %u x %u blocks of %d threads with %zu bytes of shared memory cannot be launched\n",
                 grid.x, grid.y, grid.z, threads, shared_bytes);
    std::abort();
  }
  constexpr size_t guard_bytes = 4096;
  Block b{.grid = grid, .size = block};
  b.fibers.resize(static_cast<size_t>(threads));
  b.warps.resize(static_cast<size_t>((threads + warp_size - 1) / warp_size));
  b.shared.resize(shared_bytes + guard_bytes);
  b.body = &body;
  std::byte* const memory = stacks(b.fibers.size());
  for (int i = 0; i < threads; ++i) {
    Fiber& f = b.fibers[static_cast<size_t>(i)];
    const auto t = static_cast<unsigned>(i);
    f.stack = memory + static_cast<size_t>(i) * stack_bytes;
    f.number = i;
    f.index = {t % block.x, t / block.x % block.y, t / (block.x * block.y)};
  }
  order_turns(b);
  poison_behind(b.shared.data() + shared_bytes, guard_bytes);
  Block* const outer = current;
  current = &b;
  for (unsigned z = 0; z < grid.z; ++z)
    for (unsigned y = 0; y < grid.y; ++y)
      for (unsigned x = 0; x < grid.x; ++x) {
        b.index = {x, y, z};
        std::memset(b.shared.data(), 0xff, shared_bytes);
        run_block(b);
      }
  current = outer;
  unpoison(b.shared.data() + shared_bytes, guard_bytes);
}

const uint3& thread_index() { return current->running->index; }
const uint3& block_index() { return current->index; }
const dim3& block_dimensions() { return current->size; }
const dim3& grid_dimensions() { return current->grid; }
void* dynamic_shared() { return current->shared.data(); }
int lane() { return current->running->number % warp_size; }

void meet_in_block(const char* what) {
  Block& b = *current;
  Fiber& f = *b.running;
  if (f.barriers++ == skipped_barrier) return;
  const auto threads = static_cast<int>(b.fibers.size());
  if (b.alive != threads) fail("__syncthreads after a thread of the block has returned");
  if (++b.arrived == threads) {
    b.arrived = 0;
    ++b.generation;
    return;
  }
  f.waits_in = what;
  f.waits_for_block = true;
  f.generation = b.generation;
  to_scheduler(false);
}

const std::byte* meet_in_warp(uint32_t mask, const void* value, size_t size_bytes, const char* what) {
  Block& b = *current;
  Fiber& f = *b.running;
  Warp& w = b.warps[static_cast<size_t>(f.number / warp_size)];
  const int members = std::min(warp_size, static_cast<int>(b.fibers.size()) - f.number / warp_size * warp_size);
  const uint32_t all = members == warp_size ? ~uint32_t{0} : (uint32_t{1} << members) - 1;
  if (mask != all) fail("a warp intrinsic whose mask is not all threads of the warp");
  if (w.arrived > 0 && w.what != what) fail("threads of a warp meet in different intrinsics");
  if (size_bytes > lane_bytes) fail("a warp intrinsic of more than 16 bytes");
  std::byte* const values = w.values[w.generation % 2];
  w.what = what;
  if (size_bytes > 0) std::memcpy(values + static_cast<size_t>(lane()) * lane_bytes, value, size_bytes);
  if (++w.arrived == members) {
    w.arrived = 0;
    ++w.generation;
    return values;
  }
  f.waits_in = what;
  f.waits_for_block = false;
  f.generation = w.generation;
  to_scheduler(false);
  return values;
}

void fail(const char* what) {
  std::fprintf(stderr, "emulator: %s (block %u,%u,%u thread %d)\n", what, current->index.x, current->index.y, current->index.z,
               current->running != nullptr ? current->running->number : -1);
  std::abort();
}

}  // namespace lodestone::emulator
