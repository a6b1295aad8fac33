// The same operation by a backend under test and by the reference in f64: the fast CPU bodies in f32 and bf16 on every instruction set and
// thread count, or where LODESTONE_TEST_BACKEND asks for it the backend of CUDA.
#pragma once

#include <memory>

#include "core/buffer.h"
#include "core/cpu/cpu_backend.h"
#include "tests/core/op_fixture.h"
#include "tests/support/any_backend.h"
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
  std::string isa;  // empty: on the device that is asked for
  int threads;
};

inline std::vector<ParitySetting> parity_settings() {
  if (device_asked_for() == "cuda") return {{DType::f64, "", 1}, {DType::f32, "", 1}, {DType::bf16, "", 1}};
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
/// f64: as f32, with its unit of 1.1e-16: 4.6e-14.
inline double tolerance(DType result) { return result == DType::bf16 ? 0x1p-7 : result == DType::f64 ? 4.6e-14 : 2.5e-5; }

/// The side of a comparison that an operation runs on: operands there, and what the host has, brought there.
class Side {
 public:
  Side(Backend& backend, Arena& arena, bool is_reference) : backend_(backend), arena_(arena), is_reference_(is_reference) {}
  Tensor operator()(const Operand& o) const { return is_reference_ ? o.reference : o.fast; }
  ConstTensor operator()(ConstTensor host) const { return backend_.upload(host, arena_); }

 private:
  Backend& backend_;
  Arena& arena_;
  bool is_reference_;
};

inline std::unique_ptr<Backend> backend_of(const ParitySetting& setting);

class OperationParity : public testing::TestWithParam<ParitySetting> {
 protected:
  DType dtype() const { return GetParam().dtype; }

  DType wide_dtype() const { return dtype() == DType::f64 ? DType::f64 : DType::f32; }
  OperationParity() : backend_(backend_of(GetParam())), fast_(*backend_), arena_(fast_.memory(), size_t{64} << 20) {
    device_arena() = &arena_;
  }
  ~OperationParity() override { device_arena() = nullptr; }

  /// Values that both dtypes hold exactly.
  Operand operand(Shape shape, DType dtype, uint64_t seed, double spread) {
    Operand o;
    o.exact = random_values(shape.count(), seed, spread);
    for (double& v : o.exact)
      v = dtype == DType::bf16 ? static_cast<double>(static_cast<float>(bfloat16(static_cast<float>(v))))
                               : static_cast<double>(static_cast<float>(v));
    o.memory = Buffer(fast_.memory(), o.exact.size() * size_of(dtype) + 64);
    o.reference = view(std::span(o.exact)).reshape(shape);
    o.fast = o.memory.tensor(dtype, shape);
    set_fast(o);
    return o;
  }
  Operand activation(Shape shape, uint64_t seed, double spread = 1) { return operand(shape, dtype(), seed, spread); }
  Operand wide(Shape shape, uint64_t seed, double spread = 1) { return operand(shape, wide_dtype(), seed, spread); }
  /// Brings what the reference's operand holds to the other one.
  void set_fast(const Operand& o) {
    std::vector<std::byte> memory(o.fast.size_bytes());
    const Tensor host(memory.data(), o.fast.dtype(), o.fast.shape());
    reference_.cast(o.reference, host);
    fast_.upload(host, o.fast);
    fast_.synchronize();
  }
  /// What the operand under test holds.
  std::vector<double> fast_values(const Operand& o) {
    std::vector<std::byte> memory(o.fast.size_bytes());
    const Tensor host(memory.data(), o.fast.dtype(), o.fast.shape());
    fast_.download(o.fast, host);
    fast_.synchronize();
    std::vector<double> values(o.exact.size());
    reference_.cast(host, view(std::span(values)).reshape(o.fast.shape()));
    return values;
  }

  /// Runs an operation on the reference operands, then on the fast ones.
  template <class Body>
  void run(Body body) {
    body(reference_, Side(reference_, host_arena(), true));
    body(fast_, Side(fast_, arena_, false));
  }
  void expect_same(const char* what, const Operand& o) { expect_same(what, o, tolerance(o.fast.dtype())); }
  void expect_same(const char* what, const Operand& o, double share) {
    const std::vector<double> got = fast_values(o);
    double largest = 1e-6;
    for (const double v : o.exact) largest = std::max(largest, std::abs(v));
    for (size_t i = 0; i < got.size(); ++i)
      ASSERT_NEAR(got[i], o.exact[i], share * largest) << what << " element " << i << " of " << o.fast.shape();
  }

  ReferenceBackend reference_;
  std::unique_ptr<Backend> backend_;
  Backend& fast_;
  Arena arena_;
};

inline std::unique_ptr<Backend> backend_of(const ParitySetting& setting) {
  if (setting.isa.empty()) return any_backend("cpu");
  return std::make_unique<CpuBackend>(setting.threads, table_named(setting.isa));
}

inline std::string name_of_setting(const testing::TestParamInfo<ParitySetting>& info) {
  const ParitySetting& s = info.param;
  return s.isa.empty() ? cat(name_of(s.dtype), "_on_device") : cat(name_of(s.dtype), "_", s.isa, "_", s.threads, "_threads");
}

}  // namespace lodestone::test
