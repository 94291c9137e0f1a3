// An equivalent order of the unknowns in which consecutive rows of a triangular solve do not wait for each other.
#pragma once
#include <cstdint>
#include <vector>

#include "incomplete_factor.hpp"

namespace nnla {

// position -> unknown; empty for the natural order. Unknowns are sorted by level (1 + the largest level among the
// earlier unknowns they depend on) within windows of consecutive ones: rows of one level are independent, both in the
// forward and, read from the end, in the backward substitution, and a window is short enough for the processor's
// caches not to notice. No entry changes sides of the diagonal, so the factor is the same.
//
// Why: row after row of a grid waits for its predecessor, some ten cycles each, three times what the row's arithmetic
// takes. Four independent rows side by side hide that; many more only cost locality.
std::vector<std::int32_t> independent_order(const IncompleteFactor& factor);

}  // namespace nnla
