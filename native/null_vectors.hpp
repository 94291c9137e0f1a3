// Whether a symmetric matrix may map a vector on one of its connected components to zero.
#pragma once
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "checks.hpp"
#include "interruption.hpp"

namespace nnla {

// One of the three vectors of nnla.operators.null_vectors cancels in row i, to rounding: ones, ones with signs, roots of
// the degrees.
template <class Index> bool row_cancels(const CsrArrays<Index>& A, std::int64_t i) {
    const Index begin = A.indptr[i], end = A.indptr[i + 1];
    double sum = 0, size = 0, own = 0;
    for (Index k = begin; k < end; ++k) {
        sum += A.data[k];
        size += std::fabs(A.data[k]);
        if (A.indices[k] == i) own += A.data[k];
    }
    // a little more than the exact rule, which is asked afterwards
    const double slack = 4 * static_cast<double>(end - begin) * std::numeric_limits<double>::epsilon();
    if (!(std::fabs(sum) > slack * size) || !(std::fabs(2 * own - size) > slack * size)) return true;
    sum = size = 0;
    for (Index k = begin; k < end; ++k) {
        const std::int64_t j = A.indices[k];
        const double root = std::sqrt(std::max(static_cast<double>(A.indptr[j + 1] - A.indptr[j]) - 1, 0.0));
        sum += A.data[k] * root;
        size += std::fabs(A.data[k]) * root;
    }
    return size > 0 && !(std::fabs(sum) > slack * size);
}

// Whether there is a component all of whose rows may cancel. What is stored as zero is no edge.
//
// Every component has a row without neighbours of smaller number, its first; where none of these cancels, that is all.
// Else components are joined row by row, each remembering whether a row of it does not cancel.
template <class Index> bool may_have_null_vectors(const CsrArrays<Index>& A) {
    const std::int64_t n = A.n;
    bool suspect = false;
    for (std::int64_t i = 0; i < n && !suspect; ++i) {
        if (i % kBlock == 0) tick(4 * kBlock);
        Index k = A.indptr[i];
        while (k < A.indptr[i + 1] && A.indices[k] < i && A.data[k] == 0) ++k;
        if (k < A.indptr[i + 1] && A.indices[k] < i) continue;
        suspect = row_cancels(A, i);
    }
    if (!suspect) return false;
    std::vector<Index> parent(static_cast<std::size_t>(n));
    std::vector<char> open(static_cast<std::size_t>(n));
    const auto root_of = [&](Index i) {
        while (parent[i] != i) i = parent[i] = parent[parent[i]];
        return i;
    };
    for (std::int64_t i = 0; i < n; ++i) {
        if (i % kBlock == 0)
            tick(8 * kBlock + 4 * (static_cast<std::int64_t>(A.indptr[std::min(n, i + kBlock)]) - A.indptr[i]));
        Index mine = parent[i] = static_cast<Index>(i);
        open[i] = row_cancels(A, i);
        for (Index k = A.indptr[i]; k < A.indptr[i + 1] && A.indices[k] < i; ++k) {
            if (A.data[k] == 0) continue;
            const Index other = root_of(A.indices[k]);
            if (other == mine) continue;
            const Index low = std::min(mine, other), high = std::max(mine, other);
            open[low] = open[low] && open[high];
            mine = parent[high] = low;
        }
    }
    for (std::int64_t i = 0; i < n; ++i)
        if (parent[i] == i && open[i]) return true;
    return false;
}

}  // namespace nnla
