// Orders that bring neighbours together: reverse Cuthill-McKee, and what an order is worth.
#pragma once
#include <cstdint>

namespace nnla {

// The pattern of a CSR matrix. Orders are meant for symmetric patterns; for others they are still permutations.
struct CsrPattern {
    std::int64_t n = 0;
    const std::int32_t* indptr = nullptr;
    const std::int32_t* indices = nullptr;
};

// order[k]: the old number of the node that comes k-th. Every component starts from a pseudo-peripheral node
// (George and Liu 1979). Time and memory linear in the entries; no randomness.
void reverse_cuthill_mckee(const CsrPattern& A, std::int32_t* order);

// B = A[order][:, order] with sorted columns; V is double or float. indptr: n + 1 entries.
template <class V>
void permute_symmetric(const CsrPattern& A, const double* data, const std::int32_t* order, std::int32_t* new_indptr,
                       std::int32_t* new_indices, V* new_data);

// Of slices of 16 rows, a sample of them for large matrices: the mean distance from the first to the last column,
// and the mean number of cache lines of x, with `per_line` entries each, that they touch.
struct Locality {
    double span = 0, lines = 0;
    std::int64_t bandwidth = 0;
};
Locality locality(const CsrPattern& A, int per_line);

}  // namespace nnla
