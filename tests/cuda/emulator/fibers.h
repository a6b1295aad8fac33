// Fibers: the threads of one CUDA block on the host, each on a stack of its own, taking turns where they meet.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

struct uint3;
struct dim3;

namespace lodestone::emulator {

/// In which order the threads of a block get their turns. Whatever it is, one warp runs as far as barriers allow before the next one gets
/// its turn: that is the largest distance between warps, so a barrier that is missing shows as a result that depends on the order.
enum class ThreadOrder : uint8_t { ascending, descending, shuffled };

/// Of all blocks that are run from here on. `seed` is that of shuffled.
void set_thread_order(ThreadOrder order, uint64_t seed = 1);

/// A barrier that is left out on purpose: the n-th call of __syncthreads (from 0) that each thread of a block makes does nothing. -1: none.
/// For negative controls.
void skip_block_barrier(int n);

/// Runs body() once for each thread of each block, one block after the other. Aborts, saying block and thread, where threads do not meet
/// at the same barrier. `shared_bytes` of dynamic shared memory hold NaNs before each block, and with the address sanitizer what lies
/// behind them is poisoned.
void run_grid(dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()>& body);

// ---- what a thread of a running block asks -----------------------------------------------------------------------------
const uint3& thread_index();
const uint3& block_index();
const dim3& block_dimensions();
const dim3& grid_dimensions();
void* dynamic_shared();
int lane();

/// Returns when all threads of the block have called it.
void meet_in_block(const char* what);
/// Returns when all threads of the warp that `mask` names have called it, each with a value of at most 16 bytes: where these are found
/// until the next but one call, lane i's at i * lane_bytes.
constexpr size_t lane_bytes = 16;
const std::byte* meet_in_warp(uint32_t mask, const void* value, size_t size_bytes, const char* what);
/// Ends the process, saying block and thread.
[[noreturn]] void fail(const char* what);

}  // namespace lodestone::emulator
