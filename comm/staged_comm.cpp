#include "comm/staged_comm.h"

#include <algorithm>
#include <cstring>
#include <exception>

#include "comm/verb_checks.h"

namespace lodestone {

namespace {

/// The first bytes of the memory, on the host, as a tensor like x. The memory grows where it must.
Tensor staged(std::vector<std::byte>& memory, ConstTensor x) {
  if (memory.size() < x.size_bytes()) memory.resize(x.size_bytes());
  return {memory.data(), x.dtype(), x.shape()};
}

}  // namespace

StagedComm::StagedComm(std::unique_ptr<Communicator> host, Backend& backend)
    : StagedComm(std::move(host), backend, std::make_shared<Asked>()) {}

StagedComm::StagedComm(std::unique_ptr<Communicator> host, Backend& backend, std::shared_ptr<Asked> asked)
    : host_(std::move(host)), backend_(backend), asked_(std::move(asked)) {}

StagedComm::~StagedComm() {
  // For uploads from the slots. While an exception is under way, what is enqueued may read memory that is gone.
  if (!slots_.empty() && std::uncaught_exceptions() == 0) wait_for_backend();
}

std::unique_ptr<Communicator> StagedComm::split(int colour) {
  return std::unique_ptr<Communicator>(new StagedComm(host_->split(colour), backend_, asked_));
}

void StagedComm::wait_for_backend() {
  ++asked_->waits;
  backend_.wait_for(backend_.record());
}

StagedComm::Slot& StagedComm::stage(const char* verb, ConstTensor in, Tensor to) {
  verbs::check_device(verb, backend_.device(), in, to);
  auto slot = std::find_if(slots_.begin(), slots_.end(), [](const Slot& s) { return !s.busy; });
  if (slot == slots_.end()) slot = slots_.emplace(slots_.end());
  const Tensor host = staged(slot->in, in);
  if (!in.empty()) {
    ++asked_->downloads;
    backend_.download(in, host);
  }
  wait_for_backend();  // also for the upload from this slot before
  staged(slot->out, to);
  slot->to = to;
  return *slot;
}

Pending StagedComm::pending(Slot& slot, Pending verb) {
  slot.verb = std::move(verb);
  slot.busy = true;
  const auto place = std::find_if(slots_.begin(), slots_.end(), [&](const Slot& s) { return &s == &slot; });
  const int64_t index = place - slots_.begin();
  std::array<std::byte, 16> request{};
  std::memcpy(request.data(), &index, sizeof index);
  return {this, request};
}

StagedComm::Slot& StagedComm::slot_of(std::span<const std::byte, 16> request) {
  int64_t index = 0;
  std::memcpy(&index, request.data(), sizeof index);
  return slots_[static_cast<size_t>(index)];
}

void StagedComm::finish(Slot& slot) {
  if (!slot.to.empty()) backend_.upload(staged(slot.out, slot.to), slot.to);
  slot.busy = false;
}

void StagedComm::wait(std::span<std::byte, 16> request) {
  Slot& slot = slot_of(request);
  slot.verb.wait();
  finish(slot);
}

bool StagedComm::test(std::span<std::byte, 16> request) {
  Slot& slot = slot_of(request);
  if (!slot.verb.test()) return false;
  finish(slot);
  return true;
}

Pending StagedComm::all_reduce(ConstTensor in, Tensor out, Reduce op) {
  Slot& slot = stage("all_reduce", in, out);
  return pending(slot, host_->all_reduce(staged(slot.in, in), staged(slot.out, out), op));
}

Pending StagedComm::all_gather(ConstTensor in, Tensor out, std::span<const int64_t> counts) {
  Slot& slot = stage("all_gather", in, out);
  return pending(slot, host_->all_gather(staged(slot.in, in), staged(slot.out, out), counts));
}

Pending StagedComm::reduce_scatter(ConstTensor in, Tensor out, std::span<const int64_t> counts) {
  verbs::check_reduce_scatter(in, out, counts, rank(), size());  // the host's copies never overlap
  Slot& slot = stage("reduce_scatter", in, out);
  return pending(slot, host_->reduce_scatter(staged(slot.in, in), staged(slot.out, out), counts));
}

Pending StagedComm::broadcast(Tensor data, int root) {
  const bool sends = rank() == root;
  Slot& slot = stage("broadcast", sends ? data : Tensor(), sends ? Tensor() : data);
  return pending(slot, host_->broadcast(staged(sends ? slot.in : slot.out, data), root));
}

void StagedComm::barrier() {
  wait_for_backend();
  host_->barrier();
}

DrainingComm::DrainingComm(Communicator& host, Backend& backend) : host_(host), backend_(backend), waits_(std::make_shared<int64_t>(0)) {}

DrainingComm::DrainingComm(std::unique_ptr<Communicator> owned, Backend& backend, std::shared_ptr<int64_t> waits)
    : owned_(std::move(owned)), host_(*owned_), backend_(backend), waits_(std::move(waits)) {}

Communicator& DrainingComm::drained() {
  ++*waits_;
  backend_.synchronize();
  return host_;
}

std::unique_ptr<Communicator> DrainingComm::split(int colour) {
  return std::unique_ptr<Communicator>(new DrainingComm(drained().split(colour), backend_, waits_));
}

Pending DrainingComm::all_reduce(ConstTensor in, Tensor out, Reduce op) { return drained().all_reduce(in, out, op); }

Pending DrainingComm::all_gather(ConstTensor in, Tensor out, std::span<const int64_t> counts) {
  return drained().all_gather(in, out, counts);
}

Pending DrainingComm::reduce_scatter(ConstTensor in, Tensor out, std::span<const int64_t> counts) {
  return drained().reduce_scatter(in, out, counts);
}

Pending DrainingComm::broadcast(Tensor data, int root) { return drained().broadcast(data, root); }

void DrainingComm::barrier() { drained().barrier(); }

}  // namespace lodestone
