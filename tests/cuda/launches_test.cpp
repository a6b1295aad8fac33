// How many launches and bytes does a chunk cost? Exactly, so that a change of either is seen.
#include <gtest/gtest.h>

#include "tests/cuda/bert_chunk.h"
#include "tests/cuda/doubles/counts.h"
#include "tests/cuda/doubles/streams.h"

namespace lodestone::test {
namespace {

class CudaLaunches : public testing::Test {
 protected:
  CudaLaunches() { doubles::set_execution(doubles::Execution::dropped); }
  ~CudaLaunches() override { doubles::set_execution(doubles::Execution::at_once); }
};

doubles::Counts of_chunk(int64_t layers, int64_t texts) {
  BertChunk chunk(layers, texts);
  doubles::counts() = {};
  chunk.run();
  return doubles::counts();
}

// docs/cuda.md has the same numbers, by operation.
TEST_F(CudaLaunches, OfAnEncoderChunkAreSoManyAndSoManyALayer) {
  for (const int64_t layers : {1, 2, 12}) {
    const doubles::Counts counts = of_chunk(layers, 8);
    EXPECT_EQ(counts.kernels, 13 + 23 * layers);
    EXPECT_EQ(counts.products, 12 * layers);
    EXPECT_EQ(counts.fills, layers) << "the gradient of a key's bias";
    EXPECT_EQ(counts.device_copies, 0);
    EXPECT_EQ(counts.stream_waits, 1) << "for the texts";
    EXPECT_EQ(counts.host_waits, 0);
  }
}

TEST_F(CudaLaunches, AChunkUploadsItsTextsOnceAndNothingElse) {
  for (const int64_t texts : {1, 64}) {
    const doubles::Counts counts = of_chunk(2, texts);
    EXPECT_EQ(counts.uploads, 5) << "ids, offsets, keys; the text and the place of every token";
    EXPECT_EQ(counts.uploaded_bytes, texts * 128 * (4 + 4 + 4) + (texts + 1) * 8 + texts * 8);
    EXPECT_EQ(counts.downloads, 0);
  }
}

TEST_F(CudaLaunches, DoNotDependOnHowLargeAChunkIs) { EXPECT_EQ(of_chunk(2, 1).launches(), of_chunk(2, 64).launches()); }

}  // namespace
}  // namespace lodestone::test
