// How wide a sparse matrix is as a graph: what predicts the fill of a direct solver without an ordering.
#pragma once
#include <cstdint>

namespace nnla {

struct Levels {
    std::int64_t components = 0;
    std::int64_t longest = 0;   // levels of a breadth-first search from the rim of the component that has most
    double cubed_width = 0;     // sum over the components of (rows / levels)^3
};

// Two breadth-first searches in every component: one finds a rim, the second counts levels from there; without
// `from_rim` the first one, from the first row, counts. Time linear in the entries.
Levels level_structure(std::int64_t n, const std::int32_t* indptr, const std::int32_t* indices, bool from_rim = true);

}  // namespace nnla
