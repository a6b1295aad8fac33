// The gradient sum of a real encoder's backward starts while backward is still at work, and its result is the plain sum.
#include <gtest/gtest.h>

#include <chrono>
#include <vector>

#include "comm/grad_sync.h"
#include "tests/support/mpi_world.h"
#include "tests/support/tiny_model.h"

namespace lodestone {
namespace {

using test::world_comm;

EmbedderConfig eight_layers() {
  EmbedderConfig c;
  c.encoder = {.vocab = 60, .hidden = 32, .layers = 8, .heads = 4, .feed_forward = 128, .positions = 32, .types = 2};
  return c;
}

TEST(GradientOverlap, FirstPieceIsUnderWayBeforeHalfOfBackwardIsDone) {
  for (const GradSync::Route route : {GradSync::Route::shared_memory, GradSync::Route::communicator}) {
    test::Model model(eight_layers(), DType::f32, "reference");
    const int64_t n = model.params.layout().count();
    GradSync sync(world_comm(), *model.backend, n, DType::f32, {.piece_bytes = 16'384, .route = route});
    const test::ModelTexts texts = test::make_texts({9, 3 + world_comm().rank(), 7}, 60, test::Masks::off);
    std::vector<double> d_emb(3 * 32);
    test::fill_uniform(std::span(d_emb), "d_emb", 1.0);

    std::vector<float> alone(static_cast<size_t>(n)), grads(static_cast<size_t>(n));
    model.add_gradient(texts, d_emb, view(std::span(alone)));
    const Tensor expected = view(std::span(alone)), g = view(std::span(grads));
    world_comm().all_reduce(expected, expected, Reduce::sum).wait();

    // add_gradient() runs forward before backward, so backward is timed from the first hook to the last.
    sync.begin(g);
    const auto start = std::chrono::steady_clock::now();
    const auto now_s = [&] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(); };
    double first_s = -1, last_s = 0;
    model.add_gradient(texts, d_emb, g, [&](Slice slice) {
      sync.ready(slice);
      last_s = now_s();
      if (first_s < 0) first_s = last_s;
    });
    sync.finish(g);

    // Sums of at most four f32 terms in another order: a few units in the last place of the largest gradient.
    for (size_t i = 0; i < grads.size(); ++i) ASSERT_NEAR(grads[i], alone[i], 1e-5f) << "element " << i;
    if (world_comm().size() == 1) continue;
    EXPECT_LT(sync.trace().front().started_s, (first_s + last_s) / 2) << sync.route_name();
    // By the end of backward all pieces but those of the embeddings, whose gradients are final last, have been started or wait
    // for room.
    EXPECT_LT(sync.trace()[4].started_s, last_s) << sync.route_name();
  }
}

}  // namespace
}  // namespace lodestone
