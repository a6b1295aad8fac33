// Do sums over ranks by NCCL travel beside the backward that is still to come, without the host, to the same bits in any order of streams,
// and is every event that orders them needed?
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <iterator>

#include "comm/grad_sync.h"
#include "comm/planes.h"
#include "core/cuda/cuda_backend.h"
#include "core/optim/adamw.h"
#include "tests/cuda/doubles/counts.h"
#include "tests/cuda/doubles/streams.h"
#include "tests/support/mpi_world.h"
#include "tests/support/tiny_model.h"

namespace lodestone::test {
namespace {

using doubles::Enqueued, doubles::Execution;
using Update = GradSync::Update;

constexpr int64_t piece_bytes = 1024;

EmbedderConfig four_layers() {
  EmbedderConfig config;
  config.encoder = {.vocab = 20, .hidden = 8, .layers = 4, .heads = 2, .feed_forward = 16, .positions = 8, .types = 2};
  return config;
}

/// What a step enqueued from the first call of backward on, and the forward behind it.
struct Noted {
  std::vector<Enqueued> backward, finish, share, next;
  doubles::Counts counts{};   // of backward and finish
  std::vector<Slice> hooks;   // what backward declared final,
  std::vector<int64_t> work;  // and how much it had enqueued by then
  std::vector<Slice> pieces;

  std::vector<Enqueued> all() const {
    std::vector<Enqueued> joined = backward;
    for (const auto* part : {&finish, &share, &next}) joined.insert(joined.end(), part->begin(), part->end());
    return joined;
  }
};

int64_t work_in(std::span<const Enqueued> noted) {
  return std::ranges::count(noted, Enqueued::Kind::work, [](const Enqueued& e) { return e.kind; });
}

/// A rank of a run: steps as launch/training makes them, of texts of its own.
class Rank {
 public:
  explicit Rank(Update update)
      : model_(four_layers(), DType::f32, std::make_unique<CudaBackend>(world().local_rank(), AttentionChoice::own)),
        planes_(world_comm(), be(), Transport::nccl, &world().watchdog()),
        memory_(be().memory(), static_cast<size_t>(count()) * sizeof(float)),
        grads_(memory_.tensor(DType::f32, {count()})),
        sync_(planes_.group(), be(), count(), DType::f32, {.piece_bytes = piece_bytes, .update = update}),
        optimizer_(be().memory(), {}, model_.params.layout(), DType::f32, {sync_.own(), {}}) {}

  Backend& be() { return *model_.backend; }
  Arena& arena() { return model_.arena; }

  /// A step and another forward. Event number `forgotten`, from the first of backward on, is left out.
  Noted step(int64_t forgotten = -1) {
    Noted noted;
    be().fill_zero(grads_);
    {
      const auto scope = arena().scope();
      const DeviceTexts texts = model_.on_device(texts_);
      const Tensor emb = arena().tensor(DType::f32, {3, 8});
      EncoderSaved* const saved = model_.encoder.forward_saved(model_.ex, texts, emb);
      sync_.begin(grads_);
      doubles::note_enqueued();
      doubles::forget_event(forgotten);
      doubles::counts() = {};
      model_.encoder.backward(model_.ex, texts, saved, emb, grads_, [&](Slice slice) {
        noted.hooks.push_back(slice);
        noted.work.push_back(work_in(doubles::enqueued()));
        sync_.ready(slice);
      });
      noted.backward = noted_from(0);
      sync_.finish(grads_);
      noted.finish = noted_from(noted.backward.size());
      noted.counts = doubles::counts();
      be().synchronize();
    }
    const size_t before_share = doubles::enqueued().size();
    optimizer_.step(model_.ex, 1e-2, 1, grads_, model_.params);
    sync_.share(model_.params);
    noted.share = noted_from(before_share);
    const size_t before_next = doubles::enqueued().size();
    {
      const auto scope = arena().scope();
      const Tensor emb = arena().tensor(DType::f32, {3, 8});
      model_.encoder.forward(model_.ex, model_.on_device(texts_), emb);
      noted.next = noted_from(before_next);
      doubles::forget_event(-1);
      found_.clear();
      for (const Tensor x : {emb, grads_.slice(sync_.own()), model_.params.masters()})
        for (const float v : fetch<float>(be(), arena(), x)) found_.push_back(std::bit_cast<uint32_t>(v));
    }
    for (const auto& piece : sync_.trace()) noted.pieces.push_back(piece.slice);
    return noted;
  }
  /// What the last step found: vectors by the new parameters, sums of gradients, parameters. Their bits.
  const std::vector<uint32_t>& bits() const { return found_; }

 private:
  int64_t count() const { return model_.params.layout().count(); }
  static std::vector<Enqueued> noted_from(size_t begin) {
    return {doubles::enqueued().begin() + static_cast<std::ptrdiff_t>(begin), doubles::enqueued().end()};
  }

