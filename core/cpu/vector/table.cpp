// Fills the table of vector kernels for one instruction set.
#include "core/cpu/vector/kernels.h"

namespace lodestone::LODE_VEC {

#define LODE_TEXT2(x) #x
#define LODE_TEXT(x) LODE_TEXT2(x)

template <class T>
static constexpr vec::Kernels<T> kernels{
    .gelu_forward = gelu_forward<T>,
    .gelu_backward = gelu_backward<T>,
    .tanh_forward = tanh_forward<T>,
    .tanh_backward = tanh_backward<T>,
    .norm_forward = norm_forward<T>,
    .norm_backward = norm_backward<T>,
    .dropout = dropout<T>,
    .attention_forward = attention_forward<T>,
    .attention_backward = attention_backward<T>,
    .column_sums = column_sums<T>,
    .add_bias = add_bias<T>,
    .embed_forward = embed_forward<T>,
    .embed_backward = embed_backward<T>,
    .pool = pool<T>,
    .scale = scale<T>,
    .axpy = axpy<T>,
    .to_float = to_float<T>,
    .from_float = from_float<T>,
};

static constexpr vec::Table whole{
    .name = LODE_TEXT(LODE_ISA),
    .f32 = kernels<float>,
    .bf16 = kernels<uint16_t>,
    .attention_scratch = attention_scratch,
    .adamw = adamw,
    .sum_squares = sum_squares,
    .log_sum_exp = log_sum_exp,
    .softmax = softmax,
    .l2_norm = l2_norm,
    .dot = dot,
};

const vec::Table& table() { return whole; }

}  // namespace lodestone::LODE_VEC
