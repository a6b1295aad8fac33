// How well clusters agree with labels: the V-measure.
#pragma once

#include <cstdint>
#include <span>

namespace lodestone {

/// Rosenberg and Hirschberg's V-measure with beta 1: the harmonic mean of homogeneity (1 - H(label|cluster) / H(label)) and completeness
/// (1 - H(cluster|label) / H(cluster)), each 1 where its denominator is 0; 0 when both are 0. Does not depend on what labels and clusters
/// are called. Throws Error (internal) when lengths differ or there is none.
double v_measure(std::span<const int64_t> labels, std::span<const int64_t> clusters);

}  // namespace lodestone
