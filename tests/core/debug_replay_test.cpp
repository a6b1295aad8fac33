// What a backend with graphs could not forgive, a debug backend finds: names that say too little, and stretches that do too much.
#include <gtest/gtest.h>

#include "tests/support/debug_rig.h"

namespace lodestone::test {
namespace {

struct GraphRig {
  DebugBackend backend{std::make_unique<ReferenceBackend>(), Launches::graphs};
  Arena arena{backend.memory(), arena_bytes};
  Arena::Scope scope = arena.scope();
  Tensor x = arena.tensor(DType::f64, {4}), y = arena.tensor(DType::f64, {4});

  void replay(const std::function<void()>& operations) { backend.replay(ReplayName().add(1), operations); }
  std::string finds(const std::function<void()>& before, const std::function<void()>& after) {
    replay(before);
    return message_of([&] { replay(after); });
  }
};

TEST(DebugReplay, LetsAStretchComeAgainAsItWas) {
  GraphRig device;
  for (int i = 0; i < 3; ++i) device.replay([&] { device.backend.fill_zero(device.x); });
  device.backend.replay(ReplayName().add(2), [&] { device.backend.fill_zero(device.y); });
  device.backend.synchronize();
  EXPECT_TRUE(device.backend.replays());
  EXPECT_FALSE(DebugBackend(std::make_unique<ReferenceBackend>()).replays());
}

TEST(DebugReplay, FindsAnotherOperandValueOperationOrNumberOfThem) {
  const auto differs = [](const std::string& operation, const std::string& was) {
    return "operation 0 of a stretch, " + operation + ", was " + was + " with other operands or values under the same name";
  };
  {
    GraphRig d;
    EXPECT_NE(d.finds([&] { d.backend.fill_zero(d.x); }, [&] { d.backend.fill_zero(d.y); }).find(differs("fill_zero", "fill_zero")),
              std::string::npos);
  }
  {
    GraphRig d;
    EXPECT_NE(d.finds([&] { d.backend.scale(2, d.x, d.x); }, [&] { d.backend.scale(3, d.x, d.x); }).find(differs("scale", "scale")),
              std::string::npos);
  }
  {
    GraphRig d;
    EXPECT_NE(d.finds([&] { d.backend.copy(d.x, d.y); }, [&] { d.backend.cast(d.x, d.y); }).find(differs("cast", "copy")),
              std::string::npos);
  }
  GraphRig d;
  EXPECT_NE(d.finds([&] { d.backend.fill_zero(d.x); }, [] {}).find("a stretch of 0 operations had 1 under the same name"),
            std::string::npos);
}

TEST(DebugReplay, FindsWhatIsNoOperation) {
  GraphRig d;
  const double one = 1;
  const ConstTensor host = view(std::span(&one, 1));
  const auto in_a_stretch = [&](const std::function<void()>& call) { return message_of([&] { d.replay(call); }); };
  const std::string is_none = " in a stretch that may be replayed, which operations alone belong to";
  EXPECT_NE(in_a_stretch([&] { d.backend.upload(host, d.arena); }).find("upload" + is_none), std::string::npos);
  EXPECT_NE(in_a_stretch([&] { d.backend.download(d.x, d.arena); }).find("download" + is_none), std::string::npos);
  EXPECT_NE(in_a_stretch([&] { d.backend.synchronize(); }).find("synchronize" + is_none), std::string::npos);
  EXPECT_NE(in_a_stretch([&] { d.backend.record(); }).find("record" + is_none), std::string::npos);
  EXPECT_NE(in_a_stretch([&] { d.replay([] {}); }).find("replay" + is_none), std::string::npos);
  const GroupLoss loss{};
  EXPECT_NE(in_a_stretch([&] { d.backend.group_loss(loss, d.x, {}, 1, d.y, d.x); }).find("an operation of a loss or of an update"),
            std::string::npos);
  d.backend.synchronize();  // the stretch is over, whatever was thrown
}

}  // namespace
}  // namespace lodestone::test
