// Fill-reducing orderings of a symmetric pattern, with the elimination forest that comes with them.
#pragma once
#include <cstdint>
#include <vector>

namespace nnla {

// The full pattern of a symmetric matrix, sorted rows; diagonal entries may be there or not.
struct Pattern {
    std::int32_t n = 0;
    const std::int32_t* indptr = nullptr;
    const std::int32_t* indices = nullptr;
};

// Nodes of columns that share their structure, in the order of elimination: node s eliminates the variables
// order[first[s]] ... order[first[s + 1] - 1], and `below[s]` rows remain under its diagonal block.
struct Forest {
    std::vector<std::int32_t> order, first, below;
    std::vector<std::int32_t> parent;  // node that takes up what s leaves behind; later than s; -1 for a root
    double nnz = 0;                    // entries of L, diagonal included
    double flops = 0;                  // sum of the squared column counts
    bool complete = true;              // false: given up, flops exceeded the budget (the vectors are empty)
};

// Approximate minimum degree on the quotient graph (Amestoy, Davis & Duff, SIAM J. Matrix Anal. Appl. 17, 1996).
// Gives up as soon as the factorisation would take more than max_flops.
Forest minimum_degree(const Pattern& a, double max_flops);

}  // namespace nnla
