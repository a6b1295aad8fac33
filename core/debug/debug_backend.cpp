#include "core/debug/debug_backend.h"

#include <algorithm>
#include <cstring>
#include <exception>

#include "core/checks.h"

namespace lodestone {

namespace {

/// FNV-1a over words of 8 bytes, the last one filled up with zeros.
uint64_t checksum(const std::byte* data, size_t size_bytes) {
  uint64_t h = 14695981039346656037u;
  for (size_t i = 0; i < size_bytes; i += sizeof(uint64_t)) {
    uint64_t word = 0;
    std::memcpy(&word, data + i, std::min(sizeof word, size_bytes - i));
    h = (h ^ word) * 1099511628211u;
    h ^= h >> 32;
  }
  return h;
}

/// Bits that are a NaN in every float format, and -1 in every integer.
void poison(std::byte* data, size_t size_bytes) { std::memset(data, 0xff, size_bytes); }

void need_host(const char* verb, ConstTensor x) {
  LODE_CHECK(x.empty() || x.device() == Device::cpu, verb, ": ", name_of(x.dtype()), " ", x.shape(), " does not lie on the host");
}

/// A device may go by text_of and place where the backend inside goes by offsets. All on the host.
void check_token_places(const DeviceTexts& texts) {
  if (texts.tokens() == 0) return;
  const auto offsets = texts.offsets.host<int64_t>();
  const auto text_of = texts.text_of.host<int32_t>(), place = texts.place.host<int32_t>();
  for (int64_t b = 0; b < texts.texts(); ++b) {
    const int64_t begin = offsets[static_cast<size_t>(b)], end = offsets[static_cast<size_t>(b) + 1];
    for (int64_t s = begin; s < end; ++s) {
      const auto i = static_cast<size_t>(s);
      LODE_CHECK(text_of[i] == b && place[i] == s - begin, "token ", s, " is said to be token ", place[i], " of text ", text_of[i],
                 ", by the offsets it is token ", s - begin, " of text ", b);
    }
  }
}

}  // namespace

struct DebugBackend::Copy {
  const std::byte* from = nullptr;
  std::byte* to = nullptr;
  size_t size_bytes = 0;
  int64_t operation = 0;
  bool is_upload = false;
  uint64_t checksum = 0;          // of the source of an upload, when it was called
  const Arena* arena = nullptr;   // of the scope in which it was called; null: none
  int depth = 0;                  // of that scope
  std::vector<std::byte> kept{};  // the source of an upload whose scope has ended
  bool over = false;              // it has run, or there is nowhere to copy to any more

