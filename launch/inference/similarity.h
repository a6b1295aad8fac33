// How near two vectors are, as their model means it.
#pragma once

#include <span>

#include "data/models/model_folder.h"

namespace lodestone {

/// The folder's similarity of two vectors [E]: their cosine (NaN for a vector of zeros) or their dot product.
double similarity(const ModelFolder& folder, std::span<const float> a, std::span<const float> b);

/// Brings vectors [.,width] to where their dot product is the folder's similarity: to length 1 when that is the cosine and the model does
/// not normalise itself; vectors of zeros stay.
void prepare_for_dot(const ModelFolder& folder, std::span<float> vectors, int64_t width);

}  // namespace lodestone
