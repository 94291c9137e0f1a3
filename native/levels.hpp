// A guess of what factoring costs, from the level sets of a breadth-first search: cheap enough to ask first.
#pragma once
#include "ordering.hpp"

namespace nnla {

// Operations of a Cholesky factorisation, roughly: those of dissection by the narrowest level set that leaves a third
// of the unknowns on either side. Measured over minimum degree's: 0.1 to 5 times on grids and regular meshes, up to
// 100 times on random triangulations, 1000 times on trees and networks. The pattern must be symmetric, with columns in range.
double guess_flops(const Pattern& a);

}  // namespace nnla
