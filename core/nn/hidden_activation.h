// What a dense layer inside the encoder is followed by: forward and backward of each hidden activation.
#pragma once

#include "core/nn/activation.h"
#include "core/nn/config.h"

namespace lodestone {

/// h = activation(u). Same shapes; h may be u.
inline void hidden_activation_forward(const Exec& ex, HiddenActivation activation, const Activation& u, const Activation& h) {
  switch (activation) {
    case HiddenActivation::gelu:
      return ex.backend.gelu_forward(u.real(), h.real());
  }
  throw_internal(__FILE__, __LINE__, "activation", "no such hidden activation");
}

/// du = dL/du from dh = dL/dh. du may be dh.
inline void hidden_activation_backward(const Exec& ex, HiddenActivation activation, const Activation& u, const Activation& dh,
                                       const Activation& du) {
  switch (activation) {
    case HiddenActivation::gelu:
      return ex.backend.gelu_backward(u.real(), dh.real(), du.real());
  }
  throw_internal(__FILE__, __LINE__, "activation", "no such hidden activation");
}

}  // namespace lodestone
