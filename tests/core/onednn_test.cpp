// What the product library does of itself, on every processor: other tests leave that out of what they count.
#include <gtest/gtest.h>
#include <oneapi/dnnl/dnnl.h>

#include <vector>

#include "core/handle.h"
#include "tests/support/onednn_calls.h"

namespace lodestone {
namespace {

using Engine = Handle<dnnl_engine_t, dnnl_engine_destroy>;
using Stream = Handle<dnnl_stream_t, dnnl_stream_destroy>;
using Memory = Handle<dnnl_memory_t, dnnl_memory_destroy>;
using Primitive = Handle<dnnl_primitive_t, dnnl_primitive_destroy>;
using Description = Handle<dnnl_primitive_desc_t, dnnl_primitive_desc_destroy>;
using Attributes = Handle<dnnl_primitive_attr_t, dnnl_primitive_attr_destroy>;

/// A product of f32 matrices [n,n] as a primitive with scratch memory of the caller, as native bf16 products are made.
class Product {
 public:
  explicit Product(int64_t n) : data_(static_cast<size_t>(3 * n * n)) {
    dnnl_engine_t engine = nullptr;
    dnnl_engine_create(&engine, dnnl_cpu, 0);
    engine_ = Engine(engine);
    dnnl_stream_t stream = nullptr;
    dnnl_stream_create(&stream, engine, dnnl_stream_default_flags);
    stream_ = Stream(stream);
    const dnnl_dims_t dims = {n, n}, strides = {n, 1};
    dnnl_memory_desc_t matrix;
    dnnl_memory_desc_init_by_strides(&matrix, 2, dims, dnnl_f32, strides);
    dnnl_matmul_desc_t matmul;
    dnnl_matmul_desc_init(&matmul, &matrix, &matrix, nullptr, &matrix);
    dnnl_primitive_attr_t attributes = nullptr;
    dnnl_primitive_attr_create(&attributes);
    const Attributes owner(attributes);
    dnnl_primitive_attr_set_scratchpad_mode(attributes, dnnl_scratchpad_mode_user);
    dnnl_primitive_desc_t description = nullptr;
    dnnl_primitive_desc_create(&description, &matmul, attributes, engine, nullptr);
    const Description described(description);
    dnnl_primitive_t primitive = nullptr;
    dnnl_primitive_create(&primitive, description);
    primitive_ = Primitive(primitive);
    for (int i = 0; i < 3; ++i) add(matrix, i == 0 ? DNNL_ARG_SRC : i == 1 ? DNNL_ARG_WEIGHTS : DNNL_ARG_DST, data_.data() + i * n * n);
    const dnnl_memory_desc_t* work = dnnl_primitive_desc_query_md(description, dnnl_query_scratchpad_md, 0);
    if (work == nullptr || dnnl_memory_desc_get_size(work) == 0) return;
    work_.resize(dnnl_memory_desc_get_size(work));
    add(*work, DNNL_ARG_SCRATCHPAD, work_.data());
  }
  int execute() {
    const dnnl_status_t status =
        dnnl_primitive_execute(primitive_.get(), stream_.get(), static_cast<int>(arguments_.size()), arguments_.data());
    dnnl_stream_wait(stream_.get());
    return status;
  }
  size_t arguments() const { return arguments_.size(); }

 private:
  void add(const dnnl_memory_desc_t& description, int name, void* data) {
    dnnl_memory_t memory = nullptr;
    dnnl_memory_create(&memory, &description, engine_.get(), data);
    memories_.emplace_back(memory);
    arguments_.push_back({name, memory});
  }

  std::vector<float> data_;
  std::vector<char> work_;
  Engine engine_;
  Stream stream_;
  Primitive primitive_;
  std::vector<Memory> memories_;
  std::vector<dnnl_exec_arg_t> arguments_;
};

// The library copies the arguments of each execution into a hash table of its own: an array of buckets and a node an argument. So a
// primitive, however it was made, allocates each time that it runs; plain sgemm has no arguments and does not.
TEST(OneDnn, APrimitiveAllocatesATableOfItsArgumentsAtEveryExecution) {
  for (const int64_t n : {16, 96}) {
    Product product(n);
    ASSERT_EQ(product.execute(), dnnl_success);  // kernels are made now
    for (int round = 0; round < 3; ++round) {
      const test::LibraryCalls before = test::library_calls();
      ASSERT_EQ(product.execute(), dnnl_success);
      const test::LibraryCalls after = test::library_calls();
      EXPECT_EQ(after.primitives - before.primitives, 1u);
      EXPECT_GE(after.allocations - before.allocations, product.arguments() + 1)
          << "the library improved: ask for no allocation where products are native, too";
    }
  }
}

}  // namespace
}  // namespace lodestone