  void run(const History& history) {
    if (over) return;
    over = true;
    if (is_upload && kept.empty()) check_source(history);
    std::memcpy(to, from, size_bytes);
  }
  void end_scope(const History& history) noexcept {
    if (is_upload) {
      check_source(history);
      kept.assign(from, from + size_bytes);
      from = kept.data();
    } else {
      // While an exception is under way nobody waits for what was asked for.
      if (std::uncaught_exceptions() == 0) abort_with_history("a download was still under way when its scope ended", operation, history);
      over = true;
    }
  }
  void check_source(const History& history) const noexcept {
    if (lodestone::checksum(from, size_bytes) == checksum) return;
    abort_with_history(arena != nullptr ? "the source of an upload changed before its scope ended"
                                        : "the source of an upload changed before synchronize()",
                       operation, history);
  }
};

DebugBackend::DebugBackend(std::unique_ptr<Backend> inner, Launches launches)
    : inner_(std::move(inner)), launches_(launches), report_(memory_, history_) {
  LODE_CHECK(inner_->device() == Device::cpu, "a debug backend computes by one of the CPU, not by ", inner_->description());
  memory_.observe(this);
}

DebugBackend::~DebugBackend() { memory_.observe(nullptr); }

ConstTensor DebugBackend::upload(ConstTensor host, Arena& arena) {
  const Tensor to = arena.tensor(host.dtype(), host.shape());
  enqueue_upload(host, to, &arena);
  return to;
}

void DebugBackend::upload(ConstTensor host, Tensor to) {
  checks::shape("upload", "the target", to, host.shape());
  checks::dtype("upload", "the target", to, host.dtype());
  enqueue_upload(host, to, nullptr);
}

ConstTensor DebugBackend::download(ConstTensor x, Arena& arena) {
  const Tensor host(arena.array<std::byte>(static_cast<int64_t>(x.size_bytes())).data(), x.dtype(), x.shape());
  enqueue_download(x, host, &arena);
  return host;
}

void DebugBackend::download(ConstTensor x, Tensor host) {
  checks::shape("download", "the target", host, x.shape());
  checks::dtype("download", "the target", host, x.dtype());
  enqueue_download(x, host, nullptr);
}

void DebugBackend::enqueue_upload(ConstTensor source, Tensor to, const Arena* arena) {
  need_host("upload: the source", source);
  ++transfers_.uploads;
  if (source.empty()) return;
  Call call(memory_, "upload");
  call.tensor(to, "the target");
  Copy copy{.from = source.bytes(), .to = memory_.open(to.bytes()), .size_bytes = source.size_bytes(), .is_upload = true};
  copy.checksum = checksum(copy.from, copy.size_bytes);
  enqueue_copy(call, std::move(copy), arena);
}

void DebugBackend::enqueue_download(ConstTensor x, Tensor host, const Arena* arena) {
  need_host("download: the target", host);
  ++transfers_.downloads;
  if (x.empty()) return;
  Call call(memory_, "download");
  call.tensor(x, "the source");
  poison(host.bytes(), host.size_bytes());
  enqueue_copy(call, {.from = memory_.open(x.bytes()), .to = host.bytes(), .size_bytes = x.size_bytes()}, arena);
}

void DebugBackend::enqueue_copy(const Call& call, Copy copy, const Arena* arena) {
  need_no_stretch(call.name());
  transfers_.copied_bytes += static_cast<int64_t>(copy.size_bytes);
  const auto shared = std::make_shared<Copy>(std::move(copy));
  shared->operation = history_.enqueued();
  if (arena != nullptr && arena->depth() > 0) {
    shared->arena = arena;
    shared->depth = arena->depth();
    scoped_.push_back(shared);
  }
  enqueue(call, [this, shared] { shared->run(history_); });
}

void DebugBackend::enqueue(const Call& call, std::function<void()> run) {
  Operation operation{call.name(), std::move(run)};
  for (const DebugMemory::Range& tensor : call.tensors()) {
    const DebugMemory::Range fresh = memory_.first_use(tensor);
    if (fresh.size_bytes == 0) continue;
    operation.run = [this, fresh, inner = std::move(operation.run)] {
      poison(memory_.at(fresh.begin), fresh.size_bytes);
      inner();
    };
  }
  queue_.push_back(std::move(operation));
  history_.enqueue(call.name(), call.tensors());
}

void DebugBackend::replay(const ReplayName& name, const std::function<void()>& operations) {
  if (!replays()) return operations();
  need_no_stretch("replay");
  std::vector<CallTrace> calls;
  stretch_ = &calls;
  try {
    operations();
  } catch (...) {
    stretch_ = nullptr;
    throw;
  }
  stretch_ = nullptr;
  const auto [found, is_new] = stretches_.try_emplace(name, calls);
  if (is_new) return;
  const auto& before = found->second;
  LODE_CHECK(calls.size() == before.size(), "a stretch of ", calls.size(), " operations had ", before.size(), " under the same name");
  for (size_t i = 0; i < calls.size(); ++i)
    LODE_CHECK(calls[i] == before[i], "operation ", i, " of a stretch, ", calls[i].operation, ", was ", before[i].operation,
               " with other operands or values under the same name");
}

void DebugBackend::need_no_stretch(const char* verb) const {
  LODE_CHECK(stretch_ == nullptr, verb, " in a stretch that may be replayed, which operations alone belong to");
}

Event DebugBackend::record() {
  need_no_stretch("record");
  return {history_.enqueued()};
}

void DebugBackend::synchronize() {
  need_no_stretch("synchronize");
  ++transfers_.waits;
  run_until(history_.enqueued());
}

void DebugBackend::wait_for(Event event) {
  need_no_stretch("wait_for");
  LODE_CHECK(event.number <= history_.enqueued(), "waiting for operation ", event.number, " of ", history_.enqueued());
  ++transfers_.waits;
  run_until(event.number);
}

void DebugBackend::run_until(int64_t end) {
  while (history_.done() < end) {
    const Operation operation = std::move(queue_.front());
    queue_.pop_front();
    const int64_t number = history_.done();
    history_.done(number + 1);
    try {
      operation.run();
    } catch (Error& error) {
      queue_.clear();
      scoped_.clear();
      history_.done(history_.enqueued());
      error.at("operation", cat(number, " ", operation.name));
      throw;
    }
  }
  memory_.reclaim(history_.done());
}

void DebugBackend::scope_ended(const Arena& arena, DebugMemory::Range released) noexcept {
  std::erase_if(scoped_, [&](const std::shared_ptr<Copy>& copy) {
    if (copy->over) return true;
    if (copy->arena != &arena || copy->depth < arena.depth()) return false;
    copy->end_scope(history_);
    return true;
  });
  const DebugMemory::Range used = memory_.used_part(released);
  if (used.size_bytes == 0) return;
  queue_.push_back({"end of a scope", [this, used] { poison(memory_.at(used.begin), used.size_bytes); }});
  history_.enqueue("end of a scope", std::span(&used, 1));
}

DeviceTexts DebugBackend::open(DeviceTexts texts) const {
  for (ConstTensor* x : {&texts.ids, &texts.offsets, &texts.keys, &texts.second, &texts.text_of, &texts.place}) *x = open(*x);
  check_token_places(texts);
  return texts;
}

void DebugBackend::Call::argument(const DeviceTexts& texts) {
  ++argument_;
  tensor(texts.ids, "ids");
  tensor(texts.offsets, "offsets");
  tensor(texts.keys, "keys");
  tensor(texts.second, "second");
  tensor(texts.text_of, "text_of");
  tensor(texts.place, "place");
  for (const auto& [part, x] : {std::pair("text_of", texts.text_of), {"place", texts.place}})
    LODE_CHECK(x.count() == texts.tokens(), name_, ": argument ", argument_, " has ", x.count(), " elements of ", part, " for ",
               texts.tokens(), " tokens");
}

void DebugBackend::Call::argument(const DeviceMasks& masks) {
  ++argument_;
  tensor(masks.bits, "bits");
  tensor(masks.first, "first");
  tensor(masks.of_row, "of_row");
}

void DebugBackend::Call::tensor(ConstTensor x, const char* part) {
  if (x.empty()) return;
  LODE_CHECK(x.device() == Device::debug && memory_.contains(x.bytes(), x.size_bytes()), name_, ": ",
             argument_ > 0 ? cat("argument ", argument_, *part != '\0' ? " " : "") : "", part, ", ", name_of(x.dtype()), " ", x.shape(),
             x.device() == Device::debug ? ", lies outside of what the debug device has given out" : ", does not lie on the debug device");
  if (count_ < tensors_.size()) tensors_[count_++] = {memory_.offset_of(x.bytes()), x.size_bytes()};
}

}  // namespace lodestone
