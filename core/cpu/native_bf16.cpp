// NativeBf16: oneDNN matmul primitives on bf16 operands, one for each shape seen.
#include "core/cpu/native_bf16.h"

namespace lodestone {

namespace {

void check_library(dnnl_status_t status, const char* call) {
  LODE_CHECK(status == dnnl_success, call, " failed in oneDNN with status ", static_cast<int>(status));
}

/// A row-major matrix [rows, columns], or the transposed view of one.
dnnl_memory_desc_t matrix(int64_t rows, int64_t columns, Op op, dnnl_data_type_t type) {
  const dnnl_dims_t dims = {rows, columns};
  const dnnl_dims_t strides = {op == Op::none ? columns : 1, op == Op::none ? 1 : rows};
  dnnl_memory_desc_t desc;
  check_library(dnnl_memory_desc_init_by_strides(&desc, 2, dims, type, strides), "dnnl_memory_desc_init_by_strides");
  return desc;
}

/// The library's type for memory takes a pointer to what it may write; inputs are only read.
void point(dnnl_memory_t memory, const std::byte* data) {
  check_library(dnnl_memory_set_data_handle(memory, const_cast<std::byte*>(data)), "dnnl_memory_set_data_handle");
}

using Attributes = Handle<dnnl_primitive_attr_t, dnnl_primitive_attr_destroy>;
using PostOps = Handle<dnnl_post_ops_t, dnnl_post_ops_destroy>;
using Description = Handle<dnnl_primitive_desc_t, dnnl_primitive_desc_destroy>;

/// Scratch memory is ours; `add` means the result is added into what c holds.
Attributes attributes(bool add) {
  dnnl_primitive_attr_t raw = nullptr;
  check_library(dnnl_primitive_attr_create(&raw), "dnnl_primitive_attr_create");
  Attributes attr(raw);
  check_library(dnnl_primitive_attr_set_scratchpad_mode(raw, dnnl_scratchpad_mode_user), "dnnl_primitive_attr_set_scratchpad_mode");
  if (!add) return attr;
  dnnl_post_ops_t ops = nullptr;
  check_library(dnnl_post_ops_create(&ops), "dnnl_post_ops_create");
  const PostOps owner(ops);
  check_library(dnnl_post_ops_append_sum(ops, 1.0f), "dnnl_post_ops_append_sum");
  check_library(dnnl_primitive_attr_set_post_ops(raw, ops), "dnnl_primitive_attr_set_post_ops");
  return attr;
}

}  // namespace

Products::NativeBf16::NativeBf16() {
  dnnl_engine_t engine = nullptr;
  check_library(dnnl_engine_create(&engine, dnnl_cpu, 0), "dnnl_engine_create");
  engine_ = Engine(engine);
  dnnl_stream_t stream = nullptr;
  check_library(dnnl_stream_create(&stream, engine, dnnl_stream_default_flags), "dnnl_stream_create");
  stream_ = Stream(stream);
}

bool Products::NativeBf16::processor_has_them() {
  const dnnl_cpu_isa_t isa = dnnl_get_effective_cpu_isa();
  return isa == dnnl_cpu_isa_avx512_core_bf16 || isa == dnnl_cpu_isa_avx512_core_amx || isa == dnnl_cpu_isa_all;
}

Products::NativeBf16::Entry Products::NativeBf16::make(const Key& key) {
  const dnnl_memory_desc_t a = matrix(key.m, key.k, key.op_a, dnnl_bf16), b = matrix(key.k, key.n, key.op_b, dnnl_bf16);
  const dnnl_memory_desc_t c = matrix(key.m, key.n, Op::none, key.wide_result ? dnnl_f32 : dnnl_bf16);
  const dnnl_memory_desc_t bias = matrix(1, key.n, Op::none, dnnl_f32);
  dnnl_matmul_desc_t matmul;
  check_library(dnnl_matmul_desc_init(&matmul, &a, &b, key.bias ? &bias : nullptr, &c), "dnnl_matmul_desc_init");
  const Attributes attr = attributes(key.add);
  dnnl_primitive_desc_t raw = nullptr;
  const dnnl_status_t found = dnnl_primitive_desc_create(&raw, &matmul, attr.get(), engine_.get(), nullptr);
  if (found == dnnl_unimplemented) return {};
  check_library(found, "dnnl_primitive_desc_create");
  const Description desc(raw);

  Entry entry;
  dnnl_primitive_t primitive = nullptr;
  check_library(dnnl_primitive_create(&primitive, raw), "dnnl_primitive_create");
  entry.primitive = Primitive(primitive);
  const auto memory = [&](const dnnl_memory_desc_t& d) {
    dnnl_memory_t m = nullptr;
    check_library(dnnl_memory_create(&m, &d, engine_.get(), DNNL_MEMORY_NONE), "dnnl_memory_create");
    return Memory(m);
  };
  entry.a = memory(a);
  entry.b = memory(b);
  entry.c = memory(c);
  entry.bias = memory(bias);
  const dnnl_memory_desc_t* work = dnnl_primitive_desc_query_md(raw, dnnl_query_scratchpad_md, 0);
  entry.work_bytes = work == nullptr ? 0 : static_cast<int64_t>(dnnl_memory_desc_get_size(work));
  if (entry.work_bytes > 0) entry.work = memory(*work);
  return entry;
}

const Products::NativeBf16::Entry& Products::NativeBf16::entry_of(const Key& key) {
  auto found = entries_.find(key);
  if (found == entries_.end()) found = entries_.emplace(key, make(key)).first;
  return found->second;
}

bool Products::NativeBf16::multiply(const checks::ProductDims& dims, Op op_a, ConstTensor a, Op op_b, ConstTensor b, ConstTensor bias,
                                    bool add, Tensor c) {
  const Key key = key_of(dims, op_a, op_b, bias, add, c);
  const Entry& entry = entry_of(key);
  if (!entry.primitive) return false;

  std::array<dnnl_exec_arg_t, 5> args{};
  int count = 0;
  const auto give = [&](int name, const Memory& memory, const std::byte* data) {
    point(memory.get(), data);
    args[static_cast<size_t>(count++)] = {name, memory.get()};
  };
  give(DNNL_ARG_SRC, entry.a, a.bytes());
  give(DNNL_ARG_WEIGHTS, entry.b, b.bytes());
  give(DNNL_ARG_DST, entry.c, c.bytes());
  if (key.bias) give(DNNL_ARG_BIAS, entry.bias, bias.bytes());
  if (entry.work_bytes > 0) give(DNNL_ARG_SCRATCHPAD, entry.work, work_.take<std::byte>(entry.work_bytes));
  check_library(dnnl_primitive_execute(entry.primitive.get(), stream_.get(), count, args.data()), "dnnl_primitive_execute");
  check_library(dnnl_stream_wait(stream_.get()), "dnnl_stream_wait");
  return true;
}

}  // namespace lodestone
