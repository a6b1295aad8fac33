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
  AttentionChoice attention = AttentionChoice::own;  // on the device that is asked for
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

/// What a row's rounding is derived from.
struct Rounding {
  int64_t terms = 1;     // of the longest sum, which is in the wide dtype
  double condition = 1;  // how many times larger relative errors of operands are in the result: exp(s) makes |s| of one
};

/// Largest error allowed, as a share of the largest expected value: condition * unit * sqrt(terms) * 4. Terms have either sign, so that the
/// errors of their sum, like the sum itself, grow as a random walk: by the root. The 4: rounded steps behind each other in one operation,
/// and the largest of some thousand errors instead of the expected one. Results in bf16 are rounded to its unit of 2^-9 behind a sum in
/// f32, and may rest on an intermediate that was: the same 4.
inline double tolerance(DType result, const Rounding& of = {}) {
  if (result == DType::bf16) return 4 * 0x1p-9;
  const double unit = result == DType::f64 ? 0x1p-53 : 0x1p-24;
  return 4 * unit * of.condition * std::sqrt(static_cast<double>(of.terms));
}

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
  /// [shape] of a flat tensor with an element more, behind that element: no row needs to begin at a multiple of 16 bytes.
  template <class T>
  static T behind_the_first(const T& flat, Shape shape) {
    return flat.slice({1, 1 + shape.count()}).reshape(shape);
  }
  void expect_same(const char* what, const Operand& o, const Rounding& of = {}) { expect_same(what, o, tolerance(o.fast.dtype(), of)); }
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
  if (setting.attention != AttentionChoice::own) {
    ++device_backends_made();
    return make_backend({.kind = BackendKind::cuda, .attention = setting.attention});
  }
  if (setting.isa.empty()) return any_backend("cpu");
  return std::make_unique<CpuBackend>(setting.threads, table_named(setting.isa));
}

inline std::string name_of_setting(const testing::TestParamInfo<ParitySetting>& info) {
  const ParitySetting& s = info.param;
  if (s.attention != AttentionChoice::own) return cat(name_of(s.dtype), "_by_cudnn");
  return s.isa.empty() ? cat(name_of(s.dtype), "_on_device") : cat(name_of(s.dtype), "_", s.isa, "_", s.threads, "_threads");
}

}  // namespace lodestone::test
