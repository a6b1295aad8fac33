// The same operation by the fast CPU bodies and by the reference in f64, in f32 and bf16, on every instruction set and thread count.
#pragma once

#include <memory>

#include "core/buffer.h"
#include "core/cpu/cpu_backend.h"
#include "tests/core/op_fixture.h"
#include "tests/support/host_memory.h"

namespace lodestone::test {

/// One operand twice: in f64 for the reference, and in the dtype under test, with equal values where it is an input.
struct Operand {
  std::vector<double> exact;
  Buffer memory;
  Tensor reference, fast;
};

struct ParitySetting {
  DType dtype;
  const char* isa;
  int threads;
};

inline std::vector<ParitySetting> parity_settings() {
  std::vector<ParitySetting> all;
  for (const DType dtype : {DType::f32, DType::bf16})
    for (const char* isa : {"v2", "v3", "v4"}) {
      if (std::string(isa) > best_vector_table().name) continue;  // this processor lacks it
      all.push_back({dtype, isa, 1});
      if (std::string(isa) == best_vector_table().name) all.push_back({dtype, isa, 3});
    }
  return all;
}

inline const vec::Table& table_named(const std::string& isa) {
  return isa == "v4" ? vec_v4::table() : isa == "v3" ? vec_v3::table() : vec_v2::table();
}

/// Largest error allowed, as a share of the largest expected value.
/// f32: unit 6e-8; sums here have up to 1,600 terms whose rounding errors grow like their root (40 units, 2.4e-6), and
/// terms may cancel to a tenth of their size: 2.5e-5.
/// bf16 results are rounded once (2^-9) and may rest on one stored intermediate rounded the same way: 2^-7.
inline double tolerance(DType result) { return result == DType::bf16 ? 0x1p-7 : 2.5e-5; }

class CpuParity : public testing::TestWithParam<ParitySetting> {
 protected:
  DType dtype() const { return GetParam().dtype; }

  /// Values that both dtypes hold exactly.
  Operand operand(Shape shape, DType dtype, uint64_t seed, double spread) {
    Operand o;
    o.exact = random_values(shape.count(), seed, spread);
    for (double& v : o.exact)
      v = dtype == DType::bf16 ? static_cast<double>(static_cast<float>(bfloat16(static_cast<float>(v))))
                               : static_cast<double>(static_cast<float>(v));
    o.memory = Buffer(test::host_memory, o.exact.size() * size_of(dtype) + 64);
    o.reference = view(std::span(o.exact)).reshape(shape);
    o.fast = o.memory.tensor(dtype, shape);
    reference_.cast(o.reference, o.fast);
    return o;
  }
  Operand activation(Shape shape, uint64_t seed, double spread = 1) { return operand(shape, dtype(), seed, spread); }
  Operand wide(Shape shape, uint64_t seed, double spread = 1) { return operand(shape, DType::f32, seed, spread); }

  /// Runs an operation on the reference operands, then on the fast ones.
  template <class Body>
  void run(Body body) {
    body(reference_, [](const Operand& o) { return o.reference; });
    body(fast_, [](const Operand& o) { return o.fast; });
  }
  void expect_same(const char* what, const Operand& o) { expect_same(what, o, tolerance(o.fast.dtype())); }
  void expect_same(const char* what, const Operand& o, double share) {
    std::vector<double> got(o.exact.size());
    reference_.cast(o.fast, view(std::span(got)).reshape(o.fast.shape()));
    double largest = 1e-6;
    for (const double v : o.exact) largest = std::max(largest, std::abs(v));
    for (size_t i = 0; i < got.size(); ++i)
      ASSERT_NEAR(got[i], o.exact[i], share * largest) << what << " element " << i << " of " << o.fast.shape();
  }

  ReferenceBackend reference_;
  CpuBackend fast_{GetParam().threads, table_named(GetParam().isa)};
};

inline std::string name_of_setting(const testing::TestParamInfo<ParitySetting>& info) {
  return cat(name_of(info.param.dtype), "_", info.param.isa, "_", info.param.threads, "_threads");
}

}  // namespace lodestone::test
