#include "core/cuda/staging.h"

#include <algorithm>
#include <cstring>

#include "core/cuda/cuda_call.h"

namespace lodestone::cuda {

namespace {

constexpr size_t block_bytes = size_t{4} << 20;  // larger copies go in pieces
constexpr size_t most_blocks = 8;

}  // namespace

Staging::~Staging() {
  cudaStreamSynchronize(stream_);
  for (const Block& b : blocks_) cudaFreeHost(b.memory);
}

void Staging::deliver(Block& block) {
  if (block.host != nullptr) std::memcpy(block.host, block.memory, block.used_bytes);
  block.busy = false;
}

Staging::Block& Staging::free_block(size_t size_bytes) {
  while (!in_flight_.empty() && in_flight_.front()->host == nullptr && is_over(in_flight_.front()->over.handle)) {
    deliver(*in_flight_.front());
    in_flight_.pop_front();
  }
  const auto idle = std::find_if(blocks_.begin(), blocks_.end(), [&](const Block& b) { return !b.busy && b.size_bytes >= size_bytes; });
  if (idle != blocks_.end()) return *idle;
  if (blocks_.size() < most_blocks) {
    void* memory = nullptr;
    check(cudaMallocHost(&memory, block_bytes), "cudaMallocHost");
    Block& made = blocks_.emplace_back();
    made.memory = static_cast<std::byte*>(memory);
    made.size_bytes = block_bytes;
    return made;
  }
  Block& oldest = *in_flight_.front();
  in_flight_.pop_front();
  check(wait_.for_event(oldest.over.handle), "a copy");
  deliver(oldest);
  return oldest;
}

void Staging::upload(const std::byte* host, std::byte* device, size_t size_bytes) {
  for (size_t begin = 0; begin < size_bytes; begin += block_bytes) {
    const size_t piece = std::min(block_bytes, size_bytes - begin);
    Block& block = free_block(piece);
    std::memcpy(block.memory, host + begin, piece);
    check(cudaMemcpyAsync(device + begin, block.memory, piece, cudaMemcpyHostToDevice, stream_), "an upload");
    check(cudaEventRecord(block.over.handle, stream_), "an upload");
    block.busy = true;
    block.host = nullptr;
    in_flight_.push_back(&block);
  }
}

void Staging::download(const std::byte* device, std::byte* host, size_t size_bytes, int64_t number) {
  for (size_t begin = 0; begin < size_bytes; begin += block_bytes) {
    const size_t piece = std::min(block_bytes, size_bytes - begin);
    Block& block = free_block(piece);
    check(cudaMemcpyAsync(block.memory, device + begin, piece, cudaMemcpyDeviceToHost, stream_), "a download");
    check(cudaEventRecord(block.over.handle, stream_), "a download");
    block.busy = true;
    block.host = host + begin;
    block.used_bytes = piece;
    block.number = number;
    in_flight_.push_back(&block);
  }
}

void Staging::finish(int64_t number) {
  while (!in_flight_.empty() &&
         (in_flight_.front()->host == nullptr ? is_over(in_flight_.front()->over.handle) : in_flight_.front()->number <= number)) {
    deliver(*in_flight_.front());
    in_flight_.pop_front();
  }
}

}  // namespace lodestone::cuda
