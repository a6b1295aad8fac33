// The gradient of a model beside that of PyTorch in f64, tensor by tensor.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "core/params.h"
#include "tests/support/rounding.h"
#include "tests/support/safetensors.h"

namespace lodestone::test {

using Gradients = std::map<std::string, std::vector<double>>;  // by the parameter's name

enum class Weights : uint8_t { golden, beside };

/// Sets `params` to what the file has, each under "weight/" and its name there; Weights::beside: to what is beside() those. `lacking` of
/// them are not in the file, and stay as they are.
inline void set_weights(ParamStore& params, Backend& backend, Arena& arena, const Golden& golden,
                        const std::function<std::string(const Param&)>& name_there, Weights weights, int64_t lacking = 0) {
  int64_t missing = 0;
  for (const Param& p : params.layout().params()) {
    const auto stored = golden.tensors.find("weight/" + name_there(p));
    if (stored == golden.tensors.end()) {
      ++missing;
      continue;
    }
    from_double(backend, arena, weights == Weights::golden ? stored->second : beside(stored->second, p.name.c_str()), params.master(p));
  }
  params.refresh(backend);
  EXPECT_EQ(missing, lacking) << "weights that the file lacks";
}

/// Every tensor of `got`, computed in `compute`, lies no farther from `golden` than rounding may move it (support/rounding.h): `there` is
/// the gradient in f64 of weights, and of a loss's own gradient, that are beside() those. Key biases have no gradient, here exactly;
/// PyTorch's is its rounding of a sum whose terms times the layer's inputs, about 1, are the weight's gradient. A
/// classifier's bias moves all scores of a query alike, which cross-entropy does not see: its gradient cancels, and only it may have a wide
/// bound.
inline void expect_gradients(const std::string& what, const Gradients& got, const Gradients& there, const Gradients& golden, int64_t terms,
                             DType compute) {
  for (const auto& [name, gradient] : got) {
    const std::vector<double>& expected = golden.at(name);
    if (name.ends_with("key.bias")) {
      const std::string weight = name.substr(0, name.size() - 4) + "weight";
      EXPECT_EQ(gradient, std::vector<double>(gradient.size())) << what << " " << name;
      EXPECT_LT(norm(expected), rounding_of(golden.at(weight), there.at(weight), terms, DType::f64)) << what << " " << name;
      continue;
    }
    const double allowed = rounding_of(expected, there.at(name), terms, compute);
    EXPECT_LE(distance_between(gradient, expected), allowed) << what << " " << name;
    if (name.ends_with("classifier.bias")) continue;
    EXPECT_LT(allowed, 1e-4 * norm(expected)) << what << " " << name << ": a bound that says little";
  }
}

}  // namespace lodestone::test
