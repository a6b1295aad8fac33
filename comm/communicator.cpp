// What every communicator shares: the life of a Pending, and the waiting forms for host scalars and text.
#include "comm/communicator.h"

#include <exception>

namespace lodestone {

Pending& Pending::operator=(Pending&& other) noexcept {
  if (this != &other) {
    wait();
    owner_ = other.owner_;
    request_ = other.request_;
    other.owner_ = nullptr;
  }
  return *this;
}

Pending::~Pending() {
  // While an exception is under way this rank is about to end the job: the other ranks may never answer, so do not wait.
  if (owner_ != nullptr && std::uncaught_exceptions() == 0) wait();
}

void Pending::wait() {
  if (owner_ == nullptr) return;
  Communicator* owner = owner_;
  owner_ = nullptr;
  owner->wait(request_);
}

bool Pending::test() {
  if (owner_ == nullptr) return true;
  if (!owner_->test(request_)) return false;
  owner_ = nullptr;
  return true;
}

void all_reduce(Communicator& comm, std::span<double> values, Reduce op) {
  const Tensor t = view(values);
  comm.all_reduce(t, t, op).wait();
}

void all_reduce(Communicator& comm, std::span<int64_t> values, Reduce op) {
  const Tensor t = view(values);
  comm.all_reduce(t, t, op).wait();
}

void broadcast(Communicator& comm, std::string& text, int root) {
  std::array<int64_t, 1> length{static_cast<int64_t>(text.size())};
  comm.broadcast(view(std::span<int64_t>(length)), root).wait();
  text.resize(static_cast<size_t>(length[0]));
  const Tensor bytes(reinterpret_cast<std::byte*>(text.data()), DType::u8, Shape{length[0]});
  comm.broadcast(bytes, root).wait();
}

}  // namespace lodestone
