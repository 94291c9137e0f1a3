// The structure of a Cholesky factor: supernodes wide enough for dense kernels, and the rows under each of them.
#pragma once
#include <cstdint>
#include <vector>

#include "ordering.hpp"

namespace nnla {

// Supernode s has the columns first[s] ... first[s + 1] - 1 of L and, below them, the rows
// rows[row_start[s]] ... rows[row_start[s + 1] - 1] in ascending order. Children come before parents, each
// subtree contiguous. Its part of L is a dense column-major panel at panel[s], diagonal block included.
struct Symbolic {
    std::int32_t n = 0;
    std::vector<std::int32_t> order, inverse;  // new to old, old to new
    std::vector<std::int32_t> first, parent, child_count, rows;
    std::vector<std::int64_t> row_start, panel;
    std::vector<std::int8_t> odd;  // depth of s, modulo 2
    std::int32_t widest = 0, longest = 0;  // columns and rows of the largest panels
    double nnz = 0, flops = 0;             // of L itself, before supernodes were merged

    std::int32_t nodes() const { return static_cast<std::int32_t>(parent.size()); }
    std::int32_t width(std::int32_t s) const { return first[s + 1] - first[s]; }
    std::int32_t below(std::int32_t s) const { return static_cast<std::int32_t>(row_start[s + 1] - row_start[s]); }
    // What the nodes `begin` ... `end` - 1 leave for each other at most, in numbers, at even and odd depth.
    // Nodes with a mark other than `mark` stay out of it (marks: null for none).
    void stack_need(std::int32_t begin, std::int32_t end, const std::int32_t* marks, std::int32_t mark,
                    std::int64_t need[2]) const;
    double bytes = 0;  // of the factor and of the fronts
};

Symbolic analyse(const Pattern& a, const Forest& forest);

}  // namespace nnla
