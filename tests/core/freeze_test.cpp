// Frozen parameters stay as they are, in any cut of the vector, and an optimizer of a part updates just that part.
#include "core/optim/freeze.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/optim/adamw.h"
#include "tests/support/squares.h"

namespace lodestone::test {
namespace {

ParamLayout layers() {
  ParamLayout layout;
  layout.add("embeddings.word_embeddings.weight", {5, 3}, Decay::yes);
  layout.add("embeddings.position_embeddings.weight", {4, 3}, Decay::yes);
  layout.add("embeddings.LayerNorm.weight", {3}, Decay::no);
  layout.add("encoder.layer.1.weight", {3, 3}, Decay::yes);
  layout.add("encoder.layer.1.bias", {3}, Decay::no);
  layout.add("encoder.layer.10.weight", {2, 3}, Decay::yes);
  return layout;
}

std::vector<Slice> frozen(std::vector<std::string> names) { return frozen_ranges(layers(), names); }

TEST(Freeze, NamesStandForParametersAndForAllBelowThem) {
  EXPECT_TRUE(frozen({}).empty());
  EXPECT_EQ(frozen({"embeddings.position_embeddings.weight"}), (std::vector<Slice>{{15, 27}}));
  EXPECT_EQ(frozen({"embeddings.position_embeddings"}), (std::vector<Slice>{{15, 27}}));
  EXPECT_EQ(frozen({"encoder.layer.1"}), (std::vector<Slice>{{30, 42}}));  // and not layer 10
  EXPECT_EQ(frozen({"embeddings", "encoder.layer.10"}), (std::vector<Slice>{{0, 30}, {42, 48}}));
  EXPECT_EQ(frozen({"encoder.layer.1.bias", "encoder.layer.1.weight", "encoder.layer.1"}), (std::vector<Slice>{{30, 42}}));
  for (const char* bad : {"embeddings.position", "encoder.layer.2", "", "weight"}) EXPECT_THROW(frozen({bad}), Error) << bad;
}

template <class T>
class Frozen : public testing::Test {};
using Floats = testing::Types<float, double>;
TYPED_TEST_SUITE(Frozen, Floats);

template <class T>
struct Optimized {
  Optimized(const UpdateRange& range, BackendKind kind)
      : backend(make_backend({.kind = kind})),
        params(backend->memory(), layers(), dtype_of<T>),
        optimizer(backend->memory(), {.weight_decay = 0.1}, params.layout(), dtype_of<T>, range) {
    const auto p = params.masters().host<T>();
    for (size_t i = 0; i < p.size(); ++i) p[i] = static_cast<T>(Key(3).uniform(i));
  }
  void steps(int64_t n, std::span<const Slice> frozen) {
    Exec ex{*backend, arena, Key(), dtype_of<T>};
    for (int64_t step = 0; step < n; ++step) {
      std::vector<T> grads(48);
      for (size_t i = 0; i < grads.size(); ++i) grads[i] = static_cast<T>(Key(4).with(static_cast<uint64_t>(step)).uniform(i) - 0.5);
      const Tensor g = view(std::span(grads));
      clear_frozen(*backend, frozen, g);
      norm = std::sqrt(squares_of(*backend, g));
      optimizer.step(ex, 0.01, 1, g, params);
    }
  }
  std::vector<T> values() const {
    const auto p = params.masters().template host<T>();
    return {p.begin(), p.end()};
  }
  std::unique_ptr<Backend> backend;
  Arena arena{backend->memory()};
  ParamStore params;
  AdamW optimizer;
  double norm = 0;
};

TYPED_TEST(Frozen, PositionEmbeddingsKeepTheirBitsAndTheOthersAreTrainedAsWithoutThem) {
  const std::vector<Slice> positions = frozen({"embeddings.position_embeddings.weight"});
  for (const BackendKind kind : {BackendKind::reference, BackendKind::cpu}) {
    Optimized<TypeParam> none({{0, 48}, {}}, kind), some({{0, 48}, positions}, kind);
    const std::vector<TypeParam> before = some.values();
    none.steps(3, {});
    some.steps(3, positions);
    for (int64_t i = 0; i < 48; ++i) {
      const auto at = static_cast<size_t>(i);
      if (i >= 15 && i < 27) {
        EXPECT_EQ(some.values()[at], before[at]) << some.backend->description() << " element " << i;
        EXPECT_EQ(some.optimizer.first_moments().template host<TypeParam>()[at], 0);
        EXPECT_EQ(some.optimizer.second_moments().template host<TypeParam>()[at], 0);
        EXPECT_NE(none.values()[at], before[at]);
      } else {
        EXPECT_EQ(some.values()[at], none.values()[at]) << some.backend->description() << " element " << i;
      }
    }
    EXPECT_LT(some.norm, none.norm) << "the norm counts frozen gradients";
  }
}

TYPED_TEST(Frozen, PartsOfTheVectorUpdatedOneByOneEqualTheWhole) {
  const std::vector<Slice> positions = frozen({"embeddings.position_embeddings.weight"});
  for (const BackendKind kind : {BackendKind::reference, BackendKind::cpu})
    for (const std::vector<int64_t>& cuts : {std::vector<int64_t>{0, 48}, {0, 17, 48}, {0, 0, 20, 31, 48}, {0, 15, 27, 48}}) {
      Optimized<TypeParam> whole({{0, 48}, positions}, kind);
      whole.steps(3, positions);
      std::vector<TypeParam> joined;
      for (size_t r = 0; r + 1 < cuts.size(); ++r) {
        const Slice own{cuts[r], cuts[r + 1]};
        Optimized<TypeParam> part({own, positions}, kind);
        const std::vector<TypeParam> before = part.values();
        EXPECT_EQ(part.optimizer.first_moments().count(), own.count());
        part.steps(3, positions);
        for (int64_t i = 0; i < 48; ++i)
          if (i < own.begin || i >= own.end) {
            EXPECT_EQ(part.values()[static_cast<size_t>(i)], before[static_cast<size_t>(i)]);
          }
        for (int64_t i = own.begin; i < own.end; ++i) joined.push_back(part.values()[static_cast<size_t>(i)]);
      }
      EXPECT_EQ(joined, whole.values()) << whole.backend->description();
    }
}

}  // namespace
}  // namespace lodestone::test