  Model model_;
  const ModelTexts texts_ = make_texts({5, 3 + world().rank() % 4, 4}, 20, Masks::on);
  Planes planes_;
  Buffer memory_;
  Tensor grads_;
  GradSync sync_;
  AdamW optimizer_;
  std::vector<uint32_t> found_;
};

struct Order {
  Execution execution = Execution::at_once;
  uint64_t seed = 1;
};

/// Some drawn by each rank for itself.
std::vector<Order> orders() {
  std::vector<Order> all{{Execution::at_once}, {Execution::late}, {Execution::oldest_first}, {Execution::newest_first}};
  for (uint64_t seed = 1; seed <= 3; ++seed) all.push_back({Execution::shuffled, 16 * seed + static_cast<uint64_t>(world().rank())});
  return all;
}

bool on_any_rank(bool yes) {
  auto any = static_cast<int64_t>(yes);
  all_reduce(world_comm(), std::span(&any, 1), Reduce::max);
  return any != 0;
}

/// The numbers of the streams in which a step computes, and in which its verbs are.
struct Streams {
  int64_t computing, verbs;
  explicit Streams(const Noted& noted) : computing(first(noted, Enqueued::Kind::work)), verbs(first(noted, Enqueued::Kind::verb)) {}
  bool verb_waits(const Enqueued& e) const { return e.kind == Enqueued::Kind::wait && e.stream == verbs && e.from == computing; }
  bool computing_waits(const Enqueued& e) const { return e.kind == Enqueued::Kind::wait && e.stream == computing && e.from == verbs; }

