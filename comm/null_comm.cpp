#include "comm/null_comm.h"

#include <bit>
#include <cstring>
#include <numeric>

#include "comm/verb_checks.h"
#include "core/rng.h"

namespace lodestone {

namespace {

/// Numbers the values that stand for those of other ranks. Communicators split off one another draw from one.
using Counter = std::shared_ptr<uint64_t>;

/// Bit patterns of a float format, read as integers: those from `smallest` (the least normal number) up to `one` are the numbers of [.,1).
template <class Bits>
constexpr Bits below_one(uint64_t number, Bits smallest, Bits one) {
  return static_cast<Bits>(one - 1 - number % static_cast<uint64_t>(one - smallest));
}

template <class T, class Value>
void fill(Tensor to, uint64_t& number, Value value) {
  for (T& element : to.host<T>()) element = value(number++);
}

/// Values of other ranks: finite, and different for different numbers as long as the dtype has more.
void fill(Tensor to, uint64_t& number) {
  switch (to.dtype()) {
    case DType::f64:
      return fill<double>(to, number, [](uint64_t k) {
        return std::bit_cast<double>(below_one<uint64_t>(k, uint64_t{0x001} << 52, uint64_t{0x3ff} << 52));
      });
    case DType::f32:
      return fill<float>(to, number, [](uint64_t k) { return std::bit_cast<float>(below_one<uint32_t>(k, 0x00800000u, 0x3f800000u)); });
    case DType::bf16:
      return fill<bfloat16>(to, number, [](uint64_t k) { return std::bit_cast<bfloat16>(below_one<uint16_t>(k, 0x0080u, 0x3f80u)); });
    case DType::i64:
      return fill<int64_t>(to, number, [](uint64_t k) { return static_cast<int64_t>(mix64(~k)); });
    case DType::i32:
      return fill<int32_t>(to, number, [](uint64_t k) { return static_cast<int32_t>(k & 0x7fffffffu); });
    case DType::u8:
      return fill<uint8_t>(to, number, [](uint64_t k) { return static_cast<uint8_t>(k); });
  }
  throw_internal(__FILE__, __LINE__, "dtype", "no such dtype");
}

/// Whether there is anything to write: not on Device::null.
bool writes(const char* verb, ConstTensor in, Tensor out) {
  if (out.device() == Device::null) return false;
  verbs::check_device(verb, Device::cpu, in, out);
  return true;
}

void copy(ConstTensor in, Tensor out) {
  if (!in.empty() && in.bytes() != out.bytes()) std::memmove(out.bytes(), in.bytes(), in.size_bytes());
}

class NullComm final : public Communicator {
 public:
  NullComm(int rank, int size, Counter counter) : rank_(rank), size_(size), counter_(std::move(counter)) {
    LODE_CHECK(rank >= 0 && rank < size, "rank ", rank, " of ", size);
  }
  int rank() const override { return rank_; }
  int size() const override { return size_; }
  std::unique_ptr<Communicator> split(int) override { return std::make_unique<NullComm>(rank_, size_, counter_); }

  Pending all_reduce(ConstTensor in, Tensor out, Reduce) override {
    verbs::check_all_reduce(in, out);
    if (writes("all_reduce", in, out)) copy(in, out);
    return {};
  }
  Pending all_gather(ConstTensor in, Tensor out, std::span<const int64_t> counts) override {
    verbs::check_all_gather(in, out, counts, rank_, size_);
    if (!writes("all_gather", in, out)) return {};
    const Slice own = own_part(counts);
    copy(in, out.slice(own));
    fill(out.slice({0, own.begin}), *counter_);
    fill(out.slice({own.end, out.count()}), *counter_);
    return {};
  }
  Pending reduce_scatter(ConstTensor in, Tensor out, std::span<const int64_t> counts) override {
    verbs::check_reduce_scatter(in, out, counts, rank_, size_);
    if (writes("reduce_scatter", in, out)) copy(in.slice(own_part(counts)), out);
    return {};
  }
  Pending broadcast(Tensor, int root) override {
    verbs::check_broadcast(root, size_);
    return {};
  }
  void barrier() override {}

 protected:
  void wait(std::span<std::byte, 16>) override {}
  bool test(std::span<std::byte, 16>) override { return true; }

 private:
  /// Which elements of all ranks', counts [W] of each one behind the other, are this rank's.
  Slice own_part(std::span<const int64_t> counts) const {
    const auto own = counts.begin() + rank_;
    const int64_t begin = std::accumulate(counts.begin(), own, int64_t{0});
    return {begin, begin + *own};
  }

  int rank_, size_;
  Counter counter_;
};

}  // namespace

std::unique_ptr<Communicator> make_null_comm(int rank, int size) {
  return std::make_unique<NullComm>(rank, size, std::make_shared<uint64_t>(0));
}

}  // namespace lodestone