 private:
  static int64_t first(const Noted& noted, Enqueued::Kind kind) {
    return std::ranges::find(noted.backward, kind, [](const Enqueued& e) { return e.kind; })->stream;
  }
};

class CudaOverlap : public testing::TestWithParam<Update> {
 protected:
  void SetUp() override {
    if (world().size() == 1) GTEST_SKIP() << "a world of one sums nothing";
  }
  ~CudaOverlap() override {
    doubles::set_execution(Execution::at_once);
    doubles::forget_event(-1);
  }
};

TEST_P(CudaOverlap, EverySumStandsBehindItsLastLayerAndNothingBehindASumBeforeTheEnd) {
  doubles::set_execution(Execution::late);
  Rank rank(GetParam());
  rank.step();
  const Noted noted = rank.step();
  const Streams streams(noted);
  std::vector<Enqueued> waits;
  std::ranges::copy_if(noted.backward, std::back_inserter(waits), [&](const Enqueued& e) { return streams.verb_waits(e); });
  ASSERT_GE(noted.pieces.size(), 8u);
  EXPECT_EQ(std::ranges::count(noted.backward, Enqueued::Kind::verb, &Enqueued::kind), std::ssize(noted.pieces)) << "when backward ends";
  ASSERT_EQ(waits.size(), noted.pieces.size());
  for (size_t piece = 0, hook = 0; piece < waits.size(); ++piece) {
    while (noted.hooks[hook].begin > noted.pieces[piece].begin) ++hook;  // hooks go from the end to the front
    EXPECT_EQ(waits[piece].behind, noted.work[hook]) << "piece " << piece;
  }
  EXPECT_LT(waits[0].behind, work_in(noted.backward) / 2);
  EXPECT_TRUE(std::ranges::none_of(noted.backward, [&](const Enqueued& e) { return streams.computing_waits(e); }));
  ASSERT_EQ(noted.finish.size(), 1u) << "one event brings all that follows behind the last sum";
  EXPECT_TRUE(streams.computing_waits(noted.finish[0]));
  EXPECT_EQ(noted.finish[0].behind, std::ssize(noted.pieces));
}

TEST_P(CudaOverlap, TheHostNeverStaysForASum) {
  Rank rank(GetParam());
  rank.step();
  doubles::set_execution(Execution::late);
  const Noted noted = rank.step();
  const auto pieces = std::ssize(noted.pieces);
  EXPECT_EQ(noted.counts.host_waits, 0);
  EXPECT_EQ(noted.counts.questions, 0);
  EXPECT_EQ(noted.counts.verbs, pieces);
  EXPECT_EQ(noted.counts.event_records, 2 * pieces);
  EXPECT_EQ(noted.counts.stream_waits, pieces + 1);
  EXPECT_EQ(noted.counts.device_copies, 0) << "shares are summed where they lie";
}

TEST_P(CudaOverlap, BitsDoNotDependOnWhenStreamsRun) {
  Rank first(GetParam());
  for (int i = 0; i < 2; ++i) first.step();
  const std::vector<uint32_t> expected = first.bits();
  for (const Order& order : orders()) {
    doubles::set_execution(order.execution, order.seed);
    Rank rank(GetParam());
    for (int i = 0; i < 2; ++i) rank.step();
    EXPECT_EQ(rank.bits(), expected) << static_cast<int>(order.execution) << ", seed " << order.seed;
  }
}

// What stands behind the same work as the verb before it is in order already: its event orders nothing. A verb that does not wait is seen
// where verbs run as early as they can, an operation that does not where operations do.
TEST_P(CudaOverlap, EveryEventThatIsLeftOutIsNoticed) {
  Rank first(GetParam());
  first.step();
  first.step();
  const std::vector<uint32_t> expected = first.bits();
  doubles::set_execution(Execution::late);
  Rank late(GetParam());
  late.step();  // shapes are seen: nothing is allocated behind it, for which the device would wait
  const Noted noted = late.step();
  const Streams streams(noted);
  struct Needed {
    int64_t number;
    Execution seen;  // in which order
  };
  std::vector<Needed> needed;
  int64_t number = 0, behind = -1;
  for (const Enqueued& e : noted.all()) {
    if (e.kind != Enqueued::Kind::wait) continue;
    if (streams.computing_waits(e)) needed.push_back({number, Execution::oldest_first});
    if (streams.verb_waits(e) && e.behind != behind) needed.push_back({number, Execution::newest_first});
    if (streams.verb_waits(e)) behind = e.behind;
    ++number;
  }
  EXPECT_EQ(needed.size(), 6u + (GetParam() == Update::own_slice ? 1u + static_cast<size_t>(world().size()) : 0u))
      << "four layers and the embeddings, the last sum; with shares the update, and the arrival of each";
  for (const Needed& event : needed) {
    doubles::set_execution(event.seen);
    Rank rank(GetParam());
    rank.step();
    rank.step(event.number);
    EXPECT_TRUE(on_any_rank(rank.bits() != expected)) << "event " << event.number;
  }
}

TEST_P(CudaOverlap, ALayerWaitsForItsOwnParametersAndNoLaterOnes) {
  doubles::set_execution(Execution::late);
  Rank rank(GetParam());
  const Noted noted = rank.step();
  const Streams streams(noted);
  std::vector<int64_t> places;  // in the next forward
  for (size_t i = 0; i < noted.next.size(); ++i) {
    if (!streams.computing_waits(noted.next[i])) continue;
    EXPECT_EQ(noted.next[i].behind, std::ssize(noted.pieces) + std::ssize(places) + 1) << "in the order of arrival";
    places.push_back(work_in(std::span(noted.next).first(i)));
  }
  const int64_t arrivals = GetParam() == Update::own_slice ? std::min<int64_t>(world().size(), 8) : 0;
  ASSERT_EQ(std::ssize(places), arrivals) << "the share of each rank arrives by itself, of more than eight those of several together";
  if (arrivals == 0) return;
  EXPECT_TRUE(std::ranges::none_of(noted.share, [&](const Enqueued& e) { return streams.computing_waits(e); }));
  EXPECT_GT(places.back(), work_in(noted.next) / arrivals) << "much is computed before the last one is asked for";
}

TEST_P(CudaOverlap, TextsOfTheNextStepDoNotWaitForItsParameters) {
  doubles::set_execution(Execution::late);
  Rank rank(GetParam());
  const Noted noted = rank.step();
  const Streams streams(noted);
  int64_t uploads = 0;
  for (const Enqueued& e : noted.next) {
    if (e.kind != Enqueued::Kind::wait || e.stream == streams.computing || e.stream == streams.verbs) continue;
    EXPECT_LE(e.behind, work_in(noted.backward)) << "an upload stands behind the update";
    ++uploads;
  }
  EXPECT_EQ(uploads, 1);
}

TEST(CudaPieces, AreAnEighthOfTheGradientButNeitherSmallNorLarge) {
  if (world().size() == 1) GTEST_SKIP() << "a world of one sums nothing";
  CudaBackend backend(world().local_rank(), AttentionChoice::own);
  const Planes planes(world_comm(), backend, Transport::nccl, &world().watchdog());
  struct Case {
    int64_t elements;
    size_t pieces;
  };
  // Of 1.2, 4.2 and 10 MB, of MiniLM-L6 and BERT-base.
  for (const Case c : {Case{300'000, 2}, Case{1 << 20, 4}, Case{2'500'000, 8}, Case{22'713'216, 8}, Case{109'482'240, 14}}) {
    const GradSync sync(planes.group(), backend, c.elements, DType::f32);
    EXPECT_EQ(sync.trace().size(), c.pieces) << c.elements;
    EXPECT_EQ(sync.trace()[0].slice.end, c.elements);
    EXPECT_STREQ(sync.route_name(), "stream");
  }
}

INSTANTIATE_TEST_SUITE_P(Updates, CudaOverlap, testing::Values(Update::everywhere, Update::own_slice),
                         [](const auto& info) { return info.param == Update::everywhere ? "everywhere" : "own_slice"; });

}  // namespace
}  // namespace lodestone::test
